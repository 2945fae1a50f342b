"""Lengths, masks, and mapping over trees of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def pad_mask(lens: Tensor, max_len: int) -> Tensor:
    """Mark padding: (B,) lengths to (B, max_len) bool, True where the position lies at or beyond its row's length."""
    return torch.arange(max_len, device=lens.device) >= lens.unsqueeze(1)


def zero_padding(x: Tensor, lens: Tensor) -> Tensor:
    """Set everything past each row's length to zero; x is (B, T, ...), lens is (B,)."""
    mask = pad_mask(lens, x.shape[1])
    return x.masked_fill(mask.reshape(mask.shape + (1,) * (x.dim() - 2)), 0.0)


def tree_map(fn: Callable[..., Any], *trees: Any) -> Any:
    """Apply `fn` to corresponding tensor leaves of equally shaped trees of tuples, NamedTuples and lists."""
    head = trees[0]
    if isinstance(head, Tensor):
        return fn(*trees)
    children = [tree_map(fn, *branch) for branch in zip(*trees)]
    if hasattr(head, "_fields"):
        return type(head)(*children)
    return type(head)(children)


def tree_leaves(tree: Any) -> list[Tensor]:
    """All tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for branch in tree for leaf in tree_leaves(branch)]


def tree_cat(trees: Sequence[Any]) -> Any:
    """Join trees along the batch axis of every leaf: many streams become one batch."""
    return tree_map(lambda *leaves: torch.cat(leaves), *trees)


def tree_select(tree: Any, rows: Tensor) -> Any:
    """Pick, drop or reorder batch rows, (R,) int64, of every leaf."""
    return tree_map(lambda leaf: leaf.index_select(0, rows), tree)
