"""The shape of a recurrent encoder."""

from __future__ import annotations

from dataclasses import dataclass

from asr.models.framed import FramedConfig


@dataclass(kw_only=True)
class RecurrentConfig(FramedConfig):
    """Sizes of the recurrent layers, all alike."""

    num_layers: int = 3
    """Layers, one above the other."""
    dropout: float = 0.1
    """Share of values dropped at the end of each layer in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_sizes("num_layers")
        self.check_dropout()

    @property
    def output_dim(self) -> int:
        return self.dim


@dataclass(kw_only=True)
class LstmConfig(RecurrentConfig):
    """Long short-term memory."""


@dataclass(kw_only=True)
class GruConfig(RecurrentConfig):
    """Gated recurrent units."""
