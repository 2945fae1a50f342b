"""The one primitive of streaming: remember the past, and put it in front of what comes."""

from __future__ import annotations

import torch
from torch import Tensor

from asr.nn.blocks import BlockPast


def extend_left(x: Tensor, cache: Tensor | BlockPast) -> tuple[Tensor, Tensor]:
    """Put the remembered past in front of `x`, and remember again.

    Args:
        x: new frames, (B, T, ...).
        cache: the last L frames seen before `x`, oldest first, (B, L, ...); L may be 0. Or a `BlockPast`, where `x`
            are chunks as rows of their own.
    Returns:
        (B, L + T, ...) and the next cache, (B, L, ...).
    """
    if isinstance(cache, BlockPast):
        return cache.extend(x)
    frames = cache.shape[1]
    if frames == 0:
        return x, cache
    extended = torch.cat([cache, x], dim=1)
    return extended, extended[:, extended.shape[1] - frames :]


def past_frames(cache: Tensor | BlockPast) -> int:
    """How many frames `extend_left` will put in front."""
    return cache.frames if isinstance(cache, BlockPast) else cache.shape[1]
