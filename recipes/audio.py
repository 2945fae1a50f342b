"""Finished 16 kHz utterances: writing them, and describing them as cuts."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from asr.recipes.stages import replacing

SAMPLE_RATE = 16_000


class Word(NamedTuple):
    """Where one word lies in its utterance."""

    symbol: str
    start: int
    """First sample at 16 kHz."""
    end: int
    """One past the last sample."""


def write_flac(path: Path, samples: np.ndarray) -> None:
    """Write mono 16 kHz samples, (N,) in [-1, 1], as 16-bit FLAC, whole or not at all; what passes 1 is clipped."""
    with replacing(path) as part:
        soundfile.write(part, np.clip(samples, -1, 1), SAMPLE_RATE, subtype="PCM_16", format="FLAC")


def utterance_cut(
    utt_id: str, path: str, num_samples: int, *, text: str, speaker: str, words: Sequence[Word] = ()
) -> MonoCut:
    """One cut over a whole file.

    Args:
        path: of the audio, absolute or relative to the folder of the cuts file.
        num_samples: length at 16 kHz.
        words: positions of all words, if known; they become the alignment "word".
    """
    duration_s = num_samples / SAMPLE_RATE
    recording = Recording(
        id=utt_id,
        sources=[AudioSource(type="file", channels=[0], source=path)],
        sampling_rate=SAMPLE_RATE,
        num_samples=num_samples,
        duration=duration_s,
    )
    items = [AlignmentItem(w.symbol, w.start / SAMPLE_RATE, (w.end - w.start) / SAMPLE_RATE) for w in words]
    supervision = SupervisionSegment(
        id=utt_id,
        recording_id=utt_id,
        start=0.0,
        duration=duration_s,
        text=text,
        speaker=speaker,
        language="English",
        alignment={"word": items} if items else None,
    )
    return MonoCut(
        id=utt_id, start=0.0, duration=duration_s, channel=0, recording=recording, supervisions=[supervision]
    )


def save_cuts(cuts: Sequence[MonoCut], path: Path) -> None:
    """Write a `cuts-*.jsonl.gz` file, whole or not at all."""
    with replacing(path) as part:
        CutSet.from_cuts(cuts).to_file(part)
