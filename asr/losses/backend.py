"""Who computes a transducer loss: plain torch, or k2."""

from __future__ import annotations

from enum import Enum
from importlib.util import find_spec

from torch import Tensor

from asr.errors import ConfigError
from asr.kernels.k2 import has_k2, load_k2


class Backend(Enum):
    """Whose code computes the loss; the results are equal."""

    AUTO = "auto"
    """k2 on a GPU where there is no Triton, if a k2 with CUDA loads; plain torch everywhere else."""
    TORCH = "torch"
    """This package's own."""
    K2 = "k2"
    """k2's, or an error where it does not load or cannot take a batch."""


def use_k2(backend: Backend, symbols: Tensor, num_frames: int, fastemit: float = 0.0) -> bool:
    """Whether k2 shall compute a loss of `symbols` (B, S) over `num_frames` padded frames.

    Raises:
        ConfigError: k2 is asked for by name, and does not load or cannot take this batch, or FastEmit, which it lacks.
    """
    if fastemit != 0.0:
        if backend is Backend.K2:
            raise ConfigError(f"loss.fastemit={fastemit} is nothing that k2 can do; use loss.backend=auto")
        return False
    if backend is Backend.AUTO:
        # Ours launches two operations a frame, which only a GPU without Triton minds.
        on_gpu = symbols.device.type == "cuda" and find_spec("triton") is None
        return on_gpu and _fits(symbols, num_frames) and has_k2() and load_k2().with_cuda
    if backend is Backend.TORCH:
        return False
    load_k2()
    if not _fits(symbols, num_frames):
        raise ConfigError(
            f"loss.backend=k2 needs at least one symbol and no more symbols than frames, not {symbols.shape[1]} "
            f"symbols and {num_frames} frames; use loss.backend=auto"
        )
    return True


def _fits(symbols: Tensor, num_frames: int) -> bool:
    """What k2 1.23.4 asserts of a padded batch, in every topology."""
    return 1 <= symbols.shape[1] <= num_frames
