"""A stream as the computing thread sees it: audio in, messages for its client out."""

from __future__ import annotations

import numpy as np

from asr.serving.protocol import Event
from asr.streaming import Recognizer, Stream


class Hearing:
    """One stream and what of it has been told; only ever touched by one thread at a time."""

    def __init__(self, stream: Stream, sample_rate: int):
        self.stream = stream
        self._sample_rate = sample_rate
        self._segment = 0
        self._told = ""

    @property
    def busy(self) -> bool:
        """Whether a chunk waits to be decoded."""
        return self.stream.ready

    @property
    def done(self) -> bool:
        """Whether everything is decoded and told."""
        return self.stream.done

    @property
    def next_chunk_s(self) -> float:
        """Seconds of audio, since the stream's start, with which its next chunk can be decoded; within a window."""
        return self.stream.decoded_s + self.stream.step_frames / 100

    def hear(self, samples: np.ndarray, *, ended: bool) -> None:
        """Take (N,) samples; `ended` says that they were the last."""
        if len(samples):
            self.stream.accept(samples, self._sample_rate)
        if ended:
            self.stream.finish()

    def tell(self) -> list[Event]:
        """What is new since the last time; to be asked after every chunk."""
        if self.stream.done or self.stream.is_endpoint:
            text, start_s = self.stream.final.text, self.stream.final.start_s
            event, mentioned = self._event("final", text, start_s), bool(text or self._told)
            self.stream.reset()
            self._told = ""
            self._segment += mentioned
            return [event] if mentioned else []
        partial = self.stream.partial
        if partial.text == self._told:
            return []
        self._told = partial.text
        return [self._event("partial", partial.text, partial.start_s)]

    def _event(self, kind: str, text: str, start_s: float) -> Event:
        decoded_s = round(self.stream.decoded_s, 3)
        return {"type": kind, "segment": self._segment, "text": text, "start_s": start_s, "decoded_s": decoded_s}


def advance(recognizer: Recognizer, hearings: list[Hearing]) -> list[list[Event]]:
    """Decode a chunk of every stream that is ready, together; what each of them then has to tell."""
    recognizer.decode([hearing.stream for hearing in hearings])
    return [hearing.tell() for hearing in hearings]
