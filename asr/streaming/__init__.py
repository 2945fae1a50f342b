"""Live recognition: a recogniser opens streams, takes their audio piece by piece and decodes many at once."""

from asr.streaming.config import EndpointConfig, GateConfig, StreamConfig
from asr.streaming.recognizer import Recognizer
from asr.streaming.result import Result
from asr.streaming.stream import Stream

__all__ = ["EndpointConfig", "GateConfig", "Recognizer", "Result", "Stream", "StreamConfig"]
