"""Values times the sigmoid of their gates."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int64

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from asr.kernels.dispatch import address, ordinary
from asr.kernels.native import library, loaded
from asr.tensors import zero_padding


def gate_rows(x: Tensor, lens: Tensor, balance: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """The first half of each frame's channels times the sigmoid of the second, zero beyond each row's length.

    Args:
        x: (B, T, 2 C).
        lens: (B,).
        balance: what gates go through, an identity but for gradients; None for a plain one.
    Returns:
        (B, T, C).
    """
    if balance is not None or not (ordinary(x) and library("encoder") is not None):
        value, gate = x.chunk(2, dim=2)
        return zero_padding(value * torch.sigmoid(gate if balance is None else balance(gate)), lens)
    x, lens = x.contiguous(), lens.to("cpu", torch.int64).expand(len(x)).contiguous()
    return _Gate.apply(x, lens) if torch.is_grad_enabled() else _gate(x, lens)


class _Gate(torch.autograd.Function):
    """Keeps the input alone."""

    @staticmethod
    def forward(ctx, x: Tensor, lens: Tensor) -> Tensor:
        ctx.save_for_backward(x, lens)
        return _gate(x, lens)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, lens = ctx.saved_tensors
        grad, grad_x = grad.contiguous(), torch.empty_like(x)
        loaded("encoder").gate_backward(*map(c_int64, grad.shape), *map(address, (x, lens, grad, grad_x)))
        return grad_x, None


def _gate(x: Tensor, lens: Tensor) -> Tensor:
    out = x.new_empty(x.shape[0], x.shape[1], x.shape[2] // 2)
    loaded("encoder").gate(*map(c_int64, out.shape), address(x), address(lens), address(out))
    return out
