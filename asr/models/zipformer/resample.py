"""Changing the frame rate between stacks. Source: Zipformer, arXiv 2310.11230, section 3.1."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Downsample(nn.Module):
    """Each group of `factor` frames becomes its weighted mean; where a row leaves one unfilled, its last frame repeats.

    The row's own last frame, that is: what lies beyond it in a batch has no say.
    """

    def __init__(self, factor: int):
        super().__init__()
        self.factor = factor
        self.bias = nn.Parameter(torch.zeros(factor))

    def forward(self, x: Tensor, lens: Tensor) -> Tensor:
        """x (B, T, C), lens (B,) to (B, ceil(T / factor), C)."""
        frames = x.shape[1]
        wanted = frames + -frames % self.factor
        last = (lens - 1).clamp(min=0).unsqueeze(1)
        source = torch.minimum(torch.arange(wanted, device=x.device), last)
        x = torch.gather(x, 1, source.unsqueeze(2).expand(-1, -1, x.shape[2]))
        return torch.einsum("btdc,d->btc", x.unflatten(1, (-1, self.factor)), self.bias.softmax(dim=0))


def upsample(x: Tensor, factor: int) -> Tensor:
    """Repeat each frame; (B, T, C) to (B, T * factor, C)."""
    return x.unsqueeze(2).expand(-1, -1, factor, -1).flatten(1, 2)


def downsampled_lens(lens: Tensor, factor: int) -> Tensor:
    """Lengths after `Downsample`, rounding up."""
    return torch.div(lens + (factor - 1), factor, rounding_mode="floor")
