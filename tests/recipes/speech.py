"""Synthesised speech for corpora that tests make."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile


class Line(NamedTuple):
    """One utterance to be spoken: `voice` as the synthesiser calls it."""

    utt_id: str
    text: str
    voice: str
    rate: int


def speak(lines: Sequence[Line], folder: Path) -> dict[str, np.ndarray]:
    """Samples at 16 kHz by utterance, float32; skips the test, saying so, where there is no synthesiser."""
    pytest.importorskip("espeakng_loader", reason='no synthesiser; pip install "rill-asr[demo]"')
    from asr.recipes.demo.corpus import place, resampled

    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        {"id": line.utt_id, "text": line.text, "voice": line.voice, "rate": line.rate, "pitch": 50} for line in lines
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    command = [sys.executable, "-m", "asr.recipes.demo.synthesise", str(folder / "jobs.json"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    spoken = {}
    for number, line in enumerate(lines):
        samples, rate = soundfile.read(folder / f"{line.utt_id}.wav", dtype="float32")
        spoken[line.utt_id] = place(resampled(samples, rate), number)
    return spoken
