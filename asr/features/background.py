"""What a recording sounds like where nobody speaks, to continue it with, or to begin it."""

from __future__ import annotations

import torch
from torch import Tensor

QUIET_FRAMES = 10
"""Background frames (100 Hz) that are remembered: a tenth of a second."""


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
        seen = torch.cat([self._quiet.to(frames.device), frames])
        quietest = seen.mean(dim=1).sort(stable=True).indices[:QUIET_FRAMES]
        self._quiet = seen[quietest.sort().values]

    def tail(self, count: int) -> Tensor:
        """`count` frames of background, (count, F); none where nothing was heard."""
        if len(self._quiet) == 0:
            return self._quiet
        return self._quiet[torch.arange(count) % len(self._quiet)]
