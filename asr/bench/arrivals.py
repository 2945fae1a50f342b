"""Live streams on a simulated clock: audio arrives when it would, the work is really done, and lateness is the result.

The clock stands while nothing is to be done and moves on by what the processor was busy: one thread on one core, less
what other programs took of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from torch import Tensor

from asr.evaluation.latency import FEATURES_PER_CHUNK_FRAME, needed_s
from asr.evaluation.speed import percentiles
from asr.models.encoder import features_ahead
from asr.streaming import Recognizer, Stream, StreamConfig

RATE = 16000
PIECE_S = 0.1
"""Audio arrives in packets of this length."""


class Load(NamedTuple):
    """How a processor bore its streams."""

    num_streams: int
    late_s: list[float]
    """Of every chunk: from the arrival of the last audio it needs until its text is there."""
    busy: float
    """Share of the time in which the processor worked; 1 is all it has."""
    num_tokens: int
    """Tokens that all streams emitted."""
    audio_s: float
    """Audio that all streams heard."""
    worst_s: float = 0.0
    """What 95 % of chunks stay below in the stream that was kept waiting most."""


class Caller:
    """A stream with a recording that it plays in a loop, and the chunks that it still waits for."""

    def __init__(self, stream: Stream, audio: Tensor, *, start_s: float):
        self.stream, self._audio, self._start_s = stream, audio, start_s
        self._sent = self._answered = self.num_tokens = 0
        self.late_s: list[float] = []

    @property
    def next_arrival_s(self) -> float:
        """When the next packet is complete."""
        return self._start_s + (self._sent + 1) * PIECE_S

    @property
    def heard_s(self) -> float:
        return self._sent * PIECE_S

    def send(self) -> None:
        """The next packet arrives."""
        size = round(PIECE_S * RATE)
        at = (self._sent * size) % (len(self._audio) - size)
        self.stream.accept(self._audio[at : at + size], RATE)
        self._sent += 1

    def answered(self) -> float:
        """Note that a chunk was decoded; returns when the last audio it needs had arrived."""
        self._answered += 1
        frames = FEATURES_PER_CHUNK_FRAME * self.stream.config.chunk_size * self._answered
        ahead = features_ahead(self.stream.model.encoder, self.stream.config.context)
        packets = -(-needed_s(frames + ahead) // PIECE_S)
        if self.stream.is_endpoint:
            self.num_tokens += len(self.stream.final.tokens)
            self.stream.reset()
        else:
            _ = self.stream.partial  # a client is shown it
        return self._start_s + packets * PIECE_S


def serve(
    recognizer: Recognizer,
    recordings: Sequence[Tensor],
    *,
    num_streams: int,
    config: StreamConfig,
    duration_s: float,
    busy_s: Callable[[], float] = time.process_time,
) -> Load:
    """Let `num_streams` callers speak at once, for `duration_s` seconds each, their beginnings spread over a chunk.

    Args:
        recordings: (N,) samples at 16 kHz each, taken in turns.
        busy_s: the processor's clock.
    """
    chunk_s = config.chunk_size * FEATURES_PER_CHUNK_FRAME / 100
    callers = [
        Caller(recognizer.stream(config), recordings[i % len(recordings)], start_s=chunk_s * i / num_streams)
        for i in range(num_streams)
    ]
    arrivals = [(caller.next_arrival_s, i) for i, caller in enumerate(callers)]
    heapify(arrivals)
    now = worked = 0.0
    late_s: list[float] = []
    while arrivals:
        now = max(now, arrivals[0][0])
        before = busy_s()
        while arrivals and arrivals[0][0] <= now:
            _, i = heappop(arrivals)
            callers[i].send()
            if callers[i].heard_s < duration_s:
                heappush(arrivals, (callers[i].next_arrival_s, i))
        ready = [caller for caller in callers if caller.stream.ready]
        recognizer.decode([caller.stream for caller in ready])
        due = [caller.answered() for caller in ready]
        spent = busy_s() - before
        now, worked = now + spent, worked + spent
        for caller, at in zip(ready, due):
            caller.late_s.append(now - at)
            late_s.append(now - at)
    worst_s = max(percentiles(caller.late_s)[95] for caller in callers if caller.late_s)
    tokens = sum(caller.num_tokens + len(caller.stream.partial.tokens) for caller in callers)
    audio_s = sum(caller.heard_s for caller in callers)
    return Load(num_streams, late_s, worked / now, tokens, audio_s, worst_s)
