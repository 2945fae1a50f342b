"""Fixed feature normalisation, part of the model so that every export carries it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureNorm(nn.Module):
    """(x - mean) / deviation with one mean per mel bin and one deviation for all; starts as the identity.

    Fixed numbers from training data, unlike a running estimate, need no past and give a stream what a file gets.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, feature_dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("deviation", torch.ones(()))

    def set(self, mean: Tensor, deviation: float) -> None:
        """Take over statistics: mean (F,), and one positive deviation."""
        self.mean.copy_(mean)
        self.deviation.fill_(deviation)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, F)."""
        return (x - self.mean) / self.deviation
