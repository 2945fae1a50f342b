"""The correction that `asr.nn.balancer` makes to a gradient: two passes over the activations."""

from __future__ import annotations

from ctypes import c_float, c_int64
from typing import NamedTuple

import torch
from torch import Tensor

from asr.kernels.dispatch import address, ordinary
from asr.kernels.native import library

_TINY = 1e-20


class Limits(NamedTuple):
    """Bounds on each channel's mean / stddev and on its rms."""

    min_mean: float
    max_mean: float
    min_rms: float
    max_rms: float


def balance(x: Tensor, grad: Tensor, limits: Limits, grad_scale: float) -> Tensor:
    """grad + |grad| * grad_scale * slope, where slope is the gradient of each channel's loss, scaled to an rms of 1.

    Args:
        x: activations, (..., C).
        grad: their gradient, shaped as x.
        limits: each channel's loss is how far its statistics are beyond these.
        grad_scale: size of the correction, relative to the gradient.
    """
    native = library("encoder") if ordinary(x, grad) and x.numel() else None
    if native is None:
        x = x.float()
        a, b = _loss_slope(x.reshape(-1, x.shape[-1]), limits)
        push = torch.addcmul(a * grad_scale, x, b * grad_scale)
        return torch.addcmul(grad, grad.abs(), push.to(grad.dtype))
    x, grad, channels = x.contiguous(), grad.contiguous(), x.shape[-1]
    out = torch.empty_like(x)
    sizes = c_int64(x.numel() // channels), c_int64(channels)
    native.balance(*sizes, *map(c_float, (*limits, grad_scale)), *map(address, (x, grad, out)))
    return out


def _loss_slope(x: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """The channel loss' gradient, which is a + b x, up to the scale that makes its rms 1: (a, b), each (C,).

    x is (N, C), float32.
    """
    mean = x.mean(dim=0)
    mean_square = torch.linalg.vector_norm(x, dim=0).square() / x.shape[0]
    variance = mean_square - mean.square()
    stddev = variance.clamp(min=_TINY).sqrt()
    rms = mean_square.clamp(min=_TINY).sqrt()
    ratio = mean / stddev
    sign_mean = (ratio > limits.max_mean).float() - (ratio < limits.min_mean).float()
    sign_rms = (rms > limits.max_rms).float() - (rms < limits.min_rms).float()
    # Where a floor is in force, the statistic under it does not move with x.
    cubed = torch.where(variance > _TINY, stddev.pow(-3), torch.zeros_like(stddev))
    square = torch.where(mean_square > _TINY, 1.0 / mean_square, torch.zeros_like(mean_square))
    a = sign_mean * (1.0 / stddev + mean.square() * cubed) / x.shape[0]
    b = (sign_rms * square - sign_mean * mean * cubed) / x.shape[0]
    size = (a.square() + 2 * a * b * mean + b.square() * mean_square).clamp(min=0).sqrt().clamp(min=_TINY)
    return a / size, b / size
