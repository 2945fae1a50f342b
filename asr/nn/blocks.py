"""Chunks laid out as rows: one masked pass over chunks that overlap (lookahead) or vary in size.

With a lookahead of R frames a chunk of S frames is computed together with the R frames that follow it, in every layer,
and these are computed anew, with their own chunk, later. Nothing else keeps a network of many layers within R frames
of the future: if each layer saw R frames of the layer below as their own chunk has them, L layers would see L R frames.
So an utterance of N chunks becomes N rows of S + R frames, whose past is what the rows before them made of their own S
frames; a step is one such row. Masked pass and steps are then the same computation, at (S + R) / S times the cost.

Source: the hard-copied right context of Emformer, arXiv 2010.10759, section 2.2; rows take the place of its long
sequence with copies, so that a network need know nothing of it but where its past comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asr.nn.chunks import ChunkContext


@dataclass(frozen=True, eq=False)
class Blocks:
    """Where N chunks of each of B rows lie in a call of T frames and the lookahead; all in frames of one rate."""

    start: Tensor
    """First frame of each chunk, counted from the start of the call, (B, N)."""
    size: Tensor
    """Frames of each chunk, without the lookahead, (B, N)."""
    num_frames: int
    """T: frames that belong to a chunk of this call."""
    lookahead: int
    """R: frames that each chunk sees beyond itself."""
    past: int
    """P: frames that each chunk remembers for attention."""
    width: int
    """W: the longest chunk with its lookahead; the length of the rows."""

    def at_rate(self, factor: int) -> Blocks:
        """The same, `factor` times slower."""
        numbers = (self.num_frames, self.lookahead, self.past, self.width)
        return Blocks(self.start // factor, self.size // factor, *(number // factor for number in numbers))

    @property
    def extent(self) -> Tensor:
        """Frames that each row of a block counts, lookahead included, whether or not the utterance goes on, (B N,)."""
        return (self.size + self.lookahead).flatten()

    def lens(self, lens: Tensor) -> Tensor:
        """Valid frames of each block, (B N,), where (B,) are valid in the call."""
        return (lens.unsqueeze(1) - self.start).clamp(min=0).flatten().minimum(self.extent)

    def spread(self, x: Tensor) -> Tensor:
        """(B, T + R, C) to blocks (B N, W, C); what a block has beyond its valid frames is arbitrary."""
        index = self.start.unsqueeze(2) + torch.arange(self.width, device=x.device)
        return _take(x, index.clamp(max=x.shape[1] - 1)).flatten(0, 1)

    def join(self, x: Tensor) -> Tensor:
        """Blocks (B N, W, C) to their own frames in order, (B, T, C); the lookahead falls away."""
        position = torch.arange(self.num_frames, device=x.device)
        block = (self.start.unsqueeze(2) <= position).sum(dim=1) - 1
        index = block * self.width + position - self.start.gather(1, block)
        return _take(x.unflatten(0, self.start.shape).flatten(1, 2), index)

    def before(self, history: Tensor, frames: int) -> Tensor:
        """The `frames` frames before each block, (B N, frames, C), from (B, H + T, C) that begins H frames early."""
        first = self.start + (history.shape[1] - self.num_frames - frames)
        index = first.unsqueeze(2) + torch.arange(frames, device=history.device)
        return _take(history, index.clamp(min=0)).flatten(0, 1)

    def visible(self, processed: Tensor, lens: Tensor, left_frames: int | None) -> Tensor:
        """The attention mask, from absolute positions, as `visible_frames` for blocks.

        Args:
            processed: frames seen before this call, row by row, (B,).
            lens: valid frames of this call, lookahead included, (B,).
            left_frames: frames seen before each chunk; None is unlimited.
        Returns:
            bool, True = seen, (B N, 1, P + W).
        """
        offset = torch.arange(-self.past, self.width, device=lens.device)
        source = self.start.unsqueeze(2) + offset
        seen = (source < lens.reshape(-1, 1, 1)) & (source + processed.reshape(-1, 1, 1) >= 0)
        seen = seen & (offset < (self.size + self.lookahead).unsqueeze(2))
        if left_frames is not None:
            seen = seen & (offset >= -left_frames)
        return seen.flatten(0, 1).unsqueeze(1)


@dataclass(frozen=True, eq=False)
class BlockPast:
    """A cache of B rows as blocks see it: stands in for the tensor where `extend_left` is called."""

    cache: Tensor
    """The frames before the call, (B, L, C); L may be 0."""
    blocks: Blocks
    """At the rate of the cache."""
    frames: int
    """Frames put in front of each block."""

    def extend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Blocks (B N, W, C) to (B N, frames + W, C), and the cache after the call, (B, L, C)."""
        history = torch.cat([self.cache, self.blocks.join(x)], dim=1)
        extended = torch.cat([self.blocks.before(history, self.frames), x], dim=1)
        return extended, history[:, history.shape[1] - self.cache.shape[1] :]


def lay_out(context: ChunkContext, lens: Tensor, *, num_frames: int, cache_frames: int) -> Blocks:
    """Cut a call of `num_frames` frames, the lookahead not counted, into the chunks of `context`.

    Args:
        lens: (B,), for the number of rows and the device.
        cache_frames: frames remembered for attention from before the call; 0 for whole utterances.
    """
    rows = context.sizes_of(lens.shape[0], num_frames)
    longest = max(map(len, rows))
    size = torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows], device=lens.device)
    left = num_frames if context.left_frames is None else context.left_frames
    return Blocks(
        start=(size.cumsum(dim=1) - size).clamp(max=num_frames),
        size=size,
        num_frames=num_frames,
        lookahead=context.lookahead,
        past=cache_frames or left,
        width=int(size.max()) + context.lookahead,
    )


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Frames of x (B, T, ...) by number, (B, ...) to (B, ..., ...)."""
    rows = torch.arange(x.shape[0], device=x.device).reshape(-1, *[1] * (index.dim() - 1))
    return x[rows, index]
