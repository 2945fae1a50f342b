"""One number per tensor of a list, in as few kernel launches as the device allows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def norms(tensors: Sequence[Tensor]) -> Tensor | None:
    """Euclidean norms of N tensors, (N,); None for an empty list."""
    return torch.stack(list(torch._foreach_norm(list(tensors)))) if tensors else None


def dots(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor | None:
    """Inner products of N pairs of equally shaped tensors, (N,); None for empty lists."""
    if not left:
        return None
    if left[0].is_cuda and hasattr(torch, "_foreach_clamp_min_"):
        return dots_by_norms(left, right)
    return torch.stack([torch.dot(x.reshape(-1), y.reshape(-1)) for x, y in zip(left, right)])


def dots_by_norms(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """As `dots`, from list operations only.

    There is a list norm but no list sum, and one kernel per pair is slow on an accelerator. The sum of x is twice the
    1-norm of its positive part minus its 1-norm, with rounding errors of the order of those of the plain sum.
    """
    products = torch._foreach_mul(list(left), list(right))
    total = torch.stack(list(torch._foreach_norm(products, 1)))
    torch._foreach_clamp_min_(products, 0.0)
    return 2 * torch.stack(list(torch._foreach_norm(products, 1))) - total
