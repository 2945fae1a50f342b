"""Connected digits from real recordings, as the recipe's lists define them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from asr.recipes.digits.lists import read_list
from asr.recipes.digits.prepare import list_path
from asr.recipes.digits.recordings import RecordingFolder
from asr.recipes.digits.strings import build
from asr.streaming import Recognizer


class Spoken(NamedTuple):
    """samples: (N,) at 16 kHz; text: what is said."""

    samples: Tensor
    text: str


def digit_strings(data_dir: Path, *, count: int, split: str = "test") -> list[Spoken]:
    """The first strings of a list."""
    recordings = RecordingFolder(data_dir / "fsdd")
    strings = read_list(list_path(split))[:count]
    return [Spoken(torch.from_numpy(build(string, recordings).samples), string.transcript) for string in strings]


def understood(recognizer: Recognizer, data_dir: Path, *, count: int) -> list[Spoken]:
    """The first strings of the test list that a recogniser gets right, so that a wrong word is not the model's."""
    spoken = digit_strings(data_dir, count=2 * count + 8)
    known = [string for string in spoken if recognizer.transcribe(string.samples, 16000).text == string.text]
    assert len(known) >= count, f"the model gets no more than {len(known)} of {len(spoken)} strings right"
    return known[:count]
