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


class Spoken(NamedTuple):
    """samples: (N,) at 16 kHz; text: what is said."""

    samples: Tensor
    text: str


def digit_strings(data_dir: Path, *, count: int, split: str = "test") -> list[Spoken]:
    """The first strings of a list."""
    recordings = RecordingFolder(data_dir / "fsdd")
    strings = read_list(list_path(split))[:count]
    return [Spoken(torch.from_numpy(build(string, recordings).samples), string.transcript) for string in strings]
