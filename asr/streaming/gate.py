"""Tells frames in which somebody may be speaking from frames that are surely background, so that those cost nothing."""

from __future__ import annotations

from collections import deque

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.streaming.config import GateConfig

NUM_BANDS = 4
"""Bands of neighbouring bins, each with a floor of its own: a faint hiss must stand out from hum far louder than it."""
SMOOTHING_FRAMES = 5
"""Frames (100 Hz) whose power is averaged: single ones of steady noise scatter by several decibels."""
BLOCK_FRAMES = 50
"""Frames (100 Hz) whose minimum is remembered as one number: the floor forgets by half seconds."""


class VoiceGate:
    """Marks frames as open or closed by their power over the lowest that was lately heard, band by band.

    What is marked depends on the frames alone, never on how they were divided into calls. The first `hang_over_s` of a
    stream are open, for nothing is known of its background yet.
    """

    def __init__(self, config: GateConfig):
        self._ratio = 10 ** (config.margin_db / 10)
        self._hang_over = max(round(100 * config.hang_over_s), 1)  # a frame in which somebody speaks is itself open
        self._recent: Tensor | None = None  # band powers of the last frames, for the average
        self._blocks: deque[Tensor] = deque(maxlen=max(round(100 * config.memory_s / BLOCK_FRAMES), 1))
        self._lowest = torch.full((NUM_BANDS,), torch.inf)  # of the block at hand
        self._num_frames = 0
        self._last_voiced = 0

    def accept(self, frames: Tensor) -> Tensor:
        """Take log-mel frames, (T, F) at 100 Hz; return (T,) bool, True where the gate is open."""
        if len(frames) == 0:
            return torch.zeros(0, dtype=torch.bool)
        powers = self._smooth(F.adaptive_avg_pool1d(frames.exp().unsqueeze(0), NUM_BANDS)[0])
        voiced = (powers > self._ratio * self._floor(powers)).any(dim=1)
        position = self._num_frames + torch.arange(len(frames))
        last = position.where(voiced, torch.full_like(position, self._last_voiced)).cummax(dim=0).values
        self._num_frames += len(frames)
        self._last_voiced = int(last[-1])
        return position - last < self._hang_over

    def _smooth(self, powers: Tensor) -> Tensor:
        """Average every frame of (T, bands) with those before it."""
        before = powers[:1].expand(SMOOTHING_FRAMES - 1, -1) if self._recent is None else self._recent
        joined = torch.cat([before, powers])
        self._recent = joined[len(powers) :].clone()
        return joined.unfold(0, SMOOTHING_FRAMES, 1).mean(dim=2)

    def _floor(self, powers: Tensor) -> Tensor:
        """The lowest power up to each frame of (T, bands), over the blocks that are remembered."""
        floors, done = [], 0
        while done < len(powers):
            count = BLOCK_FRAMES - (self._num_frames + done) % BLOCK_FRAMES
            block = powers[done : done + count]
            running = torch.cat([self._lowest.unsqueeze(0), block]).cummin(dim=0).values[1:]
            floors.append(torch.stack([running, *(past.expand_as(running) for past in self._blocks)]).amin(dim=0))
            self._lowest, done = running[-1], done + len(block)
            if len(block) == count:
                self._blocks.append(self._lowest)
                self._lowest = torch.full_like(self._lowest, torch.inf)
        return torch.cat(floors)
