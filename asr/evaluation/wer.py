"""Error rates: alignments, counts, and how far a small test set can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import kaldialign
import numpy as np

from asr.errors import DataError

NOTHING = ""
"""Stands opposite an inserted or a deleted word in an alignment; no word is empty."""


class Unit(Enum):
    """What is counted."""

    WORD = "word"
    """Whatever white space separates: WER."""
    CHARACTER = "character"
    """Every character but white space, as usual for Mandarin: CER."""


def unit_of(metadata: Mapping[str, Any]) -> Unit:
    """What the recipe of a checkpoint counts; words where it does not say."""
    return Unit(metadata.get("origin", {}).get("unit", Unit.WORD.value))


class Transcript(NamedTuple):
    """What was said, and what was recognised."""

    id: str
    reference: str
    hypothesis: str


@dataclass(frozen=True, kw_only=True)
class ErrorCounts:
    """Edits that turn references into hypotheses, in words (or characters, with `Unit.CHARACTER`)."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_words: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word; may exceed 1, and is infinite for words where none were spoken."""
        if self.reference_words:
            return self.errors / self.reference_words
        return float("inf") if self.errors else 0.0

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            reference_words=self.reference_words + other.reference_words,
        )


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Bounds within which the error rate of another such test set lies with 95 % confidence."""

    low: float
    high: float


class ScoredUtterance(NamedTuple):
    """One utterance, word by word: `alignment` pairs reference with hypothesis, `NOTHING` where one lacks a word."""

    id: str
    alignment: list[tuple[str, str]]
    counts: ErrorCounts


@dataclass(frozen=True, kw_only=True)
class Score:
    """A scored test set."""

    unit: Unit
    utterances: list[ScoredUtterance]
    """Sorted by id."""
    counts: ErrorCounts
    interval: Interval
    """Of the error rate, from resampled utterances."""

    @property
    def rate(self) -> float:
        """Errors over reference words, both summed over the whole set."""
        return self.counts.rate

    @property
    def string_error_rate(self) -> float:
        """Share of utterances with any error at all."""
        return sum(utterance.counts.errors > 0 for utterance in self.utterances) / len(self.utterances)


def score(transcripts: Iterable[Transcript], *, unit: Unit = Unit.WORD, seed: int = 0) -> Score:
    """Align and count a test set; texts are compared as they are, so normalise both sides alike beforehand.

    Raises:
        DataError: an id occurs twice, or no reference holds any word.
    """
    utterances = sorted((score_utterance(transcript, unit=unit) for transcript in transcripts), key=lambda u: u.id)
    for one, next_one in zip(utterances, utterances[1:], strict=False):
        if one.id == next_one.id:
            raise DataError(f"utterance {one.id} occurs twice among the transcripts; ids must be unique to be scored")
    counts = sum((utterance.counts for utterance in utterances), ErrorCounts())
    if not counts.reference_words:
        raise DataError(f"no {unit.value} in any of {len(utterances)} references; check the test set's transcripts")
    interval = bootstrap_interval([utterance.counts for utterance in utterances], seed=seed)
    return Score(unit=unit, utterances=utterances, counts=counts, interval=interval)


def score_utterance(transcript: Transcript, *, unit: Unit = Unit.WORD) -> ScoredUtterance:
    """Align one hypothesis with its reference at unit costs (Levenshtein) and count the differences."""
    reference, hypothesis = split_text(transcript.reference, unit), split_text(transcript.hypothesis, unit)
    alignment = [tuple(pair) for pair in kaldialign.align(reference, hypothesis, NOTHING)]
    counts = ErrorCounts(
        substitutions=sum(NOTHING not in (ref, hyp) and ref != hyp for ref, hyp in alignment),
        deletions=sum(hyp == NOTHING for _, hyp in alignment),
        insertions=sum(ref == NOTHING for ref, _ in alignment),
        reference_words=len(reference),
    )
    return ScoredUtterance(transcript.id, alignment, counts)


def split_text(text: str, unit: Unit) -> list[str]:
    """The words, or the characters that are not white space, of `text`."""
    words = text.split()
    return words if unit is Unit.WORD else list("".join(words))


def bootstrap_interval(counts: Sequence[ErrorCounts], *, seed: int = 0, num_resamples: int = 1000) -> Interval:
    """95 % interval of the error rate when utterances are drawn again, with replacement.

    Source: Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation"; the
    bounds are percentiles of the resampled rates.
    """
    errors = np.array([count.errors for count in counts])
    words = np.array([count.reference_words for count in counts])
    generator = np.random.default_rng(seed)
    rates = np.empty(num_resamples)
    for i in range(num_resamples):
        drawn = generator.integers(0, len(counts), len(counts))
        rates[i] = errors[drawn].sum() / max(words[drawn].sum(), 1)
    low, high = np.percentile(rates, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))
