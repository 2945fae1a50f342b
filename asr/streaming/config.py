"""Settings of live recognition."""

from __future__ import annotations

from dataclasses import dataclass, field

from asr.decoding import SearchConfig
from asr.errors import ConfigError
from asr.nn.chunks import ChunkContext
from asr.streaming.policy import AdaptiveConfig


@dataclass(kw_only=True)
class EndpointConfig:
    """When a segment of a stream has come to its end; any of the rules suffices, null switches one off.

    Silence is the time that was decoded since the last token, so a chunk is the finest it can be told.
    """

    silence_s: float | None = 2.4
    """Seconds from the segment's start in which nothing was said; above 0."""
    pause_s: float | None = 1.2
    """Seconds of silence after something was said; above 0."""
    max_length_s: float | None = 20.0
    """Seconds that a segment lasts at most, whatever is said; above 0."""

    def __post_init__(self) -> None:
        for name in ("silence_s", "pause_s", "max_length_s"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ConfigError(f"streaming.endpoint.{name}={seconds} must be above 0 seconds, or null for never")


@dataclass(kw_only=True)
class GateConfig:
    """When a chunk is left out because nobody speaks in it. Left out, it still counts as silence and as time."""

    margin_db: float = 8.0
    """Decibels above the lowest power lately heard, in any of four bands, from which somebody may be speaking; above 0.
    Less is safer and leaves out less."""
    hang_over_s: float = 1.0
    """Seconds after that in which chunks are decoded all the same, for the model to say its last word; 0 or more."""
    pre_roll_s: float = 0.3
    """Seconds before it in which chunks are decoded as well, for onsets fainter than the margin; 0 or more."""
    memory_s: float = 10.0
    """Seconds after which a background that has become louder is taken for one; above 0."""

    def __post_init__(self) -> None:
        for name, above in (("margin_db", True), ("memory_s", True), ("hang_over_s", False), ("pre_roll_s", False)):
            value = getattr(self, name)
            if not (value > 0 if above else value >= 0):
                raise ConfigError(f"streaming.gate.{name}={value} must be {'above 0' if above else '0 or more'}")


@dataclass(kw_only=True)
class StreamConfig:
    """How a stream is decoded. Streams share computation if they differ in endpoint, gate and tail alone."""

    chunk_size: int = 32
    """Frames (50 Hz) decoded at a time; a multiple of the encoder's largest downsampling factor."""
    left_context: int = 128
    """Frames (50 Hz) remembered before the chunk; rounded down to whole chunks, at least one."""
    lookahead: int = 0
    """Frames (50 Hz) heard beyond each chunk before it is decoded; 0 or multiples of the encoder's largest downsampling
    factor. For models that were trained with some (`model.encoder.lookaheads`)."""
    adaptive: AdaptiveConfig | None = None
    """How to choose each chunk's size as the stream goes, in place of `chunk_size`; null: all are alike."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """How tokens are found."""
    endpoint: EndpointConfig | None = None
    """When to cut the stream into segments; null: never."""
    gate: GateConfig | None = None
    """How to leave out chunks in which nobody speaks; null: decode them all."""
    tail_s: float = 0.0
    """Seconds of the recording's own background put after its end, 0 or more. Needed only by models that were trained
    to speak late: the last frames are decoded either way."""

    def __post_init__(self) -> None:
        _ = self.context  # checks the sizes
        if self.adaptive is not None:
            self.adaptive.check_left_context(self.left_context)
        if not self.tail_s >= 0:
            raise ConfigError(f"streaming.tail_s={self.tail_s} must be 0 seconds or more")

    @property
    def context(self) -> ChunkContext:
        """What each frame may see, in the first chunk if they vary."""
        return self.context_of(self.chunk_size if self.adaptive is None else self.adaptive.chunk_sizes[0])

    def context_of(self, chunk_size: int) -> ChunkContext:
        """What each frame of a chunk of this size may see."""
        return ChunkContext(chunk_size=chunk_size, left_context=self.left_context, lookahead=self.lookahead)
