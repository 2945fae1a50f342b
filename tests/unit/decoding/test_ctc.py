"""Greedy CTC search on symbols laid out by hand."""

from __future__ import annotations

from itertools import groupby

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asr.decoding.config import SearchConfig, SearchMethod
from asr.decoding.ctc import CtcGreedySearch

VOCAB_SIZE = 5


def make_search(**settings: float) -> CtcGreedySearch:
    """A search whose head reads its log-probabilities straight off the encoder frames."""
    cfg = SearchConfig(method=SearchMethod.CTC_GREEDY, **settings)
    return CtcGreedySearch(lambda encoder_out: encoder_out.log_softmax(-1), 0, cfg)


def frames_saying(*rows: list[int]) -> Tensor:
    return 3.0 * F.one_hot(torch.tensor(rows), VOCAB_SIZE).float()


def test_repeats_collapse_and_a_blank_parts_them():
    search = make_search()
    state = search.advance(frames_saying([1, 1, 0, 1, 2, 2, 0]), torch.tensor([7]), search.init(1))
    found = search.finish(state)[0]
    assert found.tokens == [1, 1, 2]
    assert found.timestamps == [0, 3, 4]


def test_repeats_collapse_across_advances_even_through_an_empty_one():
    search = make_search()
    state = search.advance(frames_saying([0, 3], [0, 3]), torch.tensor([2, 1]), search.init(2))
    state = search.advance(frames_saying([4, 4], [0, 0]), torch.tensor([0, 0]), state)
    state = search.advance(frames_saying([3, 2], [3, 2]), torch.tensor([2, 2]), state)
    found = search.finish(state)
    assert [hypothesis.tokens for hypothesis in found] == [[3, 2], [3, 2]]
    assert [hypothesis.timestamps for hypothesis in found] == [[1, 3], [1, 2]]


def test_equals_grouping_the_best_symbols():
    encoder_out, lens = torch.randn(6, 40, VOCAB_SIZE), torch.tensor([40, 0, 1, 17, 39, 5])
    search = make_search()
    found = search.finish(search.advance(encoder_out, lens, search.init(6)))
    log_probs = encoder_out.log_softmax(-1)
    for b, length in enumerate(lens.tolist()):
        symbols = log_probs[b, :length].argmax(-1).tolist()
        assert found[b].tokens == [symbol for symbol, _ in groupby(symbols) if symbol]
        assert found[b].log_prob == pytest.approx(float(log_probs[b, :length].amax(-1).sum()), abs=1e-4)


def test_blank_penalty_uncovers_the_second_best():
    frames = torch.tensor([[[2.0, 1.0, 0.0, 0.0, 0.0]]])
    for penalty, tokens in ((0.0, []), (1.5, [1])):
        search = make_search(blank_penalty=penalty)
        assert search.finish(search.advance(frames, torch.tensor([1]), search.init(1)))[0].tokens == tokens
