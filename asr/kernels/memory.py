"""How the C library hands out memory."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of glibc's malloc.h


def keep_memory() -> None:
    """Let this process keep what tensors leave behind for the next ones, where the C library is glibc.

    It otherwise returns large pieces to the system, and the first touch of every page that comes back costs more than
    many an operation on it. Call it before the first large tensor.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
