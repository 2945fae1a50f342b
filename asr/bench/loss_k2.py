"""The pruned transducer loss in plain torch against k2's, on the same CPU and the same torch."""

from __future__ import annotations

from functools import partial

from asr.bench.loss import standard_work
from asr.bench.memory import growth, print_growth_of
from asr.bench.result import Row
from asr.bench.timing import compare, interleave, milliseconds, settle
from asr.kernels.k2 import report_k2
from asr.losses import Backend

TIME = "simple and pruned loss, forward and backward: plain torch against k2"
MEMORY = "the same, growth of memory"
SIDES = {"ours": Backend.TORCH, "theirs": Backend.K2}


def run() -> list[Row]:
    """Time and memory; nothing is measured where no k2 loads."""
    report = report_k2()
    if not report.loads:
        return [Row(work=work, value=None, must=1.0, note=report.detail) for work in (TIME, MEMORY)]
    return [_time(), _memory()]


def _time() -> Row:
    work = standard_work()
    sides = {name: partial(work.pruned, backend) for name, backend in SIDES.items()}
    found = compare(interleave(sides), "ours", "theirs")
    note = f"{milliseconds(found.medians[0])} against {milliseconds(found.medians[1])}"
    return Row(work=TIME, value=found.value, must=1.0, spread=found.spread, note=note)


def _memory() -> Row:
    ours, theirs = (growth(__name__, side) for side in SIDES)
    note = f"{ours / 1e6:.0f} MB against {theirs / 1e6:.0f} MB"
    return Row(work=MEMORY, value=ours / theirs, must=1.0, note=note)


def print_growth(side: str) -> None:
    """Print how many bytes one call adds to this process."""
    settle()
    work = standard_work()
    print_growth_of(lambda: work.pruned(SIDES[side]))
