"""The shapes of torchaudio's encoders."""

from __future__ import annotations

from dataclasses import dataclass

from asr.errors import ConfigError
from asr.models.framed import FramedConfig
from asr.nn.chunks import ChunkContext


@dataclass(kw_only=True)
class _AttentionConfig(FramedConfig):
    """What both have."""

    num_layers: int = 4
    """Layers, one above the other."""
    num_heads: int = 4
    """Attention heads; a divisor of `dim`."""
    feedforward_dim: int = 512
    """Hidden width of the feed-forward modules."""
    dropout: float = 0.1
    """Share of values dropped in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_sizes("num_layers", "num_heads", "feedforward_dim")
        self.check_dropout()
        if self.dim % self.num_heads:
            raise ConfigError(f"encoder.num_heads={self.num_heads} must divide encoder.dim={self.dim}")

    @property
    def output_dim(self) -> int:
        return self.dim


@dataclass(kw_only=True)
class ConformerConfig(_AttentionConfig):
    """Sizes of torchaudio's Conformer, which hears whole utterances."""

    kernel_size: int = 15
    """Frames (25 Hz) that the depthwise convolutions see, odd; half of them ahead."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ConfigError(f"encoder.kernel_size={self.kernel_size} must be odd")

    @property
    def can_stream(self) -> bool:
        return False


@dataclass(kw_only=True)
class EmformerConfig(_AttentionConfig):
    """Sizes of torchaudio's Emformer, whose chunks are part of its shape."""

    chunk_size: int = 32
    """Frames (50 Hz) of its segments; even."""
    left_context: int = 128
    """Frames (50 Hz) that it remembers before a segment; even."""
    right_context: int = 8
    """Frames (50 Hz) that it sees beyond a segment; even."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("chunk_size", 2), ("left_context", 2), ("right_context", 2)):
            value = getattr(self, name)
            if value < least or value % 2:
                raise ConfigError(f"encoder.{name}={value} must be even, and at least {least}")

    @property
    def chunk_multiple(self) -> int:
        return self.chunk_size

    def check_chunk_size(self, size: int | None, name: str = "chunk_size") -> None:
        if size is not None and size != self.chunk_size:
            raise ConfigError(f"{name}={size} is not what this Emformer was built for; use {self.chunk_size}")

    def check_context(self, context: ChunkContext) -> None:
        super().check_context(context)
        if context.chunk_size is not None and context.left_context not in (None, self.left_context):
            left = context.left_context
            raise ConfigError(f"left_context={left} is not what this Emformer was built for; use {self.left_context}")
