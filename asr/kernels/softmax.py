"""Softmax over the visible entries of each row."""

from __future__ import annotations

from ctypes import c_int64

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from asr.kernels.dispatch import address, ordinary
from asr.kernels.native import library, loaded

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
    @once_differentiable
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


def positioned_softmax(scores: Tensor, query: Tensor, table: Tensor, visible: Tensor) -> Tensor:
    """`masked_softmax` of scores to which a term by relative position is added first.

    Args:
        scores: (B, H, T, S), with S = L + T; may be overwritten where no gradient is asked for.
        query: (B, H, T, D).
        table: by offset, (H, D, L + 2T); that of source s and target t is in column s - t + T - 1.
        visible: bool, True = seen, (B or 1, T or 1, S).
    """
    if not (ordinary(scores, query, table) and scores.is_contiguous() and library("encoder") is not None):
        return masked_softmax(scores + skew(torch.matmul(query, table), scores.shape[-1]), visible.unsqueeze(1))
    if torch.is_grad_enabled():
        return _PositionedSoftmax.apply(scores, query, table, visible)
    return _positioned(scores, query.contiguous(), table.contiguous(), visible, scores)


class _PositionedSoftmax(torch.autograd.Function):
    """Keeps the result, and what it takes to know the gradients of the positional term."""

    @staticmethod
    def forward(ctx, scores: Tensor, query: Tensor, table: Tensor, visible: Tensor) -> Tensor:
        query, table = query.contiguous(), table.contiguous()
        weights = _positioned(scores, query, table, visible, torch.empty_like(scores))
        ctx.save_for_backward(query, table, weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, table, weights = ctx.saved_tensors
        grad = grad.contiguous()
        found = torch.empty_like(weights), torch.empty_like(query), torch.zeros_like(table)
        tensors = (query, table, weights, grad, *found)
        loaded("encoder").positioned_softmax_backward(*_sizes(weights, table), *map(address, tensors))
        return *found, None


def _positioned(scores: Tensor, query: Tensor, table: Tensor, visible: Tensor, out: Tensor) -> Tensor:
    visible = visible.expand(*visible.shape[:2], scores.shape[3]).contiguous()
    strides = [0 if visible.shape[axis] == 1 else visible.stride(axis) for axis in (0, 1)]
    tensors = (address(query), address(table), address(visible))
    loaded("encoder").positioned_softmax(
        *_sizes(scores, table), *tensors, *map(c_int64, strides), address(scores), address(out)
    )
    return out


def _sizes(scores: Tensor, table: Tensor) -> tuple[c_int64, ...]:
    return tuple(map(c_int64, (*scores.shape, *table.shape[1:])))


def skew(scores: Tensor, num_sources: int) -> Tensor:
    """Turn scores by offset into scores by source frame, without a copy.

    Args:
        scores: (..., T, W) with W = L + 2T offsets in increasing order, contiguous; target t and source s differ by
            the offset at column s - t + T - 1.
        num_sources: S = L + T.
    Returns:
        (..., T, S).
    """
    targets, width = scores.shape[-2:]
    flat = scores.flatten(-2)[..., targets - 1 : targets - 1 + targets * (width - 1)]
    return flat.unflatten(-1, (targets, width - 1))[..., :num_sources]
