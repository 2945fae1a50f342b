"""The recursion of the transducer loss over a lattice laid out in steps."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor


def scan(start: Tensor, arcs: Tensor) -> Tensor:
    """Log-sum of path scores for every node.

    Args:
        start: True at each row's first node, (N, S + 1).
        arcs: into each node from [s - 1, s] of the step before, (K, N, 2, S + 1).
    Returns:
        (K + 1, N, S + 1).
    """
    if arcs.is_cuda and _has_triton():
        from asr.kernels.lattice_triton import triton_scan

        return triton_scan(start, arcs)
    return plain_scan(start, arcs)


def plain_scan(start: Tensor, arcs: Tensor) -> Tensor:
    """`scan` from two operations a step."""
    steps, rows, _, width = arcs.shape
    nodes = first_nodes(start, arcs)
    # With the impossible node at s = -1 in front, "s - 1 and s" is one overlapping view.
    sources, nodes = nodes.unfold(2, width, 1), nodes[:, :, 1:]
    paths = arcs.new_empty(arcs.shape[1:])
    for source, arc, node in zip(sources[:-1].unbind(), arcs.unbind(), nodes[1:].unbind(), strict=True):
        torch.add(source, arc, out=paths)
        torch.logaddexp(paths[:, 0], paths[:, 1], out=node)
    return nodes


def first_nodes(start: Tensor, arcs: Tensor) -> Tensor:
    """Room for all nodes, the first step filled in, behind an impossible node at s = -1: (K + 1, N, 1 + S + 1)."""
    steps, rows, _, width = arcs.shape
    nodes = arcs.new_full((steps + 1, rows, width + 1), -math.inf)
    nodes[0, :, 1:].masked_fill_(start, 0.0)
    return nodes


@cache
def _has_triton() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True
