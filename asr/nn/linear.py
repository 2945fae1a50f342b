"""Linear layers, and those that start small."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.kernels.linear import linear


class Linear(nn.Linear):
    """torch's layer, with the product of `asr.kernels`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def scaled_linear(in_features: int, out_features: int, *, scale: float, bias: bool = True) -> Linear:
    """A linear layer with torch's default weights times `scale`, and biases uniform in ±0.1 `scale`."""
    layer = Linear(in_features, out_features, bias=bias)
    shrink(layer, scale)
    return layer


def shrink(layer: nn.Linear | nn.Conv2d, scale: float) -> None:
    """Multiply the starting weights by `scale` and draw the biases from ±0.1 `scale`."""
    with torch.no_grad():
        layer.weight.mul_(scale)
        if layer.bias is not None:
            layer.bias.uniform_(-0.1 * scale, 0.1 * scale)
