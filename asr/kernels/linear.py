"""Products with weight matrices."""

from __future__ import annotations

from ctypes import c_int64

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from asr.kernels.bfloat16 import narrow_linear, twin
from asr.kernels.dispatch import address, ordinary, records
from asr.kernels.layout import keeps, laid_out
from asr.kernels.native import library
from asr.kernels.product import product

_FEW_ROWS = 256
"""Up to here a weight is better laid out once, and kept so: a step of a stream is mostly reading weights."""
_WORTH_PACKING = 1 << 12
"""Entries of a weight."""
_PANEL = 32
"""Rows of a weight that `few_rows.cpp` reads together."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias, as `torch.nn.functional.linear`."""
    small = twin(weight)
    if small is not None:
        return narrow_linear(x.bfloat16(), small, bias).float()
    if not ordinary(x, weight):
        return functional.linear(x, weight, bias)
    if records(x, weight, bias):
        return _Linear.apply(x, weight, bias)
    return _multiply_few(x, weight, bias) if _few_rows(x, weight) else product(x, weight.t(), bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = product(rows, weight).view(x.shape)
        if ctx.needs_input_grad[1]:
            grad_weight = product(rows.t(), x.reshape(-1, x.shape[-1]))
        if ctx.needs_input_grad[2]:
            grad_bias = rows.sum(dim=0)
        return grad_x, grad_weight, grad_bias


def _few_rows(x: Tensor, weight: Tensor) -> bool:
    if not keeps(weight):
        return False
    return x.numel() <= _FEW_ROWS * x.shape[-1] and weight.numel() >= _WORTH_PACKING


def _multiply_few(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    native = library("few_rows")
    if native is None:
        return product(x, weight.t(), bias)
    x, panels = x.contiguous(), laid_out(weight, _panels)
    out = x.new_empty(*x.shape[:-1], len(weight))
    sizes = map(c_int64, (x.numel() // x.shape[-1], x.shape[-1], len(weight)))
    native.few_rows_linear(*sizes, *map(address, (x, panels, bias, out)))
    return out


def _panels(weight: Tensor) -> Tensor:
    """As `few_rows.cpp` wants it: (P, K, 32), filled up with zeros."""
    padded = functional.pad(weight, (0, 0, 0, -len(weight) % _PANEL))
    return padded.unflatten(0, (-1, _PANEL)).transpose(1, 2).contiguous()
