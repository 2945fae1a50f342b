"""Feature frames that wait for their chunk, and the background that may follow the last of them."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

QUIET_FRAMES = 10
"""Background frames (100 Hz) that are remembered: a tenth of a second."""


class FrameQueue:
    """First in, first out, and nothing kept of what went out."""

    def __init__(self, feature_dim: int):
        self._blocks: deque[Tensor] = deque()
        self._empty = torch.zeros(0, feature_dim)
        self._num_frames = 0

    def __len__(self) -> int:
        return self._num_frames

    def push(self, frames: Tensor) -> None:
        """Append (T, F)."""
        if len(frames):
            self._blocks.append(frames)
            self._num_frames += len(frames)

    def front(self, count: int) -> Tensor:
        """The first `count` frames, or as many as there are, (T, F); they stay in the queue."""
        found, missing = [self._empty], count
        for block in self._blocks:
            if missing <= 0:
                break
            found.append(block[:missing])
            missing -= len(block)
        return torch.cat(found)

    def drop(self, count: int) -> None:
        """Forget the first `count` frames, or as many as there are."""
        count = min(count, self._num_frames)
        self._num_frames -= count
        while count:
            block = self._blocks.popleft()
            if len(block) > count:
                # A copy, or the slice would keep the whole block alive.
                self._blocks.appendleft(block[count:].clone())
            count -= min(len(block), count)


class Background:
    """Remembers the quietest frames of a recording, to continue it with something that sounds like its own room.

    Frames far below all that a model has heard (a constant such as ln 1e-10) can make a young one invent words.
    """

    def __init__(self, feature_dim: int):
        self._quiet = torch.zeros(0, feature_dim)

    def accept(self, frames: Tensor) -> None:
        """Take (T, F); any division of a recording into calls leads to the same memory."""
        if len(frames) == 0:
            return
        seen = torch.cat([self._quiet, frames])
        quietest = seen.mean(dim=1).sort(stable=True).indices[:QUIET_FRAMES]
        self._quiet = seen[quietest.sort().values]

    def tail(self, count: int) -> Tensor:
        """`count` frames of background, (count, F); none where nothing was heard."""
        if len(self._quiet) == 0:
            return self._quiet
        return self._quiet[torch.arange(count) % len(self._quiet)]
