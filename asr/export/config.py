"""What to export, and how."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from asr.errors import ConfigError
from asr.nn.chunks import ChunkContext


class ExportMode(Enum):
    """How the client will listen."""

    STREAMING = "streaming"
    """Step by step, as audio arrives; causal models only."""
    OFFLINE = "offline"
    """Whole recordings; any model."""


class ExportHead(Enum):
    """Which part of the model turns encoder frames into tokens."""

    TRANSDUCER = "transducer"
    """Predictor and joiner."""
    CTC = "ctc"
    """The CTC head: one file, with the encoder in it."""


@dataclass(kw_only=True)
class ExportConfig:
    """Settings of one export."""

    mode: ExportMode = ExportMode.STREAMING
    """How the client will listen."""
    head: ExportHead | None = None
    """Which head to export; null is the transducer where the model has one, and its CTC head otherwise."""
    chunk_size: int = 32
    """50 Hz frames per step, a multiple of the encoder's largest downsampling factor; streaming only."""
    left_context: int = 128
    """50 Hz frames remembered before a step, in whole chunks, at least one; streaming only."""
    quantize: bool = False
    """Also write 8-bit twins, `*.int8.onnx`, of each graph."""
    opset: int = 18
    """ONNX operator set, 18 to 24."""
    tolerance: float = 1e-4
    """Largest difference allowed between graph and library, as a share of each output's peak; above 0."""

    def __post_init__(self) -> None:
        if not 18 <= self.opset <= 24:
            raise ConfigError(f"export.opset={self.opset} is not among those known to work, 18 to 24; use 18")
        if not self.tolerance > 0:
            raise ConfigError(f"export.tolerance={self.tolerance} must be above 0; 1e-4 is usual")
        _ = self.context  # checks both sizes
        if self.mode is ExportMode.STREAMING and self.left_context % self.chunk_size:
            raise ConfigError(
                f"export.left_context={self.left_context} must be a multiple of export.chunk_size={self.chunk_size}; "
                f"use {max(self.left_context // self.chunk_size, 1) * self.chunk_size}"
            )

    @property
    def context(self) -> ChunkContext:
        """What each frame may see."""
        if self.mode is ExportMode.OFFLINE:
            return ChunkContext()
        return ChunkContext(chunk_size=self.chunk_size, left_context=self.left_context)
