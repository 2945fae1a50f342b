"""Timing two sides against each other: turn and turn about, in one process, under the same settings."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from asr.kernels.memory import keep_memory, keep_plans

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
"""The cores that this process was given, before `settle` chose one of them; empty where nobody can say."""

Timings = dict[str, list[float]]
"""Seconds of each round, by side."""


class Ratio(NamedTuple):
    """value: median of the rounds' ratios; spread: their middle half; medians: seconds of (ours, theirs)."""

    value: float
    spread: tuple[float, float]
    medians: tuple[float, float]


def settle() -> None:
    """Give this process the settings all benchmarks share: those of training (memory and plans kept, denormals flushed
    to zero), one thread and one core.

    Only the calling thread flushes; it is the one that computes.
    """
    keep_memory()
    keep_plans()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def interleave(sides: Mapping[str, Callable[[], object]], *, rounds: int = 9, warm_up: int = 2) -> Timings:
    """Run every side once a round, in turns that change direction, and time each.

    A machine whose speed drifts or is shared then slows all sides alike.
    """
    for _ in range(warm_up):
        for run in sides.values():
            run()
    timings: Timings = {name: [] for name in sides}
    for index in range(rounds):
        for name in list(sides) if index % 2 == 0 else reversed(list(sides)):
            gc.collect()
            timings[name].append(timed(sides[name]))
    return timings


def timed(run: Callable[[], object]) -> float:
    """Seconds that one call keeps the processor busy: on one thread, the time it takes less what others take."""
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(timings: Timings, ours: str, theirs: str) -> Ratio:
    """How our time relates to theirs, round by round."""
    ratios = np.asarray(timings[ours]) / np.asarray(timings[theirs])
    low, high = np.percentile(ratios, [25, 75]).tolist()
    return Ratio(median(ratios.tolist()), (low, high), (median(timings[ours]), median(timings[theirs])))


def median(values: Sequence[float]) -> float:
    return float(np.median(values))


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.1 else f"{1000 * seconds:.2f} ms"
