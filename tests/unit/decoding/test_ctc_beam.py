"""Beam search of CTC against all alignments of a few frames, written out."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import groupby, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asr.decoding.config import SearchConfig, SearchMethod
from asr.decoding.ctc_beam import CtcBeamSearch
from asr.decoding.word_list import WordList

VOCAB_SIZE, NUM_FRAMES = 4, 5
several_draws = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 10**6)


def make_search(beam: int, words: WordList | None = None) -> CtcBeamSearch:
    """A search whose head reads its log-probabilities straight off the encoder frames."""
    cfg = SearchConfig(method=SearchMethod.CTC_BEAM, beam=beam)
    return CtcBeamSearch(lambda encoder_out: encoder_out.log_softmax(-1), 0, cfg, words)


def all_sequences(frames: Tensor) -> dict[tuple[int, ...], float]:
    """Log-probability of every sequence that the frames (T, V) may say."""
    log_probs = frames.log_softmax(-1).tolist()
    found: dict[tuple[int, ...], list[float]] = defaultdict(list)
    for alignment in product(range(frames.shape[1]), repeat=len(frames)):
        tokens = tuple(symbol for symbol, _ in groupby(alignment) if symbol)
        found[tokens].append(sum(row[symbol] for row, symbol in zip(log_probs, alignment)))
    return {tokens: math.log(sum(map(math.exp, scores))) for tokens, scores in found.items()}


def ranked(search: CtcBeamSearch, frames: Tensor) -> dict[tuple[int, ...], float]:
    state = search.advance(frames[None], torch.tensor([len(frames)]), search.init(1))
    return {tuple(hypothesis.tokens): hypothesis.log_prob for hypothesis in search.nbest(state)[0]}


@several_draws
@given(seed=SEEDS)
def test_a_beam_that_holds_everything_finds_the_probability_of_every_sequence(seed):
    frames = 2.0 * torch.randn(NUM_FRAMES, VOCAB_SIZE, generator=torch.Generator().manual_seed(seed))
    expected = all_sequences(frames)
    found = ranked(make_search(beam=len(expected)), frames)
    assert found.keys() == expected.keys()
    for tokens, log_prob in found.items():
        assert log_prob == pytest.approx(expected[tokens], abs=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)


@several_draws
@given(seed=SEEDS)
def test_words_alone_are_said_and_each_at_its_probability(seed):
    spellings = [(1,), (1, 2), (2, 2), (3, 1, 2)]  # "1", and "1 2", which begins with it
    frames = torch.randn(NUM_FRAMES, VOCAB_SIZE, generator=torch.Generator().manual_seed(seed))
    sayable = {()}
    for _ in range(NUM_FRAMES):
        sayable |= {(*before, *word) for before in sayable for word in spellings if len(before + word) <= NUM_FRAMES}
    expected = {tokens: score for tokens, score in all_sequences(frames).items() if tokens in sayable}
    found = ranked(make_search(500, WordList(spellings, VOCAB_SIZE)), frames)
    assert found.keys() == expected.keys()
    for tokens, log_prob in found.items():
        assert log_prob == pytest.approx(expected[tokens], abs=1e-4)


def beam_search(frames: Tensor, beam: int) -> dict[tuple[int, ...], float]:
    """The algorithm as it is written: a table of sequences, and of each the alignments by how they end."""
    best = {(): (1.0, 0.0)}
    for probs in frames.double().softmax(-1).tolist():
        found: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for tokens, (blank, token) in best.items():
            found[tokens][0] += (blank + token) * probs[0]
            found[tokens][1] += token * probs[tokens[-1]] if tokens else 0.0
            for symbol in range(1, len(probs)):
                before = blank if tokens[-1:] == (symbol,) else blank + token
                found[(*tokens, symbol)][1] += before * probs[symbol]
        best = dict(sorted(found.items(), key=lambda item: -sum(item[1]))[:beam])
    return {tokens: math.log(sum(scores)) for tokens, scores in best.items() if sum(scores)}


@several_draws
@given(seed=SEEDS, beam=st.sampled_from([1, 2, 4]))
def test_a_narrow_beam_is_the_algorithm_for_every_row_of_a_batch(seed, beam):
    frames = 2.5 * torch.randn(3, 14, VOCAB_SIZE, generator=torch.Generator().manual_seed(seed))
    lens, search = torch.tensor([14, 6, 0]), make_search(beam)
    found = search.nbest(search.advance(frames, lens, search.init(3)))
    for row, length, hypotheses in zip(frames, lens.tolist(), found, strict=True):
        expected = beam_search(row[:length], beam)
        assert {tuple(hypothesis.tokens) for hypothesis in hypotheses} == expected.keys()
        for hypothesis in hypotheses:
            assert hypothesis.log_prob == pytest.approx(expected[tuple(hypothesis.tokens)], abs=1e-3)


def test_a_narrow_beam_adds_up_what_greedy_search_cannot():
    """Two frames of a = 0.4, blank = 0.6: the best path is silence (0.36), but "a" in one way or another has 0.64."""
    frames = torch.tensor([[0.6, 0.4, 0.0, 0.0]] * 2).log().clamp_min(-50.0)
    assert next(iter(ranked(make_search(beam=2), frames))) == (1,)


def test_a_token_is_dated_where_most_of_its_probability_comes_in():
    probs = torch.tensor([[0.9, 0.1], [0.98, 0.02], [0.02, 0.98], [0.98, 0.02], [0.9, 0.1]])
    search = make_search(beam=4)
    state = search.advance(probs.log()[None], torch.tensor([5]), search.init(1))
    best = search.finish(state)[0]
    assert (best.tokens, best.timestamps) == ([1], [2])
    assert best.token_log_probs == pytest.approx([math.log(0.98)], abs=1e-4)


def test_an_answer_ends_with_a_word_although_half_a_one_is_likelier():
    words = WordList([(1,), (2, 3)], VOCAB_SIZE)
    frames = torch.tensor([[0.1, 0.8, 0.05, 0.05], [0.2, 0.05, 0.7, 0.05]]).log()
    search = make_search(4, words)
    state = search.advance(frames[None], torch.tensor([2]), search.init(1))
    assert search.finish(state)[0].tokens == [1]


@several_draws
@given(data=st.data())
def test_what_may_follow_is_what_some_split_into_words_allows(data):
    token = st.integers(1, VOCAB_SIZE - 1)
    spellings = data.draw(st.lists(st.lists(token, min_size=1, max_size=3).map(tuple), min_size=1, max_size=5))
    tokens = data.draw(st.lists(token, max_size=6))
    words, state = WordList(spellings, VOCAB_SIZE), 0
    for token in tokens:
        state = int(words.step(torch.tensor(state), torch.tensor(token))) if state >= 0 else state
    beginnings = {word[:length] for word in spellings for length in range(len(word) + 1)}

    def places(rest: tuple[int, ...]) -> bool:
        return rest in beginnings or any(places(rest[len(word) :]) for word in spellings if rest[: len(word)] == word)

    def whole(rest: tuple[int, ...]) -> bool:
        return not rest or any(whole(rest[len(word) :]) for word in spellings if rest[: len(word)] == word)

    assert (state >= 0) == places(tuple(tokens))
    assert state < 0 or bool(words.is_end(torch.tensor(state))) == whole(tuple(tokens))
