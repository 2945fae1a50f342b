"""A causal convolutional encoder."""

from asr.models.convolutional.config import CnnConfig
from asr.models.convolutional.network import CausalCnn

__all__ = ["CausalCnn", "CnnConfig"]
