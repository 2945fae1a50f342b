"""Bypass: a learnt share of what a stretch of the network changed. Source: Zipformer, arXiv 2310.11230, section 3.2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.nn.dropout import keep_sequences
from asr.nn.gradients import limit_param
from asr.nn.schedule import ScheduledFloat


class Bypass(nn.Module):
    """before + c (after - before), c per channel; in training whole sequences may skip the stretch.

    Args:
        skip_rate: share of sequences for which c counts as zero.
    """

    def __init__(self, dim: int, *, skip_rate: ScheduledFloat | None = None):
        super().__init__()
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))
        self.min_scale = ScheduledFloat((0.0, 0.9), (20000.0, 0.2))
        self.skip_rate = skip_rate

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Both (B, T, C)."""
        return torch.lerp(before, after, self._scale(before))

    def _scale(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.bypass_scale
        scale = limit_param(self.bypass_scale, self.min_scale.value, 1.0)
        keep = keep_sequences(x, self.skip_rate.value) if self.skip_rate is not None else None
        return scale if keep is None else scale * keep
