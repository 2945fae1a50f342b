"""Which benchmarks there are. Each is a module of this room with `run() -> list[Row]`."""

from __future__ import annotations

import importlib
from types import ModuleType

from asr.bench.result import Row

BENCHMARKS = {
    "inference": "medium encoder, inference: against torchaudio's Conformer, and the matrix products' share",
    "training": "medium encoder, forward and backward: against torchaudio's Conformer, and the matrix products' share",
    "loss": "simple and pruned loss: against torchaudio's full loss, and their share of a training step",
    "loss-k2": "simple and pruned loss: ours in plain torch against k2's, where there is a k2 that loads",
    "optimizer": "ScaledAdam's step against AdamW's",
    "search": "batched greedy search against the encoder",
    "streaming": "a step of a live stream: the library, exported float32 and 8 bits",
    "digits": "training the digits recipe's model: utterances per CPU second, waiting for data",
    "growth": "cost against length: a stream of an hour, whole utterances; draws a picture",
    "startup": "asr --help and asr transcribe from a cold start",
    "streams": "live streams: fifty of the digits model on two cores, and how many of the published models on one",
    "bfloat16": "medium encoder, inference: bfloat16 products against our float32, and what they cost in accuracy",
    "profile": "where the medium encoder's time goes; draws a picture",
    "memory": "peak memory of a medium training step: against torchaudio's Conformer",
    "gpu": "on a CUDA device: training steps, offline decoding, live streams, hours trained per hour",
}


def find(name: str) -> ModuleType:
    """A benchmark's module."""
    return importlib.import_module(f"asr.bench.{name.replace('-', '_')}")


def run_benchmark(name: str) -> list[Row]:
    """Measure; takes minutes."""
    return find(name).run()
