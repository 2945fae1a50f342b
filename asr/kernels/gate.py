"""Values times the sigmoid of their gates."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int64

import torch
from torch import Tensor

from asr.kernels.dispatch import address, ordinary
from asr.kernels.native import library
from asr.tensors import zero_padding


def gate_rows(x: Tensor, lens: Tensor, balance: Callable[[Tensor], Tensor]) -> Tensor:
    """The first half of each frame's channels times the sigmoid of the second, zero beyond each row's length.

    Args:
        x: (B, T, 2 C).
        lens: (B,).
        balance: what gates go through where gradients are asked for, an identity but for these.
    Returns:
        (B, T, C).
    """
    native = library("encoder") if not torch.is_grad_enabled() and ordinary(x) and x.is_contiguous() else None
    if native is None:
        value, gate = x.chunk(2, dim=2)
        return zero_padding(value * torch.sigmoid(balance(gate)), lens)
    lens = lens.to("cpu", torch.int64).expand(len(x)).contiguous()
    out = x.new_empty(x.shape[0], x.shape[1], x.shape[2] // 2)
    native.gate(*map(c_int64, out.shape), address(x), address(lens), address(out))
    return out
