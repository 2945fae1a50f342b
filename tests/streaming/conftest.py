"""One tiny recogniser and a few recordings for all tests of streams."""

from __future__ import annotations

import pytest
from torch import Tensor

from asr.features import load_16k
from asr.streaming import Recognizer
from tests.streaming.tiny_recognizer import tiny_recognizer


@pytest.fixture(scope="session")
def clips(data_dir) -> list[Tensor]:
    """Real speech at 16 kHz, (N,) each, 0.6 to 2.3 seconds."""
    files = sorted((data_dir / "utterances").glob("*.flac"))
    if not files:
        pytest.skip(f"no recordings in {data_dir / 'utterances'}; set RILL_DATA_DIR")
    return [load_16k(file).samples[: 9000 * (1 + i % 4) + 1111] for i, file in enumerate(files[:6])]


@pytest.fixture(scope="session")
def recognizer(clips) -> Recognizer:
    """Shared, for it is immutable."""
    return tiny_recognizer(max(clips, key=len))
