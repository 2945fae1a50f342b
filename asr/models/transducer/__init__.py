"""The stateless transducer."""

from asr.models.transducer.attention_decoder import AttentionDecoder, AttentionDecoderConfig
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.model import (
    EncoderOutput,
    Transducer,
    TransducerConfig,
    copy_weights,
    count_parameters,
    model_config_from_dict,
    model_config_to_dict,
)
from asr.models.transducer.predictor import Predictor

__all__ = [
    "AttentionDecoder",
    "AttentionDecoderConfig",
    "EncoderOutput",
    "Joiner",
    "Predictor",
    "Transducer",
    "TransducerConfig",
    "copy_weights",
    "count_parameters",
    "model_config_from_dict",
    "model_config_to_dict",
]
