"""How long a listener waits: the one definition of every delay that is reported here.

Delays are counted in audio: how much more of it must come in before something is shown. That is what the model imposes,
on an infinitely fast computer. What a real one adds, its computing time, is `asr.evaluation.speed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr.evaluation.wer import NOTHING, Unit, split_text
from asr.features.config import FbankConfig

FEATURE_FRAME_S = FbankConfig().shift / FbankConfig().sample_rate
WINDOW_REACH_S = (FbankConfig().window - FbankConfig().shift) / 2 / FbankConfig().sample_rate
"""By this much the window of a feature frame reaches beyond the frame's own 10 ms."""
FEATURES_PER_CHUNK_FRAME = 2
"""Chunk sizes are counted in 50 Hz frames, features in 100 Hz frames."""


def needed_s(num_features: int) -> float:
    """Seconds of a recording that must be in before its first `num_features` feature frames are complete."""
    return num_features * FEATURE_FRAME_S + WINDOW_REACH_S


@dataclass(frozen=True, kw_only=True)
class AlgorithmicLatency:
    """Seconds from a sound to the last audio its frame must wait for, on an infinitely fast computer."""

    mean_s: float
    """For a sound anywhere in its chunk."""
    worst_s: float
    """For a sound at the very start of its chunk."""


def algorithmic_latency(*, chunk_size: int | None, lookahead: int) -> AlgorithmicLatency | None:
    """Latency that follows from the model's structure; None where nothing comes before the utterance's end.

    Args:
        chunk_size: 50 Hz frames processed at a time; None is the whole utterance.
        lookahead: 100 Hz feature frames needed beyond the chunk's own, as the encoder declares them.
    """
    if chunk_size is None:
        return None
    frames = FEATURES_PER_CHUNK_FRAME * chunk_size
    worst_s = needed_s(frames + lookahead)
    return AlgorithmicLatency(mean_s=round(worst_s - frames * FEATURE_FRAME_S / 2, 6), worst_s=round(worst_s, 6))


class SpokenWord(NamedTuple):
    """Where a word, or a character where those are counted, is in its recording."""

    text: str
    start_s: float
    end_s: float


class Shown(NamedTuple):
    """What there is to read once `heard_s` seconds of the recording are in."""

    heard_s: float
    text: str


class Watched(NamedTuple):
    """One utterance as a listener saw it."""

    words: list[SpokenWord]
    """What was said, when."""
    shown: list[Shown]
    """Every text, in order; the last one is the answer."""
    final_s: float
    """Audio heard when the answer was declared final: at the recording's end, or at an endpoint."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a delay is distributed, in seconds of audio."""

    mean_s: float
    p50_s: float
    p95_s: float


@dataclass(frozen=True, kw_only=True)
class Delays:
    """What listeners of a test set waited for, and how steady it was."""

    emission: Spread | None
    """Of correct words: from a word's end in the audio until it is shown, all of it and from then on unchanged."""
    first_token: Spread | None
    """From the beginning of the first word until anything is shown."""
    finalisation: Spread | None
    """From the end of the last word until the answer is final: at the recording's end, or at an endpoint."""
    num_words: int
    """Correct words that were timed."""
    num_updates: int
    """How often a text was shown that differs from the one before."""
    num_revisions: int
    """How many of these took back something that had been shown."""
    positions: str
    """Where the words' times come from: "known", "aligned" (forced alignment by the model's CTC head), or "mixed"."""


def measure_delays(
    watched: Sequence[Watched], alignments: Sequence[Sequence[tuple[str, str]]], *, unit: Unit, positions: str
) -> Delays:
    """Summarise utterances.

    Args:
        alignments: of each utterance, pairs of reference and recognised word, as scoring finds them.
        unit: what counts as a word.
    """
    pairs = list(zip(watched, alignments, strict=True))
    emission = [delay for one, alignment in pairs for delay in word_delays(one, alignment, unit)]
    spoken = [one for one in watched if one.words]
    first = [seen[0] - one.words[0].start_s for one in spoken if (seen := [s.heard_s for s in one.shown if s.text])]
    return Delays(
        emission=spread(emission),
        first_token=spread(first),
        finalisation=spread([one.final_s - one.words[-1].end_s for one in spoken]),
        num_words=len(emission),
        num_updates=sum(len(updates(one.shown)) for one in watched),
        num_revisions=sum(count_revisions(one.shown) for one in watched),
        positions=positions,
    )


def word_delays(one: Watched, alignment: Sequence[tuple[str, str]], unit: Unit) -> list[float]:
    """Emission delays, in seconds, of the words of one utterance that were recognised."""
    appeared = appearances(one.shown, unit)
    found, spoken, said = [], 0, 0
    for reference, hypothesis in alignment:
        if reference == hypothesis and spoken < len(one.words):
            found.append(appeared[said] - one.words[spoken].end_s)
        spoken += reference != NOTHING
        said += hypothesis != NOTHING
    return found


def appearances(shown: Sequence[Shown], unit: Unit) -> list[float]:
    """For each word of the last text: how much audio was in when it, and all before it, stood there for good."""
    if not shown:
        return []
    final = split_text(shown[-1].text, unit)
    times, steady = [0.0] * len(final), len(final)
    for moment in reversed(shown):
        steady = min(steady, _common(split_text(moment.text, unit), final))
        times[:steady] = [moment.heard_s] * steady
    return times


def updates(shown: Sequence[Shown]) -> list[Shown]:
    """Those moments at which the text changed."""
    before = [Shown(0.0, ""), *shown]
    return [moment for previous, moment in zip(before, shown, strict=False) if moment.text != previous.text]


def count_revisions(shown: Sequence[Shown]) -> int:
    """How often something that was shown was taken back, or changed."""
    return sum(not later.text.startswith(earlier.text) for earlier, later in zip(shown, shown[1:], strict=False))


def spread(delays_s: Sequence[float]) -> Spread | None:
    """Mean, median and 95th percentile of delays in seconds; None of none."""
    if not len(delays_s):
        return None
    p50, p95 = np.percentile(delays_s, [50, 95]).tolist()
    return Spread(mean_s=round(float(np.mean(delays_s)), 4), p50_s=round(p50, 4), p95_s=round(p95, 4))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
