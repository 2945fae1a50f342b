"""What is remembered in evaluation is forgotten when its sources change."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from asr.kernels.layout import refilled
from asr.nn.memo import Memo


@pytest.fixture
def counted():
    """A memo of twice a weight, and the calls that worked it out."""
    weight, calls, memo = nn.Parameter(torch.ones(3)), [], Memo()

    def get(key=None):
        return memo.get(lambda: calls.append(key) or 2 * weight, weight, key=key)

    return weight, calls, get, memo


def test_equal_sources_are_worked_out_once(counted):
    _, calls, get, _ = counted
    with torch.no_grad():
        assert get() is get()
    assert len(calls) == 1


@pytest.mark.parametrize("change", ["in place", "load", "data", "refill", "key"])
def test_changed_sources_are_worked_out_anew(counted, change):
    weight, calls, get, _ = counted
    with torch.no_grad():
        get()
        if change == "in place":
            weight.add_(1.0)
        elif change == "load":
            weight.copy_(torch.full((3,), 2.0))
        elif change == "data":
            weight.data = torch.full((3,), 2.0)
        elif change == "refill":
            weight.data.fill_(2.0)
            refilled([weight])
        found = get(key="other" if change == "key" else None)
    torch.testing.assert_close(found, 2 * weight.detach())
    assert len(calls) == 2


def test_gradients_never_meet_a_remembered_value(counted):
    weight, calls, get, _ = counted
    with torch.no_grad():
        get()
    get().sum().backward()
    assert weight.grad is not None
    assert len(calls) == 2


def test_inference_mode_and_copies(counted):
    weight, calls, get, memo = counted
    with torch.inference_mode():
        assert get() is get()
    assert copy.deepcopy(memo)._value is None
