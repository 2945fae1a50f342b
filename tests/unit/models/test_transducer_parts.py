"""Predictor and joiner: contexts, empty positions, initial values."""

from __future__ import annotations

import pytest
import torch

from asr.errors import ConfigError
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor


@pytest.mark.parametrize("context_size", [1, 2, 3])
def test_a_step_is_one_column_of_the_padded_form(context_size):
    predictor = Predictor(vocab_size=11, dim=8, context_size=context_size).eval()
    tokens = torch.randint(0, 11, (4, 6))
    whole = predictor(tokens, pad_left=True)
    assert whole.shape == (4, 6, 8)
    start = torch.full((4, context_size - 1), -1)
    extended = torch.cat([start, tokens], dim=1)
    for u in range(6):
        step = predictor(extended[:, u : u + context_size], pad_left=False)
        torch.testing.assert_close(step[:, 0], whole[:, u])


def test_start_context_is_nothing_then_blank():
    predictor = Predictor(vocab_size=5, dim=4, context_size=3)
    assert predictor.start_context(2).tolist() == [[-1, -1, 0], [-1, -1, 0]]


def test_negative_ids_embed_as_zero_but_blank_does_not():
    predictor = Predictor(vocab_size=5, dim=4, context_size=1).eval()
    out = predictor(torch.tensor([[-1, 0]]), pad_left=False)
    assert out[0, 0].abs().max() == 0
    assert out[0, 1].abs().max() > 0


def test_impossible_shapes_say_what_to_do():
    with pytest.raises(ConfigError, match="context_size=0"):
        Predictor(vocab_size=5, dim=4, context_size=0)
    with pytest.raises(ConfigError, match="multiple of 4"):
        Predictor(vocab_size=5, dim=6, context_size=2)


def test_projections_start_small():
    joiner = Joiner(encoder_dim=64, predictor_dim=64, joiner_dim=64, vocab_size=5)
    for projection in (joiner.encoder_proj, joiner.predictor_proj):
        assert projection.bias.abs().max() <= 0.025
        assert 0.2 / 64**0.5 < projection.weight.abs().max() <= 0.25 / 64**0.5


def test_joiner_broadcasts_frames_against_positions():
    joiner = Joiner(encoder_dim=6, predictor_dim=4, joiner_dim=8, vocab_size=5)
    encoder_out, predictor_out = torch.randn(2, 3, 1, 6), torch.randn(2, 1, 4, 4)
    logits = joiner(encoder_out, predictor_out)
    assert logits.shape == (2, 3, 4, 5)
    torch.testing.assert_close(logits[1, 2, 3], joiner(encoder_out[1, 2, 0], predictor_out[1, 0, 3]))
