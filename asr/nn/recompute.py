"""Forgetting what is inside a stretch of the network, and working it out again for the backward pass."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from torch.utils.checkpoint import checkpoint

Result = TypeVar("Result")


def recomputed(function: Callable[[], Result]) -> Result:
    """`function()`, of whose insides nothing is kept; the second time it draws the random numbers of the first.

    torch looks after its own generator. Ours of Python, from which Balancer, Whiten and others draw, is set back here.
    """
    drawn_from = random.getstate()
    calls = 0

    def run() -> Result:
        nonlocal calls
        calls += 1
        if calls == 1:
            return function()
        now = random.getstate()
        random.setstate(drawn_from)
        try:
            return function()
        finally:
            random.setstate(now)

    return checkpoint(run, use_reentrant=False)
