"""Rill: streaming speech recognition, trained from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from asr.streaming import Recognizer


def load(path: str) -> Recognizer:
    """Load a recogniser from a checkpoint file or the folder of a run; raises CheckpointError."""
    from asr.streaming import Recognizer

    return Recognizer.load(path)
