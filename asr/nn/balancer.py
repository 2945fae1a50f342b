"""Balancer: keeps the sign and the size of each channel's activations within limits, through gradients alone.

Source: Zipformer, arXiv 2310.11230, appendix; limits are turned into limits on mean/stddev and on rms as the published
recipe does (an atanh approximation and a factor sqrt(pi/2)), because thresholds were tuned with those.
"""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor, nn

from asr.kernels.balance import Limits, balance
from asr.nn.schedule import ScheduledFloat, current


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
        rows, given = x.detach().movedim(channel_dim, -1), grad.movedim(channel_dim, -1)
        return balance(rows, given, limits, grad_scale).movedim(-1, channel_dim), None, None, None


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
