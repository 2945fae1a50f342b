"""The Zipformer encoder."""

from asr.models.zipformer.config import ZipformerConfig
from asr.models.zipformer.encoder import Zipformer
from asr.models.zipformer.state import EncoderState, LayerState

__all__ = ["EncoderState", "LayerState", "Zipformer", "ZipformerConfig"]
