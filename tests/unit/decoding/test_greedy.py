"""Greedy transducer search against a plain loop, and on scores laid out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from asr.decoding.config import SearchConfig
from asr.decoding.greedy import GreedySearch
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor


def random_model(vocab_size: int = 6, context_size: int = 2, dim: int = 8) -> SimpleNamespace:
    """Real parts with weights large enough that answers vary."""
    predictor, joiner = Predictor(vocab_size, dim, context_size).eval(), Joiner(5, dim, 7, vocab_size).eval()
    for parameter in [*predictor.parameters(), *joiner.parameters()]:
        nn.init.normal_(parameter)
    nn.init.constant_(joiner.output_linear.bias[:1], 4.0)  # as when trained, blanks are the rule
    return SimpleNamespace(predictor=predictor, joiner=joiner)


def plain_greedy(model, frames: Tensor, cfg: SearchConfig) -> tuple[list[int], list[int], float]:
    """The definition, one utterance and one symbol at a time, nothing cached."""
    tokens, timestamps, total = [], [], 0.0
    size = model.predictor.context_size
    for t, frame in enumerate(frames):
        for _ in range(cfg.max_symbols_per_frame):
            context = torch.tensor([([-1] * (size - 1) + [0] + tokens)[-size:]])
            logits = model.joiner(frame, model.predictor(context, pad_left=False)[0, 0]).detach()
            logits[0] -= cfg.blank_penalty
            log_probs = (logits / cfg.temperature).log_softmax(-1)
            symbol = int(log_probs.argmax())
            total += float(log_probs[symbol])
            if symbol == 0:
                break
            tokens.append(symbol)
            timestamps.append(t)
    return tokens, timestamps, total


@pytest.mark.parametrize("context_size", [1, 2, 3])
@pytest.mark.parametrize(
    "cfg",
    [SearchConfig(), SearchConfig(max_symbols_per_frame=3, blank_penalty=-1.0), SearchConfig(temperature=2.0)],
)
def test_equals_the_plain_loop(context_size, cfg):
    model = random_model(context_size=context_size)
    search = GreedySearch(model, cfg)
    encoder_out, lens = torch.randn(4, 12, 5), torch.tensor([12, 7, 0, 9])
    found = search.finish(search.advance(encoder_out, lens, search.init(4)))
    for b in range(4):
        tokens, timestamps, log_prob = plain_greedy(model, encoder_out[b, : lens[b]], cfg)
        assert (found[b].tokens, found[b].timestamps) == (tokens, timestamps)
        assert found[b].log_prob == pytest.approx(log_prob, abs=1e-4)
    assert any(hypothesis.tokens for hypothesis in found)


def test_blank_penalty_lets_more_tokens_through():
    model = random_model()
    encoder_out, lens = torch.randn(1, 40, 5), torch.tensor([40])
    counts = []
    for penalty in (-100.0, 0.0, 100.0):
        search = GreedySearch(model, SearchConfig(blank_penalty=penalty))
        counts.append(len(search.finish(search.advance(encoder_out, lens, search.init(1)))[0].tokens))
    assert counts[0] == 0 < counts[1] < counts[2] == 40


def test_predicts_only_for_rows_that_emitted(monkeypatch):
    model = random_model()
    search = GreedySearch(model, SearchConfig())
    state = search.init(3)
    rows = []
    forward = model.predictor.forward
    monkeypatch.setattr(
        model.predictor, "forward", lambda tokens, pad_left: rows.append(len(tokens)) or forward(tokens, pad_left)
    )
    found = search.finish(search.advance(torch.randn(3, 20, 5), torch.tensor([20, 20, 20]), state))
    assert 0 < sum(rows) == sum(len(hypothesis.tokens) for hypothesis in found) < 3 * 20


def test_the_state_it_is_given_stays_as_it_was():
    search = GreedySearch(random_model(), SearchConfig())
    encoder_out, lens = torch.randn(2, 10, 5), torch.tensor([10, 10])
    before = search.advance(encoder_out, lens, search.init(2))
    answer = search.finish(before)
    after = search.advance(encoder_out, lens, before)
    assert search.finish(before) == answer != search.finish(after)
