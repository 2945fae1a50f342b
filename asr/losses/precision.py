"""Losses run in single precision (or double, if given double), whatever surrounds them, and never hand on denormals."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """Half and bfloat16 become float32; float32 and float64 stay."""
    return x if x.dtype == torch.float64 else x.float()


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Switch automatic mixed precision off for operations on `device`."""
    if device.type in ("cpu", "cuda"):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def flush_tiny(x: Tensor) -> Tensor:
    """Replace magnitudes so small that products with them would be denormal by exact zeros.

    Denormals slow matrix products on CPUs several times, and every loss gradient is full of vanishing probabilities.
    The bound, smallest normal / epsilon (1e-31 in float32), is far below anything that rounding keeps.
    """
    kind = torch.finfo(x.dtype)
    return F.hardshrink(x, kind.tiny / kind.eps)


def drop_negligible(probabilities: Tensor, *, power: float = 2.0) -> Tensor:
    """Replace probabilities below a power of epsilon (squared: 1e-14 in float32) by exact zeros, in place.

    They stand beside others that sum to one, so they vanish in any sum; zero rows can then be skipped altogether.
    """
    return F.threshold(probabilities, torch.finfo(probabilities.dtype).eps ** power, 0.0, inplace=True)


def flush_tiny_grad(x: Tensor) -> Tensor:
    """The identity; on the way back it puts the gradient through `flush_tiny`."""
    return _FlushTinyGrad.apply(x)


class _FlushTinyGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return flush_tiny(grad)
