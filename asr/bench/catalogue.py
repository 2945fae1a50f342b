"""Which benchmarks there are. Each is a module of this room with `run() -> list[Row]`."""

from __future__ import annotations

import importlib

from asr.bench.result import Row

BENCHMARKS = {
    "inference": "medium encoder, inference: against torchaudio's Conformer, and the matrix products' share",
    "training": "medium encoder, forward and backward: against torchaudio's Conformer, and the matrix products' share",
}


def run_benchmark(name: str) -> list[Row]:
    """Measure; takes minutes."""
    return importlib.import_module(f"asr.bench.{name}").run()
