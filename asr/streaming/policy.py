"""Chunks that fit the conditions: short ones where speech stands clear of its background, longer ones in noise.

Short chunks show words sooner; in noise a frame needs more of what follows it to be understood.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from asr.errors import ConfigError
from asr.nn.chunks import check_left_context

DB_PER_NEPER = 10.0 / math.log(10.0)
"""Decibels of power for one unit of a log-mel feature."""
WINDOW_FRAMES = 300
"""Feature frames (100 Hz) over which level and background are told apart: 3 s, in which speech pauses."""
FIRST_FRAMES = 60
"""Feature frames before which nothing is estimated: a pause before the first word would pass for noise."""


@dataclass(kw_only=True)
class AdaptiveConfig:
    """Chunk sizes to choose from as a stream goes, and the ratios of speech to noise at which to change."""

    chunk_sizes: list[int] = field(default_factory=lambda: [16, 32, 64])
    """Frames (50 Hz), rising; the first is for quiet conditions. All must divide the left context."""
    snr_db: list[float] = field(default_factory=lambda: [18.0, 10.0])
    """Decibels, falling: at or above the first the first size is used, then at or above the second the second, ..."""

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.chunk_sizes, self.chunk_sizes[1:]))
        if len(self.chunk_sizes) < 2 or min(self.chunk_sizes) < 1 or not rising:
            raise ConfigError(f"adaptive.chunk_sizes={self.chunk_sizes} must be two or more, rising; use [16, 64]")
        falling = all(a > b for a, b in zip(self.snr_db, self.snr_db[1:]))
        if len(self.snr_db) != len(self.chunk_sizes) - 1 or not falling:
            raise ConfigError(f"adaptive.snr_db={self.snr_db} must fall, and be one fewer than adaptive.chunk_sizes")

    def check_left_context(self, left_context: int) -> None:
        """Raise ConfigError unless every chunk remembers the same, so that one state serves all."""
        check_left_context(left_context, self.chunk_sizes)


class ChunkPolicy:
    """Chooses the size of the next chunk from what was decoded before it.

    Nothing later is asked, so the choice does not depend on how the audio was cut into pieces.
    """

    def __init__(self, config: AdaptiveConfig):
        self._config = config
        self._powers: deque[float] = deque(maxlen=WINDOW_FRAMES)

    def accept(self, frames: Tensor) -> None:
        """Hear the frames of a decoded chunk, (T, F) log-mel at 100 Hz."""
        mean_powers = frames.logsumexp(dim=1) - math.log(frames.shape[1])
        self._powers.extend((DB_PER_NEPER * mean_powers).tolist())

    @property
    def chunk_size(self) -> int:
        """For the next chunk, 50 Hz frames."""
        snr_db = estimate_snr_db(self._powers)
        if snr_db is None:
            return self._config.chunk_sizes[0]
        worse = sum(snr_db < limit for limit in self._config.snr_db)
        return self._config.chunk_sizes[worse]


def estimate_snr_db(powers_db: Sequence[float] | deque[float]) -> float | None:
    """Speech above background, decibels: the loud frames (95th percentile) against the faint ones (10th).

    None where too little was heard to tell. Silence alone looks like noise alone: there is nothing to be late for.

    Args:
        powers_db: mean power of each feature frame lately heard.
    """
    if len(powers_db) < FIRST_FRAMES:
        return None
    faint, loud = torch.tensor(list(powers_db)).quantile(torch.tensor([0.1, 0.95])).tolist()
    return loud - faint
