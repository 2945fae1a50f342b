"""SwooshL and SwooshR, the activations of the Zipformer.

    SwooshL(x) = log(1 + exp(x - 4)) - 0.08 x - 0.035
    SwooshR(x) = log(1 + exp(x - 1)) - 0.08 x - 0.313261687

Source: Zipformer, arXiv 2310.11230, section 3.4, equations 5 and 6.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

_SLOPE = 0.08


def _evaluate(x: Tensor, shift: float, offset: float) -> Tensor:
    return softplus(x - shift).sub_(x, alpha=_SLOPE).sub_(offset)


class _Swoosh(torch.autograd.Function):
    """Keeps the input alone and works out the exact derivative from it, sigmoid(x - shift) - 0.08."""

    @staticmethod
    def forward(ctx, x: Tensor, shift: float, offset: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.shift = shift
        return _evaluate(x, shift, offset)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return torch.sigmoid(x - ctx.shift).sub_(_SLOPE).mul_(grad), None, None


def _swoosh(x: Tensor, shift: float, offset: float) -> Tensor:
    x = x.float()
    if torch.is_grad_enabled() and x.requires_grad:
        return _Swoosh.apply(x, shift, offset)
    return _evaluate(x, shift, offset)


def swoosh_l(x: Tensor) -> Tensor:
    """SwooshL, element by element, in float32; any shape."""
    return _swoosh(x, 4.0, 0.035)


def swoosh_r(x: Tensor) -> Tensor:
    """SwooshR, element by element, in float32; any shape."""
    return _swoosh(x, 1.0, 0.313261687)
