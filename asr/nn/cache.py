"""The one primitive of streaming: remember the past, and put it in front of what comes."""

from __future__ import annotations

import torch
from torch import Tensor


def extend_left(x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
    """Put the remembered past in front of `x`, and remember again.

    Args:
        x: new frames, (B, T, ...).
        cache: the last L frames seen before `x`, oldest first, (B, L, ...); L may be 0.
    Returns:
        (B, L + T, ...) and the next cache, (B, L, ...).
    """
    frames = cache.shape[1]
    if frames == 0:
        return x, cache
    extended = torch.cat([cache, x], dim=1)
    return extended, extended[:, extended.shape[1] - frames :]
