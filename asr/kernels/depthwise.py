"""Depthwise convolution over time, or over time and frequency, on rows with channels last."""

from __future__ import annotations

from ctypes import c_int64

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad

from asr.kernels.dispatch import address, ordinary, records
from asr.kernels.layout import laid_out
from asr.kernels.native import library, loaded

_IMAGE_KERNELS = 3, 5, 7
_FEW_FRAMES = 160
"""Of more, other threads may take their share, where there are any: ours keeps to one."""


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int = 0) -> Tensor:
    """Convolve each channel with its own kernel.

    Args:
        x: (B, T, C).
        weight: (C, 1, K).
        bias: (C,), or None.
        padding: zeros added at both ends.
    Returns:
        (B, T + 2 padding - K + 1, C).
    """
    if records(x, weight, bias):
        return _Depthwise.apply(x, weight, bias, padding)
    return _convolve(x, weight, bias, padding)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return _convolve(x, weight, bias, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        kernel = weight.shape[2]
        grad_x = None
        if ctx.needs_input_grad[0]:  # under autocast the gradient is of the narrow type, what was saved may not be
            grad_x = _convolve(grad, weight.flip(2).to(grad.dtype), None, kernel - 1 - ctx.padding)
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_grad(x, grad, kernel, ctx.padding).to(weight.dtype).t().unsqueeze(1)
        grad_bias = grad.sum(dim=(0, 1)) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias, None


def depthwise_image_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve each channel of an image with its own kernel.

    Args:
        x: (B, T, F, C).
        weight: (C, 1, K, K), K odd.
        bias: (C,), or None.
    Returns:
        (B, T - K + 1, F, C): zeros are added at both ends of F, none to T.
    """
    fits = ordinary(x, weight) and weight.shape[3] in _IMAGE_KERNELS
    if fits and records(x, weight, bias) and library("depthwise") is not None:
        return _DepthwiseImage.apply(x, weight, bias)
    return _convolve_image(x, weight, bias, (0, weight.shape[3] // 2))


class _DepthwiseImage(torch.autograd.Function):
    """torch's convolution, but not its gradient of the weight, which takes many times as long as the other."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve_image(x, weight, bias, (0, weight.shape[3] // 2))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = (saved.contiguous() for saved in ctx.saved_tensors)
        kernel = weight.shape[3]
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _convolve_image(grad, weight.flip(2, 3), None, (kernel - 1, kernel // 2))
        grad_bias = grad.sum(dim=(0, 1, 2)) if ctx.needs_input_grad[2] else None
        grad_weight = _image_weight_grad(x, grad.contiguous(), kernel) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, grad_bias


def _image_weight_grad(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """(C, 1, K, K)."""
    by_tap = x.new_empty(kernel, kernel, x.shape[3])
    sizes = map(c_int64, (*x.shape, kernel))
    loaded("depthwise").depthwise_image_weight_grad(*sizes, *map(address, (x, grad, by_tap)))
    return by_tap.permute(2, 0, 1).unsqueeze(1)


def _convolve_image(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    return conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=padding, groups=x.shape[3]).permute(0, 2, 3, 1)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    alone = ordinary(x, weight) and (len(x) * x.shape[1] <= _FEW_FRAMES or torch.get_num_threads() == 1)
    native = library("depthwise") if alone else None
    if native is None:
        return _plain_convolve(x, weight, bias, padding)
    x, taps = x.contiguous(), laid_out(weight, lambda w: w.squeeze(1).t().contiguous())
    out = x.new_empty(x.shape[0], x.shape[1] + 2 * padding - len(taps) + 1, x.shape[2])
    native.depthwise_forward(*_sizes(x, out, len(taps), padding), *map(address, (x, taps, bias, out)))
    return out


def _plain_convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    # Seen as an image of height one, (B, T, C) is a channels-last tensor as it stands: the vectorised image kernel
    # reads it without a copy, about thirty times faster than the one for sequences.
    image = x.unsqueeze(1).permute(0, 3, 1, 2)
    out = conv2d(image, weight.unsqueeze(2), bias, padding=(0, padding), groups=x.shape[2])
    return out.permute(0, 2, 3, 1).squeeze(1)


def _weight_grad(x: Tensor, grad: Tensor, kernel: int, padding: int) -> Tensor:
    """(K, C)."""
    native = library("depthwise") if ordinary(x, grad) else None
    if native is None:
        # One product and sum per tap, which beats the library's own.
        padded = pad(x, (0, 0, padding, padding)) if padding else x
        wide = torch.promote_types(x.dtype, torch.float32)
        taps = ((grad * padded[:, k : k + grad.shape[1]]).sum(dim=(0, 1), dtype=wide) for k in range(kernel))
        return torch.stack(list(taps))
    x, grad = x.contiguous(), grad.contiguous()
    out = x.new_zeros(kernel, x.shape[2])
    native.depthwise_weight_grad(*_sizes(x, grad, kernel, padding), *map(address, (x, grad, out)))
    return out


def _sizes(x: Tensor, out: Tensor, kernel: int, padding: int) -> tuple[c_int64, ...]:
    return tuple(map(c_int64, (len(x), x.shape[1], out.shape[1], x.shape[2], kernel, padding)))
