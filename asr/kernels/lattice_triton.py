"""The lattice recursion as one Triton kernel: a row is a program, and a step costs no launch."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from asr.kernels.lattice import first_nodes


@triton.jit
def _scan_rows(nodes, arcs, steps, rows, width, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < width
    here = nodes + row * (width + 1) + 1 + at
    arc = arcs + row * 2 * width + at
    step = 0
    while step < steps:  # the interpreter cannot count to a number it is given
        emit = tl.load(here - 1, mask=inside, other=0.0) + tl.load(arc, mask=inside, other=0.0)
        wait = tl.load(here, mask=inside, other=0.0) + tl.load(arc + width, mask=inside, other=0.0)
        peak = tl.maximum(emit, wait)
        impossible = peak == -float("inf")
        peak = tl.where(impossible, 0.0, peak)
        total = peak + tl.log(tl.exp(emit - peak) + tl.exp(wait - peak))
        here += rows * (width + 1)
        arc += rows * 2 * width
        tl.store(here, tl.where(impossible, -float("inf"), total), mask=inside)
        # Neighbouring threads read what was just written.
        tl.debug_barrier()
        step += 1


def triton_scan(start: Tensor, arcs: Tensor) -> Tensor:
    """As `asr.kernels.lattice.scan`."""
    steps, rows, _, width = arcs.shape
    nodes = first_nodes(start, arcs)
    if rows:
        _scan_rows[(rows,)](nodes, arcs.contiguous(), steps, rows, width, BLOCK=triton.next_power_of_2(width))
    return nodes[:, :, 1:]
