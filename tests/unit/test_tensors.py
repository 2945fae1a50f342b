"""Lengths, masks and trees."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from asr.tensors import PerDevice, pad_mask, tree_cat, tree_leaves, tree_map, tree_select, zero_padding


class Leaf(NamedTuple):
    a: Tensor
    b: Tensor


class Tree(NamedTuple):
    leaves: tuple[Leaf, ...]
    clock: Tensor


def tree(rows: int, value: int) -> Tree:
    leaves = tuple(Leaf(torch.full((rows, 2), value), torch.full((rows, 0), value)) for _ in range(2))
    return Tree(leaves, torch.arange(rows) + 10 * value)


def test_pad_mask_marks_what_lies_at_or_beyond_the_length():
    mask = pad_mask(torch.tensor([0, 2, 3, 9]), 3)
    assert mask.tolist() == [[True] * 3, [False, False, True], [False] * 3, [False] * 3]


def test_zero_padding_removes_even_what_is_no_number():
    x = torch.full((2, 3, 2, 2), torch.nan)
    x[0, :1], x[1, :3] = 1.0, 2.0
    zeroed = zero_padding(x, torch.tensor([1, 3]))
    assert torch.equal(zeroed[0], torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1).expand(3, 2, 2))
    assert torch.equal(zeroed[1], torch.full((3, 2, 2), 2.0))


def test_zero_padding_takes_rows_without_further_axes():
    assert zero_padding(torch.ones(2, 3), torch.tensor([2, 0])).tolist() == [[1, 1, 0], [0, 0, 0]]


def test_tree_map_keeps_types_and_pairs_leaves():
    result = tree_map(torch.add, tree(2, 1), tree(2, 2))
    assert isinstance(result, Tree) and isinstance(result.leaves, tuple) and isinstance(result.leaves[0], Leaf)
    assert torch.equal(result.leaves[1].a, torch.full((2, 2), 3))
    assert tree_map(lambda leaf: leaf + 1, [torch.zeros(1)]) == [torch.ones(1)]


def test_tree_leaves_come_in_order():
    shapes = [tuple(leaf.shape) for leaf in tree_leaves(tree(3, 1))]
    assert shapes == [(3, 2), (3, 0), (3, 2), (3, 0), (3,)]


def test_streams_join_and_part_again():
    joined = tree_cat([tree(2, 1), tree(1, 2)])
    assert joined.clock.tolist() == [10, 11, 20]
    picked = tree_select(joined, torch.tensor([2, 0]))
    assert picked.clock.tolist() == [20, 10]
    assert picked.leaves[0].a.tolist() == [[2, 2], [1, 1]]
    assert picked.leaves[0].b.shape == (2, 0)


def test_every_device_has_one_copy():
    kept = PerDevice(tree(2, 3))
    assert kept.on(torch.device("cpu")).leaves[0].a.tolist() == [[3, 3], [3, 3]]
    there = kept.on(torch.device("meta"))
    assert {leaf.device.type for leaf in tree_leaves(there)} == {"meta"} and isinstance(there, Tree)
    assert kept.on(torch.device("meta")) is there
