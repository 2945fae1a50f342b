"""The lattice recursion as a Triton kernel, run by Triton's interpreter, against plain torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_CHECK = """
import torch
from asr.kernels.lattice import plain_scan
from asr.kernels.lattice_triton import triton_scan

torch.manual_seed(0)
for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
    for steps, rows, width in ((9, 3, 1), (20, 4, 5), (31, 2, 17)):
        arcs = torch.randn(steps, rows, 2, width, dtype=dtype)
        arcs[torch.rand_like(arcs) < 0.3] = -torch.inf
        start = torch.zeros(rows, width, dtype=torch.bool)
        start[:, 0] = True
        start[-1, -1] = True
        expected = plain_scan(start, arcs)
        assert expected.isfinite().any() and expected.isinf().any()
        torch.testing.assert_close(triton_scan(start, arcs), expected, rtol=tolerance, atol=tolerance)
print("equal")
"""


def test_triton_scan_is_the_plain_scan():
    pytest.importorskip("triton")
    # A process of its own: Triton decides on its interpreter when it is imported.
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", _CHECK], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "equal", done.stderr
