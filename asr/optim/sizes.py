"""What ScaledAdam knows about each tensor as a whole: its size, its gradient's norm, how much it wants to grow.

Functions here take a parameter group of the optimizer, N parameters with host vectors of one number each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed

from asr.kernels.scaled_adam import Sums, sums
from asr.tensors import is_spread, share

MAX_GRAD_NORM = 1e18  # the square of anything larger nears the end of float32
MAX_SIZE_STEP = 0.1  # no tensor grows or shrinks by more than this share in one size step


class Measured(NamedTuple):
    """What one pass over a group's gradients found, float64 on the host, one entry per parameter (0: no gradient)."""

    grad_norms: Tensor
    dots: Tensor
    param_rms: Tensor | None

    @property
    def is_good(self) -> Tensor:
        """(N,) bool, False where squares of the gradient overflow or are not numbers."""
        return self.grad_norms < MAX_GRAD_NORM


def measure(group: dict[str, Any]) -> Measured:
    """Reduce gradients (and sizes, when they are due) to a small vector each."""
    params = group["params"]
    grads = [None if param.grad is None else share(param.grad) for param in params]
    found = sums([share(param) for param in params], grads, sizes=group["step"] == 0 or is_size_step(group))
    found = _over_processes(found, params)
    numel = torch.tensor([param.numel() for param in params], dtype=torch.float64)
    return Measured(
        found.grad_norms, found.dots, None if found.param_norms is None else found.param_norms / numel.sqrt()
    )


def _over_processes(found: Sums, params: Sequence[Tensor]) -> Sums:
    """Numbers of whole tensors, from those of each process' share; tensors that are not spread count once."""
    spread = torch.tensor([is_spread(param) for param in params])
    if not spread.any():
        return found
    sizes = torch.zeros_like(found.dots) if found.param_norms is None else found.param_norms
    numbers = torch.stack([found.grad_norms.square(), found.dots, sizes.square()])
    total = torch.where(spread, numbers, 0.0).to(share(params[0]).device)
    distributed.all_reduce(total)
    squares, dots, sizes = torch.where(spread, total.to("cpu"), numbers)
    return Sums(squares.sqrt(), dots, None if found.param_norms is None else sizes.sqrt())


def is_size_step(group: dict[str, Any]) -> bool:
    return group["step"] % group["size_update_period"] == group["size_update_period"] - 1


def weighted_norms(group: dict[str, Any], found: Measured) -> Tensor:
    """Gradient norms in units of relative change, (N,): what clipping compares across steps."""
    return found.grad_norms * group["param_rms"].masked_fill(group["is_scalar"], group["scalar_lr_scale"])


def step_sizes(group: dict[str, Any]) -> Tensor:
    """The factor on the rate of each tensor, (N,): its size, or a constant for one-element tensors."""
    sizes = group["param_rms"].clamp(min=group["param_min_rms"])
    return sizes.masked_fill(group["is_scalar"], group["scalar_lr_scale"])


def update_sizes(group: dict[str, Any], found: Measured, factor: float) -> Tensor | None:
    """Remember the size gradients of this step; every period, return how much each tensor is to grow, (N,)."""
    period = group["size_update_period"]
    history = group["scale_grads"]
    history[group["step"] % period] = found.dots * factor if factor > 0 else 0.0
    if not is_size_step(group):
        return None
    assert found.param_rms is not None
    group["param_rms"] = rms = found.param_rms
    decay = group["beta2"] ** period
    mean_square = group["scale_exp_avg_sq"]
    mean_square.mul_(decay).add_(history.square().mean(0), alpha=1 - decay)
    correction = math.sqrt(1 - decay ** ((group["step"] + 1) // period))
    rate = group["lr"] * group["scalar_lr_scale"] * correction
    growth = -rate * history.sum(0) / (mean_square.sqrt() + group["eps"])
    growth = growth.masked_fill(rms < group["param_min_rms"], 0.0).clamp(-MAX_SIZE_STEP, MAX_SIZE_STEP)
    growth = torch.minimum(growth, (group["param_max_rms"] - rms) / rms.clamp(min=1e-30))
    return growth.masked_fill(group["is_scalar"], 0.0)
