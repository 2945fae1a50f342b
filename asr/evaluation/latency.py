"""How long a listener waits: what the model's chunks impose, and what the computer adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEATURE_FRAME_S = 0.01
CHUNK_FRAME_S = 0.02
"""Chunk sizes are counted in 50 Hz frames."""


@dataclass(frozen=True, kw_only=True)
class AlgorithmicLatency:
    """Seconds from a sound to the last audio its frame must wait for, on an infinitely fast computer."""

    mean_s: float
    """For a sound anywhere in its chunk."""
    worst_s: float
    """For a sound at the very start of its chunk."""


def algorithmic_latency(*, chunk_size: int | None, lookahead: int) -> AlgorithmicLatency | None:
    """Latency that follows from the model's structure; None where nothing comes before the utterance's end.

    Args:
        chunk_size: 50 Hz frames processed at a time; None is the whole utterance.
        lookahead: 100 Hz feature frames needed beyond the chunk's own.
    """
    if chunk_size is None:
        return None
    chunk_s, wait_s = chunk_size * CHUNK_FRAME_S, lookahead * FEATURE_FRAME_S
    return AlgorithmicLatency(mean_s=round(chunk_s / 2 + wait_s, 6), worst_s=round(chunk_s + wait_s, 6))


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Computing time against audio time."""

    audio_s: float
    """Audio decoded, in seconds."""
    compute_s: float
    """Time taken, in seconds."""
    step_percentiles_ms: dict[int, float]
    """Computing time of single steps (a chunk, or an utterance offline): {percentile: milliseconds}."""

    @property
    def real_time_factor(self) -> float:
        """Computing seconds per second of audio; below 1 keeps up."""
        return self.compute_s / self.audio_s if self.audio_s else 0.0


def measure_speed(step_s: Sequence[float], *, audio_s: float) -> Speed:
    """Summarise the computing times of all steps, in seconds, that together decoded `audio_s` seconds."""
    steps_ms = {p: 1000 * value for p, value in percentiles(step_s).items()}
    return Speed(audio_s=audio_s, compute_s=float(sum(step_s)), step_percentiles_ms=steps_ms)


def percentiles(values: Sequence[float], at: Sequence[int] = (50, 90, 95, 99)) -> dict[int, float]:
    """{percentile: value}, interpolated between neighbours; empty when there are no values."""
    if not len(values):
        return {}
    return dict(zip(at, np.percentile(values, at).tolist(), strict=True))
