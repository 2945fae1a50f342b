"""Lengths, masks, mapping over trees of tensors, and tensors that are spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


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


class PerDevice(Generic[T]):
    """A tree of tensors, of which every device gets a copy when it is first asked for there."""

    def __init__(self, tree: T):
        """`tree` is on the CPU."""
        self._copies = {torch.device("cpu"): tree}

    def on(self, device: torch.device) -> T:
        """The copy there."""
        if device not in self._copies:
            cpu = self._copies[torch.device("cpu")]
            self._copies[device] = tree_map(lambda leaf: leaf.to(device), cpu)
        return self._copies[device]


def is_spread(x: Tensor) -> bool:
    """Whether several processes hold a share of the tensor each (torch's DTensor)."""
    return hasattr(x, "full_tensor")


def share(x: Tensor) -> Tensor:
    """This process' share of a spread tensor, in the same memory; any other tensor as it is."""
    return x.to_local() if is_spread(x) else x  # type: ignore[attr-defined]


def whole(x: Tensor) -> Tensor:
    """All shares of a spread tensor together, for which every process must ask; any other tensor as it is."""
    return x.full_tensor() if is_spread(x) else x  # type: ignore[attr-defined]


def shared_like(x: Tensor, like: Tensor) -> Tensor:
    """A whole tensor that every process has, spread as `like` is."""
    if not is_spread(like):
        return x
    from torch.distributed.tensor import distribute_tensor

    there = x.to(share(like).device)
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)  # type: ignore[attr-defined]
