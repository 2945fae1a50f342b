"""What a stream answers, and when a segment of it is over."""

from __future__ import annotations

from dataclasses import dataclass

from asr.decoding import Hypothesis
from asr.decoding.hypothesis import ENCODER_FRAME_S
from asr.streaming.config import EndpointConfig
from asr.text import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Result:
    """One segment of a stream, so far or for good."""

    text: str
    """The words."""
    tokens: list[int]
    """Token ids."""
    timestamps: list[float]
    """Per token: when it was emitted, seconds from the stream's start, to the millisecond; behind the sound, by what
    the model chose to wait."""
    start_s: float
    """Where the segment starts, seconds from the stream's start."""


def to_result(hypothesis: Hypothesis, tokenizer: Tokenizer, *, first_frame: int) -> Result:
    """Spell out a hypothesis of a segment that starts at `first_frame` (25 Hz) of its stream."""
    return Result(
        text=hypothesis.text(tokenizer),
        tokens=list(hypothesis.tokens),
        timestamps=[_seconds(first_frame + frame) for frame in hypothesis.timestamps],
        start_s=_seconds(first_frame),
    )


def segment_ended(config: EndpointConfig, hypothesis: Hypothesis, num_frames: int) -> bool:
    """Whether a segment of which `num_frames` (25 Hz) are decoded is over."""
    spoken = bool(hypothesis.tokens)
    silent_frames = num_frames - 1 - hypothesis.timestamps[-1] if spoken else num_frames
    return _reached(silent_frames, config.pause_s if spoken else config.silence_s) or _reached(
        num_frames, config.max_length_s
    )


def _reached(num_frames: int, limit_s: float | None) -> bool:
    return limit_s is not None and _seconds(num_frames) >= limit_s


def _seconds(num_frames: int) -> float:
    return round(num_frames * ENCODER_FRAME_S, 3)
