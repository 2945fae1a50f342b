"""Whiten: keeps the covariance of activations from collapsing onto a few directions, through gradients alone.

Source: Zipformer, arXiv 2310.11230, appendix on the whitener.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.kernels.product import product
from asr.nn.schedule import ScheduledFloat, current

_TINY = 1e-20


class Whiteness(NamedTuple):
    """metric: 1 for white data, else larger, (); slope: d metric / d covariance, (G, D, D); mean: (G, 1, D)."""

    metric: Tensor
    slope: Tensor
    mean: Tensor


def whiteness(x: Tensor) -> Whiteness:
    """How far from white the rows of each group are; x is (G, N, D), float32."""
    mean = x.mean(dim=1, keepdim=True)
    covariance = torch.baddbmm(mean.transpose(1, 2) @ mean, x.transpose(1, 2), x, beta=-float(x.shape[1]))
    size = covariance.shape[0] * covariance.shape[1]
    trace = covariance.diagonal(dim1=1, dim2=2)
    mean_diagonal = trace.sum() / size
    denominator = mean_diagonal.square() + _TINY
    metric = covariance.square().sum() / size / denominator
    slope = covariance / denominator
    # Of almost equal rows, the square of the denominator would be too small for float32.
    slope.diagonal(dim1=1, dim2=2).sub_(metric * (mean_diagonal / denominator))
    return Whiteness(metric, slope.mul_(2.0 / size), mean)


def _times(x: Tensor, weight: Tensor) -> Tensor:
    """x weight, group by group; of a single group by the library that is fast on this processor."""
    return product(x[0], weight[0]).unsqueeze(0) if len(x) == 1 else x @ weight


class _Whiten(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, module: Whiten) -> Tensor:
        ctx.save_for_backward(x)
        ctx.module = module
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return ctx.module.correct(x.detach(), grad), None


class Whiten(nn.Module):
    """Identity in the forward pass; in training adds to the gradient a push towards white activations.

    Acts on a quarter of the calls while the metric is above its limit, on one in forty otherwise. That probability is
    state that no parameter holds; a checkpoint keeps it (`whiten_probabilities`).

    Args:
        groups: channels are split into this many groups, each whitened alone.
        limit: the metric above which the gradient is corrected.
        grad_scale: size of the correction relative to the gradient, as whole tensors.
        prob: probabilities of acting, (metric below the limit, above).
    """

    def __init__(
        self,
        *,
        groups: int,
        limit: float | ScheduledFloat,
        grad_scale: float,
        prob: tuple[float, float] = (0.025, 0.25),
    ):
        super().__init__()
        self.groups, self.limit, self.grad_scale = groups, limit, grad_scale
        self.low_prob, self.high_prob = prob
        self.prob = self.high_prob

    def forward(self, x: Tensor) -> Tensor:
        """x, channels last, unchanged."""
        if not (self.training and x.requires_grad) or random.random() > self.prob:
            return x
        return _Whiten.apply(x, self)

    def correct(self, x: Tensor, grad: Tensor) -> Tensor:
        """The gradient with the push added, both shaped as x (..., C)."""
        rows = x.float().reshape(-1, self.groups, x.shape[-1] // self.groups).transpose(0, 1)
        white = whiteness(rows)
        if white.metric < current(self.limit):
            self.prob = self.low_prob
            return grad
        self.prob = self.high_prob
        # d metric / d x = 2 (x - mean) slope, which is symmetric; the factor 2 goes with the norm below.
        push = _times(rows, white.slope).sub_(white.mean @ white.slope)
        push = push.transpose(0, 1).reshape(x.shape)
        scale = self.grad_scale * torch.linalg.vector_norm(grad.float()) / (torch.linalg.vector_norm(push) + _TINY)
        return grad + push.mul_(scale).to(grad.dtype)


def whiten_probabilities(model: nn.Module) -> dict[str, float]:
    """The acting probability of each Whiten, by module name: what exact resuming needs besides the parameters."""
    return {name: module.prob for name, module in model.named_modules() if isinstance(module, Whiten)}


def load_whiten_probabilities(model: nn.Module, probabilities: dict[str, float]) -> None:
    """Put back what `whiten_probabilities` returned; unknown names are ignored."""
    for name, module in model.named_modules():
        if isinstance(module, Whiten):
            module.prob = probabilities.get(name, module.prob)
