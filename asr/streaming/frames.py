"""Feature frames that wait for their chunk."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor


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
