"""SwooshL and SwooshR, the activations of the Zipformer.

    SwooshL(x) = log(1 + exp(x - 4)) - 0.08 x - 0.035
    SwooshR(x) = log(1 + exp(x - 1)) - 0.08 x - 0.313261687

Source: Zipformer, arXiv 2310.11230, section 3.4, equations 5 and 6.
"""

from __future__ import annotations

from ctypes import c_float, c_int64
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from asr.kernels.bfloat16 import narrow_linear, twin
from asr.kernels.dispatch import address, ordinary
from asr.kernels.linear import linear
from asr.kernels.native import library
from asr.kernels.product import product

_SLOPE = 0.08


class Curve(NamedTuple):
    """Which of the two."""

    shift: float
    offset: float


SWOOSH_L = Curve(4.0, 0.035)
SWOOSH_R = Curve(1.0, 0.313261687)


def swoosh_l(x: Tensor) -> Tensor:
    """SwooshL, element by element, in float32; any shape."""
    return _swoosh(x, SWOOSH_L)


def swoosh_r(x: Tensor) -> Tensor:
    """SwooshR, element by element, in float32; any shape."""
    return _swoosh(x, SWOOSH_R)


def swoosh_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, curve: Curve, *, scale: Tensor | None = None
) -> Tensor:
    """(swoosh(x) * scale) weight^T + bias, keeping x alone for the backward pass.

    Args:
        x: (B, ..., C).
        weight: (D, C).
        bias: (D,), or None.
        scale: (B, 1, C) or None, without gradient; then x is (B, T, C).
    """
    if ordinary(x, weight) and torch.is_grad_enabled():
        return _SwooshLinear.apply(x, scale, weight, bias, curve)
    small = twin(weight) if scale is None else None
    if small is not None:
        return narrow_linear(evaluate_narrow(x, curve), small, bias).float()
    hidden = _swoosh(x, curve)
    return linear(hidden if scale is None else hidden * scale, weight, bias)


def _swoosh(x: Tensor, curve: Curve) -> Tensor:
    x = x.float()
    if torch.is_grad_enabled() and x.requires_grad:
        return _Swoosh.apply(x, curve)
    return evaluate(x, None, curve)


class _Swoosh(torch.autograd.Function):
    """Keeps the input alone and works out the exact derivative from it, sigmoid(x - shift) - 0.08."""

    @staticmethod
    def forward(ctx, x: Tensor, curve: Curve) -> Tensor:
        ctx.save_for_backward(x)
        ctx.curve = curve
        return evaluate(x, None, curve)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return pull_back(x, None, ctx.curve, grad), None


class _SwooshLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor | None, weight: Tensor, bias: Tensor | None, curve: Curve) -> Tensor:
        ctx.save_for_backward(x, scale, weight)
        ctx.curve = curve
        return product(evaluate(x, scale, curve), weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        grad_hidden = product(rows, weight).view(x.shape)
        hidden = torch.empty_like(x)
        grad_x = pull_back(x, scale, ctx.curve, grad_hidden, hidden)
        grad_weight = product(rows.t(), hidden.reshape(-1, x.shape[-1]))
        grad_bias = rows.sum(dim=0) if ctx.needs_input_grad[3] else None
        return grad_x, None, grad_weight, grad_bias, None


def evaluate(x: Tensor, scale: Tensor | None, curve: Curve) -> Tensor:
    """swoosh(x) * scale; scale is (B, 1, C), or None for 1."""
    native = library("encoder") if _fits(x, scale) else None
    if native is None:
        out = softplus(x - curve.shift).sub_(x, alpha=_SLOPE).sub_(curve.offset)
        return out if scale is None else out.mul_(scale)
    out = torch.empty_like(x)
    native.swoosh_forward(*_sizes(x, scale), address(x), address(scale), *map(c_float, curve), address(out))
    return out


def evaluate_narrow(x: Tensor, curve: Curve) -> Tensor:
    """swoosh(x) in bfloat16, of float32 or of bfloat16; worked out in float32."""
    native = library("encoder")
    if native is None or not (x.is_cpu and x.is_contiguous()):
        return evaluate(x.float(), None, curve).bfloat16()
    out = torch.empty_like(x, dtype=torch.bfloat16)
    work = native.swoosh_narrow if x.dtype is torch.bfloat16 else native.swoosh_narrowed
    work(c_int64(x.numel()), address(x), *map(c_float, curve), address(out))
    return out


def pull_back(x: Tensor, scale: Tensor | None, curve: Curve, grad: Tensor, out: Tensor | None = None) -> Tensor:
    """The gradient of x from that of `evaluate`'s result, which is written to `out` on the way."""
    native = library("encoder") if _fits(x, scale) and ordinary(grad) else None
    if native is None:
        if out is not None:
            out.copy_(evaluate(x, scale, curve))
        grad = torch.sigmoid(x - curve.shift).sub_(_SLOPE).mul_(grad)
        return grad if scale is None else grad.mul_(scale)
    grad = grad if grad.stride() == x.stride() else torch.empty_like(x).copy_(grad)
    grad_x = torch.empty_like(x)
    arguments = address(x), address(scale), *map(c_float, curve), address(grad), address(grad_x), address(out)
    native.swoosh_backward(*_sizes(x, scale), *arguments)
    return grad_x


def _fits(x: Tensor, scale: Tensor | None) -> bool:
    if not ordinary(x):
        return False
    dense = x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
    return dense and (scale is None or (ordinary(scale) and scale.is_contiguous() and x.is_contiguous()))


def _sizes(x: Tensor, scale: Tensor | None) -> tuple[c_int64, ...]:
    """Batch, frames and channels; where no scale depends on them, all elements are one row."""
    shape = (1, 1, x.numel()) if scale is None else (x.shape[0], x.shape[1], x.shape[2])
    return tuple(map(c_int64, shape))
