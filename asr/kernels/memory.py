"""What a process keeps instead of giving it back: memory, and plans for products."""

from __future__ import annotations

import ctypes
import os

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


def keep_plans() -> None:
    """Let oneDNN keep what it works out for each shape of a product or convolution, for 16 times as many as by itself.

    Batches of speech hardly ever have the same shape twice, and a training step has a hundred shapes: with room for a
    thousand, a plan has gone before it is asked for again. Call it before the first product; a setting of the
    environment's own (ONEDNN_PRIMITIVE_CACHE_CAPACITY) stays as it is.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(16 * 1024))
