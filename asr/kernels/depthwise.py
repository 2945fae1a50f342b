"""Depthwise convolution over time on rows with channels last."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    # Seen as an image of height one, (B, T, C) is a channels-last tensor as it stands: the vectorised image kernel
    # reads it without a copy, about thirty times faster than the one for sequences.
    image = x.unsqueeze(1).permute(0, 3, 1, 2)
    out = conv2d(image, weight.unsqueeze(2), bias, padding=(0, padding), groups=x.shape[2])
    return out.permute(0, 2, 3, 1).squeeze(1)


class _Depthwise(torch.autograd.Function):
    """The weight's gradient is one product and sum per tap, which beats the library's own."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return _convolve(x, weight, bias, padding)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        kernel = weight.shape[2]
        grad_x = None
        if ctx.needs_input_grad[0]:  # under autocast the gradient is of the narrow type, what was saved may not be
            grad_x = _convolve(grad, weight.flip(2).to(grad.dtype), None, kernel - 1 - ctx.padding)
        padded = pad(x, (0, 0, ctx.padding, ctx.padding)) if ctx.padding else x
        taps = [(grad * padded[:, k : k + grad.shape[1]]).sum(dim=(0, 1), dtype=weight.dtype) for k in range(kernel)]
        grad_bias = grad.sum(dim=(0, 1)) if ctx.needs_input_grad[2] else None
        return grad_x, torch.stack(taps, dim=1).unsqueeze(1), grad_bias, None


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
    if torch.is_grad_enabled() and weight.requires_grad:
        return _Depthwise.apply(x, weight, bias, padding)
    return _convolve(x, weight, bias, padding)
