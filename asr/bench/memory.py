"""Peak memory of a training step: how far a process grows over the built model, gradients included."""

from __future__ import annotations

import gc
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from asr.bench.result import Row
from asr.bench.timing import median, settle
from asr.bench.training import training_step
from asr.bench.yardstick import Work, our_work, yardstick_work

STEPS = 3
PROCESSES = 3
"""The median counts: which regularisers act is drawn, and with it what is kept for them."""
SIDES: dict[str, Callable[[], Work]] = {
    "ours": our_work,
    "recomputed": partial(our_work, recompute=True),
    "theirs": yardstick_work,
}


def run() -> list[Row]:
    """Each side in a process of its own; ours as it trains, and with layers worked out twice."""
    grown = {side: median([growth(__name__, side) for _ in range(PROCESSES)]) for side in SIDES}
    work = "peak memory of a medium training step, against torchaudio's Conformer"
    theirs = grown["theirs"]
    rows = []
    for side, name, must, aim in (("ours", work, 1.1, None), ("recomputed", f"{work}, with recomputation", None, 0.7)):
        note = f"growth of {grown[side] / 1e6:.0f} MB against {theirs / 1e6:.0f} MB"
        rows.append(Row(work=name, value=grown[side] / theirs, must=must, aim=aim, note=note))
    return rows


def print_growth(side: str) -> None:
    """Bytes that `STEPS` steps add; the gradients of the last stay."""
    settle()
    work = SIDES[side]()
    work.model.train()
    print_growth_of(partial(_steps, work))


def _steps(work: Work) -> None:
    for _ in range(STEPS):
        training_step(work)


def print_growth_of(run: Callable[[], object]) -> None:
    """Print how many bytes `run` adds to this process at its peak."""
    gc.collect()
    before = _resident()
    run()
    print(_peak() - before)


def growth(module: str, side: str) -> int:
    """What `print_growth(side)` of a benchmark prints, in a process of its own: peaks only ever rise."""
    command = [sys.executable, "-c", f"from {module} import print_growth; print_growth({side!r})"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def _resident() -> int:
    """Bytes in use now; where the system does not say, the most so far."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * resource.getpagesize() if pages.exists() else _peak()


def _peak() -> int:
    """The most bytes in use so far; to `getrusage` Linux adds what the parent had when it started this process."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)):
        return 1024 * int(found[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
