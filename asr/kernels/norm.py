"""BiasNorm at inference."""

from __future__ import annotations

from ctypes import c_float, c_int64

from torch import Tensor

from asr.kernels.dispatch import address, ordinary
from asr.kernels.native import library


def normalise(x: Tensor, bias: Tensor, log_scale: Tensor) -> Tensor:
    """x * exp(log_scale) / rms(x - bias) over the last axis.

    Args:
        x: (..., C).
        bias: (C,).
        log_scale: ().
    """
    native = library("encoder") if ordinary(x, bias, log_scale) and x.is_contiguous() else None
    if native is None:
        return x * ((x - bias).square().mean(dim=-1, keepdim=True).rsqrt() * log_scale.exp())
    out, channels = x.new_empty(x.shape), x.shape[-1]
    sizes = c_int64(x.numel() // channels), c_int64(channels)
    native.bias_norm(*sizes, address(x), address(bias), c_float(log_scale.exp().item()), address(out))
    return out
