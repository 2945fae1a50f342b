"""The encoders there are: their names in a checkpoint, and how to build one."""

from __future__ import annotations

from asr.models.convolutional import CausalCnn, CnnConfig
from asr.models.encoder import Encoder, EncoderConfig
from asr.models.framed import FramedEncoder
from asr.models.recurrent import Gru, GruConfig, Lstm, LstmConfig
from asr.models.torchaudio_encoders import Conformer, ConformerConfig, Emformer, EmformerConfig
from asr.models.zipformer import Zipformer, ZipformerConfig

KINDS: dict[str, type[EncoderConfig]] = {
    "zipformer": ZipformerConfig,
    "lstm": LstmConfig,
    "gru": GruConfig,
    "cnn": CnnConfig,
    "conformer": ConformerConfig,
    "emformer": EmformerConfig,
}
"""What a configuration is called in a checkpoint; one without a name is a Zipformer's."""


def build_encoder(config: EncoderConfig) -> Encoder:
    """The network for a configuration, freshly initialised."""
    match config:
        case ZipformerConfig():
            return Zipformer(config)
        case LstmConfig():
            return FramedEncoder(config, Lstm(config))
        case GruConfig():
            return FramedEncoder(config, Gru(config))
        case CnnConfig():
            return FramedEncoder(config, CausalCnn(config))
        case ConformerConfig():
            return FramedEncoder(config, Conformer(config))
        case EmformerConfig():
            return FramedEncoder(config, Emformer(config))
    raise AssertionError(f"{type(config).__name__} has no encoder")


def kind_of(config: EncoderConfig) -> str:
    """The name of a configuration."""
    return next(name for name, schema in KINDS.items() if schema is type(config))
