"""Live recognition: a recogniser opens streams, takes their audio piece by piece and decodes many at once."""

from asr.streaming.config import EndpointConfig, GateConfig, StreamConfig
from asr.streaming.policy import AdaptiveConfig
from asr.streaming.recognizer import Recognizer
from asr.streaming.result import Result
from asr.streaming.stream import Stream

__all__ = ["AdaptiveConfig", "EndpointConfig", "GateConfig", "Recognizer", "Result", "Stream", "StreamConfig"]
