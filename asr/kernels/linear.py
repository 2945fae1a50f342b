"""Products with weight matrices, by the library that is fast on this processor."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from asr.kernels.bfloat16 import twin
from asr.kernels.dispatch import ordinary

_WORTH_A_CALL = 1 << 20
"""Multiply-adds; for less, oneDNN's calls cost more than they save."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias, as `torch.nn.functional.linear`.

    torch takes float32 products to MKL, which uses half of what processors of other makers than its own can do; oneDNN,
    which torch brings too, uses all of it.
    """
    small = twin(weight)
    if small is not None:
        return functional.linear(x.bfloat16(), small, None if bias is None else bias.bfloat16()).float()
    if not _for_onednn(x, weight):
        return functional.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Linear.apply(x, weight, bias)
    return _onednn(x, weight, bias)


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


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@cache
def _onednn_is_faster() -> bool:
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and _other_maker()


def _other_maker() -> bool:
    info = Path("/proc/cpuinfo")
    return info.exists() and "GenuineIntel" not in info.read_text()
