"""The shape of a causal convolutional encoder."""

from __future__ import annotations

from dataclasses import dataclass

from asr.models.framed import FramedConfig


@dataclass(kw_only=True)
class CnnConfig(FramedConfig):
    """Sizes of the convolution blocks, all alike."""

    num_layers: int = 10
    """Blocks, one above the other."""
    kernel_size: int = 9
    """Frames (25 Hz) that a block sees: the present one and those before it."""
    dropout: float = 0.1
    """Share of values dropped at the end of each block in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_sizes("num_layers", "kernel_size")
        self.check_dropout()

    @property
    def output_dim(self) -> int:
        return self.dim
