"""Live recognition: a recogniser opens streams, takes their audio piece by piece and decodes many at once."""

from asr.streaming.config import EndpointConfig, StreamConfig
from asr.streaming.recognizer import Recognizer
from asr.streaming.result import Result
from asr.streaming.stream import Stream

__all__ = ["EndpointConfig", "Recognizer", "Result", "Stream", "StreamConfig"]
