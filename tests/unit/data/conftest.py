"""Small corpora made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.data import Utterance, build_cuts

WORDS = ["zero", "one", "two", "three", "four", "five"]


@pytest.fixture(scope="session")
def speechlike():
    """`speechlike(path, duration_s, seed, rate=16000)` writes a recording."""
    return _write


def _write(path: Path, duration_s: float, seed: int, *, rate: int = 16000) -> None:
    """Bursts of noise over a faint background: enough structure for levels and silences to mean something."""
    rng = np.random.default_rng(seed)
    num = int(duration_s * rate)
    bursts = np.sin(np.arange(num) * 2 * np.pi * 3 / rate) > 0
    soundfile.write(path, 0.001 * rng.normal(size=num) + 0.1 * bursts * rng.normal(size=num), rate)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> list[Utterance]:
    """Thirty utterances of 0.8 to 3 s."""
    folder = tmp_path_factory.mktemp("corpus") / "audio"
    folder.mkdir()
    utterances = []
    for index in range(30):
        path = folder / f"u{index:02d}.wav"
        _write(path, 0.8 + 0.07 * (index * 7 % 30), index)
        text = " ".join(WORDS[(index + k) % 6] for k in range(1 + index % 3))
        utterances.append(Utterance(id=path.stem, audio=path, text=text, speaker=f"s{index % 3}"))
    return utterances


@pytest.fixture(scope="session")
def cuts(corpus):
    """The corpus as cuts."""
    return build_cuts(corpus).cuts
