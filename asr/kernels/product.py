"""Matrix products, by the library that is fast on this processor for their size.

torch sends float32 products to MKL, which may use half of what processors of other makers than its own can do. oneDNN,
which torch brings too, uses all of it, but works out a plan for every new shape, and batches of speech hardly ever have
the same shape twice: that pays for large products only. Those in between take `product.cpp`, which needs no plans; it
keeps to one thread, as training on a CPU does.
"""

from __future__ import annotations

from ctypes import c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from asr.kernels.dispatch import ordinary
from asr.kernels.native import library

# Multiply-adds. For less than the first, calling anything else costs more than it saves; from the last on, a plan is
# paid for by the product that it is made for.
_WORTH_A_CALL, _WORTH_ONEDNN, _WORTH_A_PLAN = 1 << 17, 1 << 20, 1 << 27


def product(x: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
    """x y + bias; records nothing on the CPU, so use it inside of functions that know their gradient.

    Args:
        x: (..., K).
        y: (K, N).
        bias: (N,), or None.
    """
    if not (_mkl_is_slow() and ordinary(x, y)) or not (bias is None or ordinary(bias)):
        return functional.linear(x, y.t(), bias)
    bias = None if bias is None else bias.contiguous()
    work = x.numel() * y.shape[1]  # asked for last: while a model is exported this would fix sizes in the graph
    if _WORTH_A_CALL <= work < _WORTH_A_PLAN and (kernel := _kernel()) is not None:
        rows = x.reshape(-1, x.shape[-1])
        out = rows.new_empty(len(rows), y.shape[1])
        _multiply(kernel, rows, y, bias, out)
        return out.view(*x.shape[:-1], y.shape[1])
    if work >= _WORTH_ONEDNN and _has_onednn():
        return torch.ops.mkldnn._linear_pointwise(x, y.t(), bias, "none", [], "")
    return functional.linear(x, y.t(), bias)


def add_product(out: Tensor, x: Tensor, y: Tensor) -> None:
    """Add x y, (M, K) times (K, N), to `out`, (M, N)."""
    fits = _mkl_is_slow() and ordinary(out, x, y) and out.is_contiguous()
    if fits and (kernel := _kernel()) is not None:
        _multiply(kernel, x, y, None, out, adds=True)
    else:
        out.add_(product(x, y))


def _multiply(kernel: Any, x: Tensor, y: Tensor, bias: Tensor | None, out: Tensor, *, adds: bool = False) -> None:
    """Write x y + bias, or add x y, to `out`; all contiguous but x and y, which are (M, K) and (K, N)."""
    if x.shape[1] != len(y) or out.shape != (len(x), y.shape[1]) or not (bias is None or bias.shape == y.shape[1:]):
        shapes = [None if part is None else tuple(part.shape) for part in (x, y, bias, out)]
        raise ValueError("{} times {} plus {} does not make {}".format(*shapes))
    x, y = _dense(x), _dense(y)
    bias_at = None if bias is None else bias.data_ptr()
    sizes = x.shape[0], x.shape[1], y.shape[1]
    kernel(*sizes, x.data_ptr(), *x.stride(), y.data_ptr(), *y.stride(), bias_at, adds, out.data_ptr())


def _dense(x: Tensor) -> Tensor:
    """As it is, where it goes through memory one by one along an axis."""
    return x if 1 in x.stride() else x.contiguous()


def _kernel() -> Any:
    """The product in C++; None where there is no compiler, or more than one thread to use."""
    native = library("product") if torch.get_num_threads() == 1 else None
    if native is None:
        return None
    if native.product.argtypes is None:
        size, place = c_int64, c_void_p
        native.product.argtypes = [*[size] * 3, *[place, size, size] * 2, place, size, place]
        native.product.restype = None
    return native.product


@cache
def _mkl_is_slow() -> bool:
    info = Path("/proc/cpuinfo")
    is_other_maker = info.exists() and "GenuineIntel" not in info.read_text()
    return torch.backends.mkl.is_available() and is_other_maker


@cache
def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
