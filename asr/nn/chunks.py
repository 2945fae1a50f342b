"""How far a frame may see: chunk size and left context."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asr.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ChunkContext:
    """What each frame may see, counted in 50 Hz frames.

    Attributes:
        chunk_size: frames that become visible together; None sees the whole utterance.
        left_context: frames visible before the chunk, rounded down to whole chunks (at least one); None is unlimited.
    """

    chunk_size: int | None = None
    left_context: int | None = None

    def __post_init__(self) -> None:
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ConfigError(f"chunk_size={self.chunk_size} must be a positive number of 50 Hz frames, or null")
        if self.left_context is not None and self.left_context < 1:
            raise ConfigError(f"left_context={self.left_context} must be a positive number of 50 Hz frames, or null")

    @property
    def left_frames(self) -> int | None:
        """The left context in force: whole chunks, at least one."""
        if self.chunk_size is None or self.left_context is None:
            return None
        return max(self.left_context // self.chunk_size, 1) * self.chunk_size

    def at_rate(self, downsampling: int) -> int | None:
        """The chunk size in frames of a stack that runs `downsampling` times slower."""
        return None if self.chunk_size is None else self.chunk_size // downsampling


def visible_frames(
    context: ChunkContext, *, processed: Tensor, lens: Tensor, num_frames: int, cache_frames: int
) -> Tensor:
    """The one attention mask, from absolute positions.

    Args:
        processed: frames seen before this call, row by row, (B,); the clock of each stream.
        lens: valid frames of this call, (B,).
        num_frames: T, frames of this call, padding included.
        cache_frames: L, remembered frames in front of them.
    Returns:
        bool, True = the query frame sees the source frame; (B, T, L + T), or (B, 1, T) where no chunk limits it.
    """
    start = processed.unsqueeze(1)
    source = start + torch.arange(-cache_frames, num_frames, device=processed.device)
    exists = (source >= 0) & (source < start + lens.unsqueeze(1))
    if context.chunk_size is None:
        return exists.unsqueeze(1)
    query = start + torch.arange(num_frames, device=processed.device)
    chunk_start = query.div(context.chunk_size, rounding_mode="floor").mul(context.chunk_size).unsqueeze(2)
    source = source.unsqueeze(1)
    seen = exists.unsqueeze(1) & (source < chunk_start + context.chunk_size)
    if context.left_frames is not None:
        seen = seen & (source >= chunk_start - context.left_frames)
    return seen
