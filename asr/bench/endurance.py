"""One stream for hours: what it remembers must not grow, and it must hear the last minute as well as the first."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from asr.evaluation.wer import ErrorCounts, Transcript, score_utterance
from asr.features import load_16k
from asr.streaming import Recognizer, Stream, StreamConfig

RATE = 16000
PIECE_S = 0.2
"""Audio is fed in pieces of this length."""
MINUTE_S = 60
SCORED_EVERY = 60
"""Minutes."""


class Utterance(NamedTuple):
    """What is said, over and over: (N,) samples at 16 kHz, and the words."""

    samples: Tensor
    text: str


class Minute(NamedTuple):
    """How things stand after another minute of audio."""

    minute: int
    """Minutes of audio heard, from 1."""
    resident_bytes: int
    """Memory of this process."""
    compute_s: float
    """Processor seconds of this minute."""
    errors: ErrorCounts | None
    """Once an hour, and at the end: of the words since the last time. One that is cut by the hour may count twice."""


def read_utterances(folder: Path, *, split: str = "test", count: int = 100) -> list[Utterance]:
    """The first utterances of a prepared corpus."""
    from asr.data import cuts_path, read_cuts, transcript

    cuts = read_cuts(cuts_path(folder, split)).subset(first=count)
    return [Utterance(load_16k(cut.recording.sources[0].source).samples, transcript(cut)) for cut in cuts]


def endure(
    recognizer: Recognizer, utterances: Sequence[Utterance], config: StreamConfig, *, minutes: int
) -> Iterator[Minute]:
    """Play utterances in a loop into one stream and tell after every minute of audio how it bears it."""
    stream, fed, heard_s = recognizer.stream(config), cycle(utterances), 0.0
    listener = _Listener(recognizer, stream)
    said: list[str] = []
    for minute in range(1, minutes + 1):
        started = time.process_time()
        while heard_s < MINUTE_S * minute:
            utterance = next(fed)
            said.append(utterance.text)
            for piece in utterance.samples.split(round(PIECE_S * RATE)):
                stream.accept(piece, RATE)
                listener.listen()
            heard_s += len(utterance.samples) / RATE
        spent_s = time.process_time() - started
        errors = None
        if minute % SCORED_EVERY == 0 or minute == minutes:
            errors = score_utterance(Transcript("", " ".join(said), listener.new_words())).counts
            said = []
        yield Minute(minute, resident_bytes(), spent_s, errors)


class _Listener:
    """Reads a stream as a client does, and keeps nothing but the words since it was last asked."""

    def __init__(self, recognizer: Recognizer, stream: Stream):
        self._recognizer, self._stream = recognizer, stream
        self._done: list[str] = []
        self._num_seen = 0  # words of the running segment that were handed out

    def listen(self) -> None:
        while self._recognizer.decode([self._stream]):
            if self._stream.is_endpoint:
                self._done += self._stream.final.text.split()[self._num_seen :]
                self._num_seen = 0
                self._stream.reset()

    def new_words(self) -> str:
        words = self._stream.partial.text.split()
        found = [*self._done, *words[self._num_seen :]]
        self._done, self._num_seen = [], len(words)
        return " ".join(found)


def growth(minutes: Sequence[Minute]) -> float:
    """The most that memory grew after the first minute, as a share of what it was then."""
    first = minutes[0].resident_bytes
    return max(minute.resident_bytes for minute in minutes) / first - 1


def resident_bytes() -> int:
    """Memory that this process occupies; where the system does not say, the most it ever did."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
