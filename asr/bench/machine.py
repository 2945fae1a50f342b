"""What a measurement ran on."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch

from asr.bench.timing import median, timed

_SIDE = 1024


def describe_machine() -> dict[str, Any]:
    """The processor, the versions and settings that matter, and the measured matrix-product rate."""
    from asr import __version__

    return {
        "cpu": _cpu_model(),
        "cores": torch.multiprocessing.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rill": __version__,
        "matrix_gflops": round(matrix_rate() / 1e9, 1),
    }


@cache
def matrix_rate() -> float:
    """Operations a second, two per multiply-add, of a float32 product of square matrices, 1024 a side."""
    a, b = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    for _ in range(3):
        torch.mm(a, b)
    return 2 * _SIDE**3 / median([timed(lambda: torch.mm(a, b)) for _ in range(30)])


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
