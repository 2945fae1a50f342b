"""Softmax over the visible entries of each row."""

from __future__ import annotations

import torch
from torch import Tensor

# The published value: exp(-1000) is exactly zero, and a row of nothing but these is finite.
_HIDDEN = -1000.0


def _masked(scores: Tensor, visible: Tensor) -> Tensor:
    weights = scores.float().masked_fill(~visible, _HIDDEN).softmax(dim=-1)
    return weights * visible.any(dim=-1, keepdim=True)


class _MaskedSoftmax(torch.autograd.Function):
    """Keeps the result alone."""

    @staticmethod
    def forward(ctx, scores: Tensor, visible: Tensor) -> Tensor:
        weights = _masked(scores, visible)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weights,) = ctx.saved_tensors
        product = grad * weights
        return product.sub_(weights * product.sum(dim=-1, keepdim=True)), None


def masked_softmax(scores: Tensor, visible: Tensor) -> Tensor:
    """Softmax over the last axis, in float32; hidden entries are exactly zero, and so are rows that see nothing.

    Args:
        scores: (B, H, T, S).
        visible: bool, True = seen; broadcastable to scores.
    """
    if torch.is_grad_enabled() and scores.requires_grad:
        return _MaskedSoftmax.apply(scores, visible)
    return _masked(scores, visible)
