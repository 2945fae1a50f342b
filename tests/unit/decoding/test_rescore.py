"""Search and attention decoder choose together."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from asr.decoding import Hypothesis
from asr.decoding.rescore import attention_log_probs, rescored_whole
from asr.decoding.search import NbestSearch
from asr.errors import ConfigError
from asr.models.recurrent import LstmConfig
from asr.models.transducer import AttentionDecoder, AttentionDecoderConfig, Transducer, TransducerConfig
from asr.nn.chunks import ChunkContext

SMALL = AttentionDecoderConfig(num_layers=1, dim=8, num_heads=2, feedforward_dim=8)
SEQUENCES = [[3, 4, 5], [], [4, 4], [5]]


def decoder() -> AttentionDecoder:
    torch.manual_seed(0)
    return AttentionDecoder(SMALL, 6, 7).eval()


def test_log_probs_are_those_of_symbol_after_symbol():
    judge, frames = decoder(), torch.randn(1, 9, 6)
    for sequence, found in zip(SEQUENCES, attention_log_probs(judge, frames, SEQUENCES)):
        expected, said = 0.0, list[int]()
        for symbol in [*sequence, judge.sos_eos_id]:
            tokens = torch.tensor([said], dtype=torch.int64).reshape(1, len(said))
            logits = judge(frames, torch.tensor([9]), tokens, torch.tensor([len(said)]))
            expected += logits[0, -1].log_softmax(-1)[symbol].item()
            said.append(symbol)
        assert found.item() == pytest.approx(expected, rel=1e-5)


class Lister:
    """Answers with a list of its own."""

    lists = [[Hypothesis(tokens=tokens, log_prob=-float(rank)) for rank, tokens in enumerate(SEQUENCES)], []]

    def init(self, batch_size, device):
        return None

    def advance(self, encoder_out, lens, state):
        return None

    def nbest(self, state):
        return self.lists


def model(attention: AttentionDecoderConfig | None) -> Transducer:
    torch.manual_seed(0)
    encoder = LstmConfig(dim=6, num_layers=1)
    shape = TransducerConfig(encoder=encoder, vocab_size=7, predictor_dim=4, joiner_dim=4, attention_decoder=attention)
    return Transducer(shape).eval()


def chosen(scale: float, network: Transducer) -> list[list[int]]:
    search, features = cast(NbestSearch, Lister()), torch.randn(2, 60, 80)
    found = rescored_whole(network, search, features, torch.tensor([60, 50]), ChunkContext(), scale=scale)
    return [hypothesis.tokens for hypothesis in found]


def test_the_weight_decides_whose_word_counts():
    network = model(SMALL)
    assert chosen(0.0, network) == [SEQUENCES[0], []]
    weighed = {scale: chosen(scale, network)[0] for scale in (1e6, -1e6)}
    assert weighed[1e6] == [] != weighed[-1e6], "an untrained judge likes few symbols"


def test_a_model_without_the_decoder_says_so():
    with pytest.raises(ConfigError, match="attention_scale needs a model trained with an attention decoder"):
        chosen(1.0, model(None))
