"""Histories of tokens, and batches of streams put together and taken apart."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.hypothesis import Hypothesis
from asr.decoding.state import History, append, concat, empty_history, gather_sequences, select, settle, to_hypotheses


class State(NamedTuple):
    history: History
    frames: Tensor


def record(history: History, tokens: list[list[list[int]]], first_frame: int = 0) -> History:
    """Append tokens [stream][sequence][step], where 0 means that nothing was emitted."""
    steps = torch.tensor(tokens)
    frames = first_frame + torch.arange(steps.shape[-1]).expand_as(steps)
    return append(history, steps != 0, steps, frames, -steps.float())


def test_only_what_was_emitted_is_remembered_in_order():
    history = record(empty_history(2, 1, "cpu"), [[[0, 5, 0, 6]], [[0, 0, 0, 0]]])
    history = record(history, [[[7, 0]], [[0, 8]]], first_frame=4)
    found = to_hypotheses(history, torch.tensor([[-1.5], [0.0]]))
    assert found[0][0] == Hypothesis(
        tokens=[5, 6, 7], timestamps=[1, 3, 4], token_log_probs=[-5.0, -6.0, -7.0], log_prob=-1.5
    )
    assert found[1][0] == Hypothesis(tokens=[8], timestamps=[5], token_log_probs=[-8.0], log_prob=0.0)


def test_steps_of_no_length_change_nothing():
    history = record(empty_history(1, 1, "cpu"), [[[3]]])
    again = append(
        history, *(torch.zeros(1, 1, 0, dtype=t) for t in (torch.bool, torch.int64, torch.int64)), torch.zeros(1, 1, 0)
    )
    assert all(torch.equal(a, b) for a, b in zip(history, again, strict=True))


def test_sequences_can_be_reordered_and_repeated():
    history = record(empty_history(1, 3, "cpu"), [[[1, 1], [2, 0], [3, 3]]])
    found = to_hypotheses(gather_sequences(history, torch.tensor([[2, 2, 0]])), torch.zeros(1, 3))[0]
    assert [hypothesis.tokens for hypothesis in found] == [[3, 3], [3, 3], [1, 1]]


def test_concat_and_select_keep_each_streams_tokens():
    short = State(record(empty_history(1, 1, "cpu"), [[[9]]]), torch.tensor([1]))
    long = State(record(empty_history(2, 1, "cpu"), [[[1, 2, 3]], [[4, 0, 0]]]), torch.tensor([3, 3]))
    batch = concat([short, long])
    assert batch.frames.tolist() == [1, 3, 3]
    tokens = [stream[0].tokens for stream in to_hypotheses(batch.history, torch.zeros(3, 1))]
    assert tokens == [[9], [1, 2, 3], [4]]
    picked = select(batch, torch.tensor([2, 0]))
    assert [stream[0].tokens for stream in to_hypotheses(picked.history, torch.zeros(2, 1))] == [[4], [9]]


def test_capacity_does_not_outlive_the_stream_that_needed_it():
    state = State(record(empty_history(2, 1, "cpu"), [[[1] * 50], [[2] + [0] * 49]]), torch.tensor([50, 50]))
    assert select(state, torch.tensor([1])).history.tokens.shape == (1, 1, 1)
    assert select(state, torch.tensor([], dtype=torch.int64)).history.tokens.shape == (0, 1, 0)


def test_what_all_sequences_agree_on_is_settled():
    """All but the last common token, and nothing that one of them says at another time."""
    tokens = [[[1, 2, 3, 0, 5], [1, 2, 3, 4, 0]], [[1, 0, 2, 3, 0], [1, 2, 0, 3, 0]], [[0] * 5, [9, 0, 0, 0, 0]]]
    state = State(record(empty_history(3, 2, "cpu"), tokens), torch.tensor([5, 5, 5]))
    left, settled = settle(state)
    assert [(one.tokens, one.timestamps) for one in settled] == [([1, 2], [0, 1]), ([], []), ([], [])]
    assert left.history.num_settled.tolist() == [[2, 2], [0, 0], [0, 0]]
    before, after = (to_hypotheses(history, torch.zeros(3, 2)) for history in (state.history, left.history))
    for b, i in [(b, i) for b in range(3) for i in range(2)]:
        assert settled[b].tokens + after[b][i].tokens == before[b][i].tokens
        assert settled[b].timestamps + after[b][i].timestamps == before[b][i].timestamps
    again, nothing = settle(left)
    assert not any(one.tokens for one in nothing) and torch.equal(again.history.tokens, left.history.tokens)


def test_times_are_encoder_frames_of_40_ms():
    assert Hypothesis(tokens=[1, 2], timestamps=[0, 29]).times_s() == [0.0, 1.16]
