"""Balancer: keeps the sign and the size of each channel's activations within limits, through gradients alone.

Source: Zipformer, arXiv 2310.11230, appendix; limits are turned into limits on mean/stddev and on rms as the published
recipe does (an atanh approximation and a factor sqrt(pi/2)), because thresholds were tuned with those.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.nn.schedule import ScheduledFloat, current

_TINY = 1e-20


class Limits(NamedTuple):
    """Bounds on each channel's mean / stddev and on its rms."""

    min_mean: float
    max_mean: float
    min_rms: float
    max_rms: float


def derive_limits(min_positive: float, max_positive: float, min_abs: float, max_abs: float) -> Limits:
    """Turn shares of positive values and mean absolute values into bounds on mean/stddev and rms."""
    return Limits(
        _mean_for_share(min_positive), _mean_for_share(max_positive), min_abs * _ABS_TO_RMS, max_abs * _ABS_TO_RMS
    )


_ABS_TO_RMS = 1.25331413732


def _mean_for_share(share: float) -> float:
    y = 2 * share - 1
    atanh = 0.5 * (math.log(1 + y + 1e-10) - math.log(1 - y + 1e-10))
    return 0.8139535143 * atanh


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


class _Balance(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, limits: Limits, grad_scale: float, channel_dim: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.settings = limits, grad_scale, channel_dim
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        limits, grad_scale, channel_dim = ctx.settings
        rows = x.detach().float().movedim(channel_dim, -1)
        a, b = _loss_slope(rows.reshape(-1, rows.shape[-1]), limits)
        push = torch.addcmul(a * grad_scale, rows, b * grad_scale).movedim(-1, channel_dim)
        return torch.addcmul(grad, grad.abs(), push.to(grad.dtype)), None, None, None


class Balancer(nn.Module):
    """Identity in the forward pass; in training, and then in a random part of the calls, corrects the gradient.

    Args:
        channel_dim: the axis of the channels.
        min_positive, max_positive: wanted range of the share of positive values in each channel.
        min_abs, max_abs: wanted range of the mean absolute value of each channel.
        prob: share of calls that act; by default 0.5, falling to 0.125 over the first 8000 positions.
        grad_scale: size of the correction, relative to the gradient.
    """

    def __init__(
        self,
        channel_dim: int = -1,
        *,
        min_positive: float | ScheduledFloat = 0.05,
        max_positive: float | ScheduledFloat = 0.95,
        min_abs: float | ScheduledFloat = 0.2,
        max_abs: float | ScheduledFloat = 100.0,
        prob: float | ScheduledFloat | None = None,
        grad_scale: float = 0.04,
    ):
        super().__init__()
        self.channel_dim = channel_dim
        self.min_positive, self.max_positive = min_positive, max_positive
        self.min_abs, self.max_abs = min_abs, max_abs
        self.prob = ScheduledFloat((0.0, 0.5), (8000.0, 0.125), default=0.4) if prob is None else prob
        self.grad_scale = grad_scale

    def limits(self) -> Limits:
        """The limits in force now."""
        shares = current(self.min_positive), current(self.max_positive)
        return derive_limits(*shares, current(self.min_abs), current(self.max_abs))

    def forward(self, x: Tensor) -> Tensor:
        """x, any shape, unchanged."""
        return self.correct(x) if self.draws(x) else x

    def draws(self, x: Tensor) -> bool:
        """Whether this call acts; for callers that save work where it does not."""
        return self.training and x.requires_grad and random.random() < current(self.prob)

    def correct(self, x: Tensor) -> Tensor:
        """Act in any case."""
        return _Balance.apply(x, self.limits(), self.grad_scale, self.channel_dim)
