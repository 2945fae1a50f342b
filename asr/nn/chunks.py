"""How far a frame may see: chunk size and left context."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        lookahead: frames visible beyond the chunk, in every layer.
        row_sizes: chunks of varying size, one after the other, for each row of the batch or once for all; the last
            one repeats. `chunk_size` is then the largest of them. None: all are of `chunk_size`.
    """

    chunk_size: int | None = None
    left_context: int | None = None
    lookahead: int = 0
    row_sizes: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ConfigError(f"chunk_size={self.chunk_size} must be a positive number of 50 Hz frames, or null")
        if self.left_context is not None and self.left_context < 1:
            raise ConfigError(f"left_context={self.left_context} must be a positive number of 50 Hz frames, or null")
        if self.lookahead < 0:
            raise ConfigError(f"lookahead={self.lookahead} must be 0 or more 50 Hz frames")
        if self.lookahead and self.chunk_size is None:
            raise ConfigError(f"lookahead={self.lookahead} needs a chunk size: without chunks everything is seen")

    @classmethod
    def varying(
        cls, row_sizes: Sequence[Sequence[int]], *, left_context: int | None = None, lookahead: int = 0
    ) -> ChunkContext:
        """Chunks of the given sizes, row by row or once for all rows, for one pass over whole utterances.

        Raises ConfigError unless the left context is whole chunks of every size, so that it is the same for all.
        """
        rows = tuple(tuple(row) for row in row_sizes)
        sizes = {size for row in rows for size in row}
        if not sizes or not all(rows) or min(sizes) < 1:
            raise ConfigError(f"row_sizes={rows} must hold chunks of at least 1 frame for every row")
        check_left_context(left_context, sizes)
        return cls(chunk_size=max(sizes), left_context=left_context, lookahead=lookahead, row_sizes=rows)

    @property
    def in_blocks(self) -> bool:
        """Whether chunks are computed as rows of their own, see `asr.nn.blocks`: they overlap or vary."""
        return self.lookahead > 0 or self.row_sizes is not None

    @property
    def left_frames(self) -> int | None:
        """The left context in force: whole chunks, at least one."""
        if self.chunk_size is None or self.left_context is None:
            return None
        return max(self.left_context // self.chunk_size, 1) * self.chunk_size

    def sizes_of(self, batch_size: int, num_frames: int) -> list[list[int]]:
        """The chunks of each row that together cover `num_frames`; only with a chunk size."""
        assert self.chunk_size is not None
        rows = [_cover(row, num_frames) for row in self.row_sizes or [(self.chunk_size,)]]
        return rows * batch_size if len(rows) == 1 else rows

    def whole_chunks(self, num_frames: int) -> int:
        """`num_frames` rounded up to whole chunks, in every row."""
        if self.chunk_size is None:
            return num_frames
        return max(sum(row) for row in self.sizes_of(1, num_frames))


def check_left_context(left_context: int | None, sizes: Iterable[int]) -> None:
    """Raise ConfigError unless the left context is whole chunks of each of several sizes."""
    for size in sizes:
        if left_context is not None and (left_context < size or left_context % size):
            raise ConfigError(f"left_context={left_context} must be a multiple of every chunk size, also of {size}")


def _cover(sizes: Sequence[int], num_frames: int) -> list[int]:
    """As many of the sizes as cover `num_frames`, at least one; the last one repeats."""
    found: list[int] = []
    total = 0
    while total < num_frames or not found:
        found.append(sizes[min(len(found), len(sizes) - 1)])
        total += found[-1]
    return found


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
    # Calls are whole chunks, so chunks may be counted from the call's start, whatever sizes came before it.
    query = torch.arange(num_frames, device=processed.device)
    chunk = query.div(context.chunk_size, rounding_mode="floor").mul(context.chunk_size)
    chunk_start = (start + chunk).unsqueeze(2)
    source = source.unsqueeze(1)
    seen = exists.unsqueeze(1) & (source < chunk_start + context.chunk_size)
    if context.left_frames is not None:
        seen = seen & (source >= chunk_start - context.left_frames)
    return seen
