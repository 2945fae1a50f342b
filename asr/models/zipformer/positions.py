"""Relative positions, compactly: far offsets share resolution.

Source: the published recipe (Zipformer, arXiv 2310.11230, section 3.2, uses it without spelling it out):
for an offset x, x' = sqrt(D) sign(x) (ln(|x| + sqrt(D)) - ln sqrt(D)), and columns cos(f atan(2 pi x' / D)), sin(...).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from asr.nn.memo import Memo


def position_table(offsets: Tensor, dim: int, length_factor: float = 1.0) -> Tensor:
    """The table's rows for integer offsets (source - target), (N,) to (N, dim) float32; `dim` is even."""
    stretch = math.sqrt(dim)
    x = offsets.float()  # double would be no closer to published models, and graph runtimes lack a double atan
    compressed = stretch * x.sign() * torch.log1p(x.abs() / stretch)
    angle = torch.atan(compressed * (2.0 * math.pi / (dim * length_factor)))
    phase = angle.unsqueeze(1) * torch.arange(1, dim // 2 + 1, device=x.device)
    table = torch.stack([phase.cos(), phase.sin()], dim=2).flatten(1)
    bias = torch.ones_like(table[:, :1])  # takes the place of the last sine
    return torch.cat([table[:, :-1], bias], dim=1)


class RelativePositions(nn.Module):
    """Rows for every offset between T target frames and L + T source frames, with dropout in training."""

    def __init__(self, dim: int, dropout: float = 0.15):
        super().__init__()
        self.dim = dim
        self.dropout = nn.Dropout(dropout)
        self._memo = Memo()

    def forward(self, num_frames: int, cache_frames: int, device: torch.device) -> Tensor:
        """Offsets -(L + T - 1) ... T, one more than is needed so that the skew stays a view: (L + 2T, dim)."""
        key = num_frames, cache_frames, device
        return self.dropout(self._memo.get(lambda: self._table(num_frames, cache_frames, device), key=key))

    def _table(self, num_frames: int, cache_frames: int, device: torch.device) -> Tensor:
        offsets = torch.arange(-(cache_frames + num_frames - 1), num_frames + 1, device=device)
        return position_table(offsets, self.dim)
