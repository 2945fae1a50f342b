"""Where kernels of our own may stand in for torch's."""

from __future__ import annotations

from ctypes import c_void_p

import torch
from torch import Tensor
from torch.nn import Parameter

_ORDINARY = (Tensor, Parameter)


def ordinary(*tensors: Tensor) -> bool:
    """Whether all are float32 with memory on the CPU, and torch runs them as they come.

    While a model is traced, exported, compiled or cast on the fly, kernels step aside: what they do would not be seen.
    """
    if torch.jit.is_tracing() or _casts() or _compiles():
        return False
    return all(type(x) in _ORDINARY and x.is_cpu and x.dtype is torch.float32 for x in tensors)


def records(*tensors: Tensor | None) -> bool:
    """Whether a gradient may be asked for of what is made from these: then a kernel must come with its own."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def address(x: Tensor | None) -> c_void_p:
    """Where a tensor's memory begins, as C wants it; null for None."""
    return c_void_p(None if x is None else x.data_ptr())


def _casts() -> bool:
    if hasattr(torch, "get_autocast_dtype"):  # since torch 2.4; the other question is deprecated there
        return torch.is_autocast_enabled("cpu")
    return torch.is_autocast_cpu_enabled()


def _compiles() -> bool:
    is_compiling = getattr(getattr(torch, "compiler", None), "is_compiling", None)  # since torch 2.1
    return is_compiling is not None and is_compiling()
