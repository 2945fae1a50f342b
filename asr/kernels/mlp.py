"""Two products with a Swoosh between them: where rows are many, what is wide in between never exists as a whole."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from asr.kernels.bfloat16 import narrow_linear, twin
from asr.kernels.dispatch import ordinary
from asr.kernels.linear import linear
from asr.kernels.product import add_product, product
from asr.kernels.swoosh import Curve, evaluate, evaluate_narrow, pull_back, swoosh_linear

_BLOCK = 1024
"""Rows worked on at a time; a few megabytes, which stay in the processor's cache."""


def swoosh_mlp(x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, curve: Curve) -> Tensor:
    """swoosh(x weight1^T + bias1) weight2^T + bias2, keeping for the backward pass nothing that is wider than x.

    Args:
        x: (N, C), or (..., C) where no gradient is asked for.
        weight1: (H, C), with bias1 (H,).
        weight2: (D, H), with bias2 (D,).
    """
    if not ordinary(x, weight1, weight2):
        return swoosh_linear(linear(x, weight1, bias1), weight2, bias2, curve)
    if torch.is_grad_enabled():
        return _SwooshMlp.apply(x, weight1, bias1, weight2, bias2, curve)
    return _evaluate(x, weight1, bias1, weight2, bias2, curve)


class _SwooshMlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight1, bias1, weight2, bias2, curve: Curve) -> Tensor:
        ctx.curve = curve
        if weight1.shape[0] > x.shape[-1]:
            ctx.save_for_backward(x, weight1, bias1, weight2, None)
            return _evaluate(x, weight1, bias1, weight2, bias2, curve)
        before = product(x, weight1.t(), bias1)
        ctx.save_for_backward(x, weight1, bias1, weight2, before)
        return product(evaluate(before, None, curve), weight2.t(), bias2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight1, bias1, weight2, kept = ctx.saved_tensors
        sums = [torch.zeros_like(parameter) for parameter in (weight1, bias1, weight2)]
        grad_x = torch.empty_like(x)
        for start in range(0, len(x), _BLOCK):
            rows, given, found = (whole[start : start + _BLOCK] for whole in (x, grad, grad_x))
            before = product(rows, weight1.t(), bias1) if kept is None else kept[start : start + _BLOCK]
            hidden = torch.empty_like(before)
            grad_before = pull_back(before, None, ctx.curve, product(given, weight2), hidden)
            found.copy_(product(grad_before, weight1))
            add_product(sums[0], grad_before.t(), rows)
            sums[1].add_(grad_before.sum(dim=0))
            add_product(sums[2], given.t(), hidden)
        return grad_x, *sums, grad.sum(dim=0), None


def _evaluate(x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, curve: Curve) -> Tensor:
    if x.numel() <= _BLOCK * x.shape[-1]:
        return _evaluate_block(x, weight1, bias1, weight2, bias2, curve)
    x, shape = x.reshape(-1, x.shape[-1]), (*x.shape[:-1], len(weight2))
    out = x.new_empty(len(x), len(weight2))
    for rows, found in zip(x.split(_BLOCK), out.split(_BLOCK)):
        found.copy_(_evaluate_block(rows, weight1, bias1, weight2, bias2, curve))
    return out.view(shape)


def _evaluate_block(x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, curve: Curve) -> Tensor:
    small1, small2 = twin(weight1), twin(weight2)
    with torch.no_grad():
        if small1 is None or small2 is None:
            return linear(evaluate(linear(x, weight1, bias1), None, curve), weight2, bias2)
        hidden = narrow_linear(x.bfloat16(), small1, bias1)
        return narrow_linear(evaluate_narrow(hidden, curve), small2, bias2).float()
