"""Beam search against exhaustive enumeration and against a dictionary of sequences."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asr.decoding.beam import NEVER, BeamSearch, extend_key, merge_equal, top_candidates
from asr.decoding.config import SearchConfig, SearchMethod
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor


def random_model(vocab_size: int, context_size: int = 2, dim: int = 8) -> SimpleNamespace:
    predictor, joiner = Predictor(vocab_size, dim, context_size).eval(), Joiner(5, dim, 7, vocab_size).eval()
    for parameter in [*predictor.parameters(), *joiner.parameters()]:
        nn.init.normal_(parameter, std=0.7)
    nn.init.constant_(joiner.output_linear.bias[:1], 4.0)  # as when trained, blanks are the rule
    return SimpleNamespace(predictor=predictor, joiner=joiner)


def symbol_log_probs(model, frame: Tensor, tokens: tuple[int, ...], cfg: SearchConfig) -> list[float]:
    size = model.predictor.context_size
    context = torch.tensor([([-1] * (size - 1) + [0, *tokens])[-size:]])
    logits = model.joiner(frame, model.predictor(context, pad_left=False)[0, 0]).detach()
    logits[0] -= cfg.blank_penalty
    return (logits / cfg.temperature).log_softmax(-1).tolist()


def dictionary_beam(model, frames: Tensor, cfg: SearchConfig) -> dict[tuple[int, ...], tuple[float, tuple[int, ...]]]:
    """The definition: {tokens: (log-probability, emission frames)}, best `cfg.beam` extensions at each frame."""
    beam = {(): (0.0, ())}
    for t, frame in enumerate(frames):
        candidates = [
            (score + log_prob, tokens, times, symbol)
            for tokens, (score, times) in beam.items()
            for symbol, log_prob in enumerate(symbol_log_probs(model, frame, tokens, cfg))
        ]
        beam = {}
        for score, tokens, times, symbol in sorted(candidates, key=lambda c: -c[0])[: cfg.beam]:
            if symbol:
                tokens, times = (*tokens, symbol), (*times, t)
            if tokens in beam:
                score, times = np.logaddexp(beam[tokens][0], score), beam[tokens][1]
            beam[tokens] = (float(score), times)
    return beam


def test_a_wide_beam_sums_over_all_alignments():
    model, num_frames, vocab_size = random_model(3), 4, 3
    encoder_out = torch.randn(1, num_frames, 5)
    totals: dict[tuple[int, ...], float] = {}
    for alignment in product(range(vocab_size), repeat=num_frames):
        tokens, score = (), 0.0
        for frame, symbol in zip(encoder_out[0], alignment, strict=True):
            score += symbol_log_probs(model, frame, tokens, SearchConfig())[symbol]
            tokens = (*tokens, symbol) if symbol else tokens
        totals[tokens] = float(np.logaddexp(totals.get(tokens, NEVER), score))
    search = BeamSearch(model, SearchConfig(method=SearchMethod.BEAM, beam=vocab_size**num_frames))
    ranked = search.nbest(search.advance(encoder_out, torch.tensor([num_frames]), search.init(1)))[0]
    assert len(ranked) == len(totals)
    for hypothesis in ranked:
        assert hypothesis.log_prob == pytest.approx(totals[tuple(hypothesis.tokens)], abs=1e-4)
    assert sum(np.exp(hypothesis.log_prob) for hypothesis in ranked) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("context_size", [1, 2])
@pytest.mark.parametrize("settings", [{"beam": 1}, {"beam": 4}, {"beam": 3, "blank_penalty": 1.0, "temperature": 1.5}])
def test_equals_the_dictionary_form(context_size, settings):
    cfg = SearchConfig(method=SearchMethod.BEAM, **settings)
    model = random_model(5, context_size)
    search = BeamSearch(model, cfg)
    encoder_out, lens = torch.randn(4, 12, 5), torch.tensor([12, 0, 5, 9])
    state = search.advance(encoder_out, lens, search.init(4))
    for b, (answer, ranked) in enumerate(zip(search.finish(state), search.nbest(state), strict=True)):
        expected = dictionary_beam(model, encoder_out[b, : lens[b]], cfg)
        assert {tuple(h.tokens): tuple(h.timestamps) for h in ranked} == {
            k: times for k, (_, times) in expected.items()
        }
        for hypothesis in ranked:
            assert hypothesis.log_prob == pytest.approx(expected[tuple(hypothesis.tokens)][0], abs=1e-4)
        best = max(expected, key=lambda tokens: expected[tokens][0] / (len(tokens) + context_size))
        assert tuple(answer.tokens) == best


def test_long_streams_keep_their_precision():
    """After many frames scores are large; the beam still tells sequences apart as if it had just begun."""
    model = random_model(5)
    search = BeamSearch(model, SearchConfig(method=SearchMethod.BEAM))
    state = search.advance(torch.randn(1, 20, 5), torch.tensor([20]), search.init(1))
    aged = state._replace(best=state.best - 1e7)
    more = torch.randn(1, 20, 5)
    young, old = (search.advance(more, torch.tensor([20]), s) for s in (state, aged))
    assert torch.equal(young.beam.score, old.beam.score)
    assert [h.tokens for h in search.nbest(young)[0]] == [h.tokens for h in search.nbest(old)[0]]


def test_equal_candidates_rank_by_index():
    scores = torch.tensor([[-1.0, 0.5, -1.0, 0.5, NEVER, -1.0], [0.0, -3.0, -2.0, -2.0, 7.0, -2.0]])
    values, chosen = top_candidates(scores, 4)
    assert chosen.tolist() == [[1, 3, 0, 2], [4, 0, 2, 3]]
    assert values.tolist() == [[0.5, 0.5, -1.0, -1.0], [7.0, 0.0, -2.0, -2.0]]


def test_candidates_rank_like_a_stable_sort():
    scores = torch.randint(-40, 40, (8, 300)).float() / 7
    expected = scores.sort(dim=1, descending=True, stable=True)
    values, chosen = top_candidates(scores, 300)
    assert torch.equal(chosen, expected.indices)
    assert torch.equal(values, expected.values)


def test_equal_sequences_merge_into_the_first():
    score = torch.tensor([[-1.0, -2.0, -3.0, NEVER]])
    merged = merge_equal(score, torch.tensor([[7, 5, 7, 5]]))
    torch.testing.assert_close(merged, torch.tensor([[np.logaddexp(-1.0, -3.0), -2.0, NEVER, NEVER]]).float())


def test_keys_tell_all_short_sequences_apart():
    keys = torch.zeros(1, dtype=torch.int64)
    levels = [keys]
    for _ in range(5):
        keys = extend_key(keys.unsqueeze(1), torch.arange(8)).flatten()
        levels.append(keys)
    everything = torch.cat(levels)
    assert everything.unique().numel() == everything.numel() == sum(8**k for k in range(6))
