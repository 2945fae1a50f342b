"""The memory of a search in k2: what each stream has heard, and k2's own record of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.decoding.state import History, empty_history


@dataclass(frozen=True)
class Heard:
    """One stream: nothing in it changes, apart from the record that k2 keeps."""

    inputs: tuple[Tensor, ...] = ()
    """What was searched, (t, J) each."""
    frames: tuple[Tensor, ...] = ()
    """The encoder frames (25 Hz) these were, (t,) each."""
    record: Any = None
    """k2's own of the search so far; None before the first frame, and where it is searched anew for every answer."""

    @property
    def num_frames(self) -> int:
        return sum(map(len, self.inputs))

    def more(self, inputs: Tensor, first_frame: int, record: Any = None) -> Heard:
        """After `inputs`, (t, J), the first of them encoder frame `first_frame`."""
        frames = torch.arange(first_frame, first_frame + len(inputs))
        return Heard((*self.inputs, inputs), (*self.frames, frames), record)

    def all_frames(self) -> Tensor:
        return torch.cat([torch.zeros(0, dtype=torch.int64), *self.frames])


class LatticeState(NamedTuple):
    """Streams of a search in k2, which keeps their histories as lattices."""

    history: History
    """Empty; here what was said lies in the lattice."""
    frames: Tensor
    """(B,) int64, encoder frames consumed, 25 Hz"""
    heard: tuple[Heard, ...]
    """One for each stream."""

    def select_rows(self, rows: Tensor) -> LatticeState:
        """What `asr.decoding.select` asks of a state that holds more than tensors."""
        at = rows.tolist()
        return start(self.frames[rows.to(self.frames.device)], [self.heard[row] for row in at])

    @staticmethod
    def join(states: Sequence[LatticeState]) -> LatticeState:
        """What `asr.decoding.concat` asks."""
        frames = torch.cat([state.frames for state in states])
        return start(frames, [one for state in states for one in state.heard])


def start(frames: Tensor, heard: Sequence[Heard]) -> LatticeState:
    """Streams that have consumed `frames` (B,), and heard something of it."""
    return LatticeState(empty_history(len(heard), 1, frames.device), frames, tuple(heard))
