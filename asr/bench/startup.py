"""How long commands take from a cold start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asr.bench.result import Row
from asr.bench.timing import median
from asr.checkpoint.model import save_model
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.text import CharTokenizer

SMALL: dict[str, Any] = {
    "num_layers": [2, 2, 2, 2, 2, 2],
    "encoder_dims": [192, 256, 256, 256, 256, 256],
    "unmasked_dims": [192] * 6,
    "feedforward_dims": [512, 768, 768, 768, 768, 768],
}
"""The published small model's sizes, as far as they differ from the medium one's."""
ROUNDS = 5


def run() -> list[Row]:
    """`asr --help`, and `asr transcribe` of three seconds with the small streaming model, random weights."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, audio = Path(folder) / "small.safetensors", Path(folder) / "noise.wav"
        tokenizer = CharTokenizer.train(["abcdefghijklmnopqrstuvwxyz"])
        config = TransducerConfig(encoder=ZipformerConfig(causal=True, **SMALL), vocab_size=tokenizer.vocab_size)
        save_model(checkpoint, Transducer(config), tokenizer)
        soundfile.write(audio, 0.1 * np.random.default_rng(0).standard_normal(48000), 16000)
        return [
            _row("asr --help, seconds", ["--help"], must=0.5),
            _row("asr transcribe of 3 s, small model, seconds", ["transcribe", str(checkpoint), str(audio)], must=5.0),
        ]


def _row(work: str, arguments: list[str], *, must: float) -> Row:
    command = [sys.executable, "-m", "asr.cli.main", *arguments]

    def start() -> None:
        subprocess.run(command, check=True, capture_output=True, preexec_fn=_on_all_cores)

    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()  # not this process' own time, for another one works
        start()
        times.append(time.perf_counter() - begun)
    low, high = np.percentile(times, [25, 75]).tolist()
    return Row(work=work, value=median(times), must=must, spread=(low, high), note=f"median of {ROUNDS} starts")


def _on_all_cores() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
