"""Dropout whose masks are constant over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.nn.schedule import ScheduledFloat, current


class SharedDropout(nn.Module):
    """Element dropout with one mask for all frames of a sequence, rescaled by 1 / (1 - p); x is (B, T, C)."""

    def __init__(self, rate: float | ScheduledFloat):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        scale = self.draw(x)
        return x if scale is None else x * scale

    def draw(self, x: Tensor) -> Tensor | None:
        """What x is to be multiplied by, (B, 1, C); None for 1."""
        rate = current(self.rate)
        if not self.training or rate == 0.0:
            return None
        keep = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= rate
        return keep.to(x.dtype) / (1.0 - rate)


def keep_sequences(x: Tensor, rate: float) -> Tensor | None:
    """A {0, 1} mask (B, 1, 1) that drops each sequence with probability `rate`, never rescaled; None at rate 0."""
    if rate == 0.0:
        return None
    return (torch.rand(x.shape[0], 1, 1, device=x.device) > rate).to(x.dtype)
