"""From recordings and transcripts to a list of training material; what is unfit goes to quarantine, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lhotse import CutSet

from asr.text import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One transcribed stretch of a recording."""

    id: str
    """Unique name; becomes the cut's id."""
    audio: Path
    """WAV, FLAC, ... file; any rate and channel count that `read_audio` takes."""
    text: str
    """Normalised transcript."""
    speaker: str = ""
    """Speaker's name; empty where unknown."""
    start_s: float = 0.0
    """Where the utterance begins in the recording, seconds."""
    duration_s: float | None = None
    """Its length in seconds; None means to the end of the recording."""


class Rejected(NamedTuple):
    """An utterance that is not used, and why."""

    id: str
    reason: str


class Manifest(NamedTuple):
    """Usable cuts and the rejected rest."""

    cuts: CutSet
    rejected: list[Rejected]


def build_cuts(utterances: Iterable[Utterance], folder: Path, *, num_workers: int = 2) -> Manifest:
    """Read every recording once and make one cut per utterance; paths inside `folder` are stored relative to it."""
    raise NotImplementedError


def check_lengths(cuts: CutSet, tokenizer: Tokenizer, *, speeds: Sequence[float] = (1.0,)) -> Manifest:
    """Reject utterances too short for their transcript at the fastest of `speeds`."""
    raise NotImplementedError


def write_cuts(cuts: CutSet, path: Path) -> None:
    """Write a `cuts-*.jsonl.gz` file, whole or not at all."""
    raise NotImplementedError


def read_cuts(path: Path) -> CutSet:
    """Read a `cuts-*.jsonl.gz` file; relative audio and feature paths are resolved against its folder."""
    raise NotImplementedError


def write_quarantine(folder: Path, rejected: Iterable[Rejected]) -> None:
    """Merge `rejected` into `folder/quarantine.tsv` (id, reason)."""
    raise NotImplementedError


def cuts_from_paths(paths: Iterable[Path]) -> Manifest:
    """One cut per whole audio file, without transcript; unreadable files are rejected."""
    raise NotImplementedError
