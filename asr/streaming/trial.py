"""Recordings put through live streams, as a listener would see it: what was shown, after how much audio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from asr.evaluation.latency import FEATURE_FRAME_S, Shown, needed_s
from asr.features.config import FbankConfig
from asr.models.encoder import features_ahead
from asr.streaming.config import StreamConfig
from asr.streaming.recognizer import Recognizer
from asr.streaming.stream import Stream

SAMPLE_RATE = FbankConfig().sample_rate


class Heard(NamedTuple):
    """One recording's answer."""

    text: str
    shown: list[Shown]
    """What there was to read after each chunk."""
    chunk_sizes: list[int]
    """Of each chunk, 50 Hz frames."""
    wait_s: float
    """What a sound waited for on average, in audio: the rest of its chunk and what is read beyond."""


def hear(recognizer: Recognizer, recordings: Sequence[Tensor], config: StreamConfig) -> list[Heard]:
    """Decode recordings, (N,) samples at 16 kHz each, side by side, each in a stream of its own."""
    listeners = [_Listener(recognizer.stream(config), samples) for samples in recordings]
    while busy := [listener for listener in listeners if listener.stream.ready]:
        for listener in busy:
            listener.expect()
        recognizer.decode(listener.stream for listener in busy)
        for listener in busy:
            listener.look()
    return [listener.heard() for listener in listeners]


class _Listener:
    """A stream that has all its audio, and what was seen of it."""

    def __init__(self, stream: Stream, samples: Tensor):
        self.stream = stream
        self._duration_s = len(samples) / SAMPLE_RATE
        self._shown: list[Shown] = []
        self._sizes: list[int] = []
        self._needed_s = 0.0
        self._ahead_s = needed_s(features_ahead(stream.model.encoder, stream.context))
        stream.accept(samples, SAMPLE_RATE)
        stream.finish()

    def expect(self) -> None:
        """Before a chunk: how much audio it needs."""
        size = self.stream.context.chunk_size or 0
        self._needed_s = 2 * (sum(self._sizes) + size) * FEATURE_FRAME_S + self._ahead_s
        self._sizes.append(size)

    def look(self) -> None:
        """After a chunk: what there is to read."""
        self._shown.append(Shown(min(self._needed_s, self._duration_s), self.stream.partial.text))

    def heard(self) -> Heard:
        """The answer; a sound anywhere in a chunk waits for half of it on average."""
        halves = sum(size * size * FEATURE_FRAME_S for size in self._sizes) / max(sum(self._sizes), 1)
        return Heard(self.stream.final.text, self._shown, self._sizes, halves + self._ahead_s)
