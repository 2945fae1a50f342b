"""What a measurement ran on."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from asr.bench.timing import median, timed
from asr.kernels.product import product

_SIDE = 1024


def describe_machine() -> dict[str, Any]:
    """The processor, the versions and settings that matter, and the measured matrix-product rate."""
    from asr import __version__

    return {
        "cpu": _cpu_model(),
        "cores": torch.multiprocessing.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": _instructions(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rill": __version__,
        "matrix_gflops": round(matrix_rate() / 1e9, 1),
    }


@cache
def matrix_rate() -> float:
    """Operations a second, two per multiply-add, of a float32 product of square matrices, 1024 a side.

    The faster of torch's product and ours, so that shares of it are shares of what the processor is seen to do.
    """
    a, b = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    return max(_rate(lambda: torch.mm(a, b)), _rate(lambda: product(a, b)))


def _rate(multiply: Callable[[], object]) -> float:
    for _ in range(3):
        multiply()
    return 2 * _SIDE**3 / median([timed(multiply) for _ in range(30)])


def _instructions() -> str:
    """The widest vector instructions that torch uses here."""
    if hasattr(torch.backends, "cpu"):  # since torch 2.0
        return torch.backends.cpu.get_cpu_capability()
    return torch.__config__.show().rpartition("CPU capability usage: ")[2].split("\n")[0]


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
