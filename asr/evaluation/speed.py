"""What the computer adds to the latency, and how many streams it can serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Computing time against audio time."""

    audio_s: float
    """Audio decoded, in seconds."""
    compute_s: float
    """Time taken, in seconds."""
    step_percentiles_ms: dict[int, float]
    """Computing time of single steps (a chunk of all streams of a batch): {percentile: milliseconds}."""
    chunk_percentiles_ms: dict[int, float] = field(default_factory=dict)
    """The same of a stream without company: what one listener waits for the computer. Empty where not measured."""
    num_threads: int = 1
    """CPU threads that computed."""

    @property
    def real_time_factor(self) -> float:
        """Computing seconds per second of audio; below 1 keeps up."""
        return self.compute_s / self.audio_s if self.audio_s else 0.0

    @property
    def streams_per_core(self) -> float:
        """Seconds of audio that a core decodes in a second, at this batch size: an upper bound of its live streams."""
        return self.audio_s / (self.compute_s * self.num_threads) if self.compute_s else 0.0


def measure_speed(
    step_s: Sequence[float], *, audio_s: float, chunk_s: Sequence[float] = (), num_threads: int = 1
) -> Speed:
    """Summarise the computing times of all steps, in seconds, that together decoded `audio_s` seconds.

    Args:
        chunk_s: computing times of chunks of a stream without company, in seconds.
        num_threads: CPU threads that computed.
    """
    return Speed(
        audio_s=audio_s,
        compute_s=float(sum(step_s)),
        step_percentiles_ms=percentiles_ms(step_s),
        chunk_percentiles_ms=percentiles_ms(chunk_s),
        num_threads=num_threads,
    )


def percentiles_ms(seconds: Sequence[float]) -> dict[int, float]:
    """{percentile: milliseconds} of durations in seconds."""
    return {p: 1000 * value for p, value in percentiles(seconds).items()}


def percentiles(values: Sequence[float], at: Sequence[int] = (50, 90, 95, 99)) -> dict[int, float]:
    """{percentile: value}, interpolated between neighbours; empty when there are no values."""
    if not len(values):
        return {}
    return dict(zip(at, np.percentile(values, at).tolist(), strict=True))
