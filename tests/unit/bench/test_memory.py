"""How far a process grows."""

from __future__ import annotations

import sys

import pytest

from asr.bench.memory import growth, print_growth_of

MILLION = 1_000_000


def print_growth(side: str) -> None:
    """As a benchmark does, for one that needs `side` million bytes."""
    print_growth_of(lambda: b"x" * (int(side) * MILLION))


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that counts the parent's memory")
def test_memory_of_the_process_that_measures_is_not_counted():
    ballast = b"x" * (600 * MILLION)
    assert growth("tests.unit.bench.test_memory", "50") == pytest.approx(50 * MILLION, abs=10 * MILLION)
    assert ballast
