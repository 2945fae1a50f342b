"""torchaudio's Conformer and Emformer as encoders."""

from asr.models.torchaudio_encoders.config import ConformerConfig, EmformerConfig
from asr.models.torchaudio_encoders.conformer import Conformer
from asr.models.torchaudio_encoders.emformer import Emformer

__all__ = ["Conformer", "ConformerConfig", "Emformer", "EmformerConfig"]
