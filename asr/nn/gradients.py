"""Identities in the forward pass that reshape the gradient on its way back."""

from __future__ import annotations

import random

import torch
from torch import Tensor


class _ScaleGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        return grad * ctx.scale, None


class _LimitParam(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limits = low, high
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        low, high = ctx.limits
        # A step goes against the gradient: a positive one lowers a value that is too low already.
        grad = torch.where((grad > 0) & (x < low), -grad, grad)
        grad = torch.where((grad < 0) & (x > high), -grad, grad)
        return grad, None, None


class _PenalizeAbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, limit: float, weight: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limit, ctx.weight = limit, weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return grad + ctx.weight * x.sign() * (x.abs() > ctx.limit), None, None


def scale_grad(x: Tensor, scale: float) -> Tensor:
    """Identity whose gradient is multiplied by `scale`."""
    return _ScaleGrad.apply(x, scale)


def limit_param(x: Tensor, low: float, high: float, *, prob: float = 0.6) -> Tensor:
    """Identity that, with probability `prob`, turns round the gradient of what is outside [low, high] and moving away.

    Nothing is clamped; parameters may stand outside their limits, and come back.
    """
    return _LimitParam.apply(x, low, high) if random.random() < prob else x


def penalize_abs(x: Tensor, *, limit: float, weight: float) -> Tensor:
    """Identity that adds weight * sum(relu(|x| - limit)) to the loss, through its gradient alone."""
    return _PenalizeAbs.apply(x, limit, weight)
