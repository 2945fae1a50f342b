"""Dropout that is shared over time, and dropping of whole sequences."""

from __future__ import annotations

import torch

from asr.nn.dropout import SharedDropout, keep_sequences
from asr.nn.schedule import ScheduledFloat

X = torch.ones(64, 5, 40)


def test_the_mask_is_constant_over_time_and_rescaled():
    y = SharedDropout(0.25)(X)
    assert torch.equal(y, y[:, :1].expand_as(y))
    torch.testing.assert_close(y.unique(), torch.tensor([0.0, 1.0 / 0.75]))
    assert abs(float(y.mean()) - 1.0) < 0.05
    assert not torch.equal(y[0], y[1])


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    assert SharedDropout(0.9).eval()(X) is X
    assert SharedDropout(0.0)(X) is X
    assert SharedDropout(ScheduledFloat((0.0, 0.9), (1.0, 0.9)))(X) is X


def test_a_schedule_sets_the_rate():
    dropout = SharedDropout(ScheduledFloat((0.0, 0.5), (10.0, 0.0)))
    dropout.rate.move_to(0.0)
    assert abs(float((dropout(X) == 0).float().mean()) - 0.5) < 0.05
    dropout.rate.move_to(10.0)
    assert dropout(X) is X


def test_sequences_are_dropped_whole_and_never_rescaled():
    keep = keep_sequences(torch.ones(4000, 2, 3), 0.2)
    assert keep.shape == (4000, 1, 1)
    assert set(keep.unique().tolist()) == {0.0, 1.0}
    assert abs(float(keep.mean()) - 0.8) < 0.03
    assert keep_sequences(X, 0.0) is None
