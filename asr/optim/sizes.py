"""What ScaledAdam knows about each tensor as a whole: its size, its gradient's norm, how much it wants to grow.

Functions here take a parameter group of the optimizer, N parameters with host vectors of one number each.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.optim.reductions import dots, norms

MAX_GRAD_NORM = 1e18  # the square of anything larger nears the end of float32
MAX_SIZE_STEP = 0.1  # no tensor grows or shrinks by more than this share in one size step


class Measured(NamedTuple):
    """What one pass over a group's gradients found, float64 on the host, one entry per parameter (0: no gradient)."""

    with_grad: list[int]
    grad_norms: Tensor
    dots: Tensor
    param_rms: Tensor | None

    @property
    def is_good(self) -> Tensor:
        """(N,) bool, False where squares of the gradient overflow or are not numbers."""
        return self.grad_norms < MAX_GRAD_NORM


def measure(group: dict[str, Any]) -> Measured:
    """Reduce gradients (and sizes, when they are due) to one small vector, and bring it to the host in one copy."""
    params = group["params"]
    with_grad = [i for i, param in enumerate(params) if param.grad is not None]
    moved = [params[i] for i in with_grad]
    grads = [param.grad for param in moved]
    pieces = [norms(grads), dots(moved, grads)]
    if group["step"] == 0 or is_size_step(group):
        pieces.append(norms(params))
    found_pieces = [piece for piece in pieces if piece is not None]
    host = torch.cat(found_pieces).to("cpu", torch.float64) if found_pieces else torch.zeros(0, dtype=torch.float64)
    count = len(with_grad)
    found = torch.zeros(2, len(params), dtype=torch.float64)
    found[:, with_grad] = host[: 2 * count].view(2, count)
    sizes = host[2 * count :]
    numel = torch.tensor([param.numel() for param in params], dtype=torch.float64)
    return Measured(with_grad, found[0], found[1], sizes / numel.sqrt() if len(sizes) else None)


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
