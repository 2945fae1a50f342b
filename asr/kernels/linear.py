"""Products with weight matrices, by the library that is fast on this processor."""

from __future__ import annotations

from ctypes import c_int64
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from asr.kernels.bfloat16 import narrow_linear, twin
from asr.kernels.dispatch import address, ordinary
from asr.kernels.layout import keeps, laid_out
from asr.kernels.native import library

_WORTH_A_CALL = 1 << 20
"""Multiply-adds; for less, oneDNN's calls cost more than they save."""
_FEW_ROWS = 256
"""Up to here a weight is better laid out once, and kept so: a step of a stream is mostly reading weights."""

_WORTH_PACKING = 1 << 12
"""Entries of a weight."""
_PANEL = 32
"""Rows of a weight that `few_rows.cpp` reads together."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias, as `torch.nn.functional.linear`.

    torch takes float32 products to MKL, which uses half of what processors of other makers than its own can do; oneDNN,
    which torch brings too, uses all of it.
    """
    small = twin(weight)
    if small is not None:
        return narrow_linear(x.bfloat16(), small, bias).float()
    records = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if not records and _few_rows(x, weight):
        return _multiply_few(x, weight, bias)
    if not _for_onednn(x, weight):
        return functional.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias) if records else _onednn(x, weight, bias)


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`linear` for use inside a backward pass: records nothing."""
    return (_onednn if _for_onednn(x, weight) else functional.linear)(x, weight, bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = product(rows, weight.t()).view(x.shape)
        if ctx.needs_input_grad[1]:
            grad_weight = product(rows.t(), x.reshape(-1, x.shape[-1]).t())
        if ctx.needs_input_grad[2]:
            grad_bias = rows.sum(dim=0)
        return grad_x, grad_weight, grad_bias


def _for_onednn(x: Tensor, weight: Tensor) -> bool:
    # Sizes come last: asking for one while a model is exported would fix it in the graph.
    return _onednn_is_faster() and ordinary(x, weight) and x.numel() * len(weight) >= _WORTH_A_CALL


def _few_rows(x: Tensor, weight: Tensor) -> bool:
    if not (ordinary(x, weight) and keeps(weight)):
        return False
    return x.numel() <= _FEW_ROWS * x.shape[-1] and weight.numel() >= _WORTH_PACKING


def _multiply_few(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    native = library("few_rows")
    rows = x.numel() // x.shape[-1]
    if native is None:
        if not _onednn_is_faster():
            return functional.linear(x, weight, bias)
        return _onednn(x, laid_out(weight, lambda w: torch.ops.mkldnn._reorder_linear_weight(w, rows)), bias)
    x, panels = x.contiguous(), laid_out(weight, _panels)
    out = x.new_empty(*x.shape[:-1], len(weight))
    sizes = map(c_int64, (rows, x.shape[-1], len(weight)))
    native.few_rows_linear(*sizes, *map(address, (x, panels, bias, out)))
    return out


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _panels(weight: Tensor) -> Tensor:
    """As `few_rows.cpp` wants it: (P, K, 32), filled up with zeros."""
    padded = functional.pad(weight, (0, 0, 0, -len(weight) % _PANEL))
    return padded.unflatten(0, (-1, _PANEL)).transpose(1, 2).contiguous()


@cache
def _onednn_is_faster() -> bool:
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and _other_maker()


def _other_maker() -> bool:
    info = Path("/proc/cpuinfo")
    return info.exists() and "GenuineIntel" not in info.read_text()
