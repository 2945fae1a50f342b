"""What a prepared corpus holds, on one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lhotse.cut import Cut

from asr.data.manifests import read_cuts, transcript
from asr.data.page import heading, histogram, paragraph, table, write_page
from asr.errors import DataError
from asr.text import Tokenizer, load_tokenizer
from asr.text.tokenizer import UNKNOWN_ID

SUMMARY = "summary.html"
_MAX_ROWS = 200


class SplitSummary(NamedTuple):
    """One split, in numbers."""

    name: str
    utterances: int
    speakers: int
    durations_s: list[float]
    """Of every utterance."""
    characters: Counter[str]
    """How often each stands in the transcripts; white space is not counted."""

    @property
    def hours(self) -> float:
        return sum(self.durations_s) / 3600


def summarise(name: str, cuts: Iterable[Cut]) -> SplitSummary:
    """Go through a split once; no audio is read."""
    durations: list[float] = []
    speakers: set[str] = set()
    characters: Counter[str] = Counter()
    for cut in cuts:
        durations.append(cut.duration)
        speakers.update(s.speaker for s in cut.supervisions if s.speaker)
        characters.update("".join(transcript(cut).split()))
    return SplitSummary(name, len(durations), len(speakers), durations, characters)


def splits_of(folder: Path | str) -> dict[str, Path]:
    """The lists of cuts in a prepared folder, by split; raises DataError where there is none."""
    paths = {path.name[5 : -len(".jsonl.gz")]: path for path in sorted(Path(folder).glob("cuts-*.jsonl.gz"))}
    if not paths:
        raise DataError(f"there is no cuts-*.jsonl.gz in {folder}; give the folder of a prepared corpus")
    return paths


def unknown_characters(characters: Counter[str], tokenizer: Tokenizer) -> Counter[str]:
    """Those of which the tokenizer makes its unknown symbol."""
    return Counter({c: count for c, count in characters.items() if UNKNOWN_ID in tokenizer.encode(c)})


def write_summary(folder: Path | str) -> Path:
    """Write `folder/summary.html`, unless it is newer than everything it would be made of.

    Hours, utterances and speakers of every split, how long utterances are, what was rejected and why, and characters
    that the tokenizer does not know.
    """
    folder = Path(folder)
    page, quarantine, units = folder / SUMMARY, folder / "quarantine.tsv", folder / "tokenizer.json"
    sources = [path for path in [*splits_of(folder).values(), quarantine, units] if path.exists()]
    if page.exists() and page.stat().st_mtime_ns > max(path.stat().st_mtime_ns for path in sources):
        return page
    splits = [summarise(name, read_cuts(path, lazy=True)) for name, path in splits_of(folder).items()]
    rejected = [line.split("\t", 1) for line in _lines(quarantine)[1:]]
    sections = [
        table(
            ("split", "hours", "utterances", "speakers"), ((s.name, s.hours, s.utterances, s.speakers) for s in splits)
        ),
        heading("Durations"),
        histogram({split.name: split.durations_s for split in splits}, "seconds"),
        heading(f"Rejected: {len(rejected)}"),
        table(("utterance", "reason"), rejected[:_MAX_ROWS]) if rejected else paragraph("nothing"),
        paragraph(f"and {len(rejected) - _MAX_ROWS} more in {quarantine.name}") if len(rejected) > _MAX_ROWS else "",
        heading("Characters that the tokenizer does not know"),
        _unknown(splits, load_tokenizer(units)) if units.exists() else paragraph("there is no tokenizer yet"),
    ]
    write_page(page, f"Corpus in {folder}", sections)
    return page


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _unknown(splits: Iterable[SplitSummary], tokenizer: Tokenizer) -> str:
    rows = [(split.name, unknown_characters(split.characters, tokenizer)) for split in splits]
    if not any(unknown for _, unknown in rows):
        return paragraph("none")
    shown = (
        (name, "  ".join(f"{c} {n}×" for c, n in unknown.most_common(_MAX_ROWS)) or "none") for name, unknown in rows
    )
    return table(("split", "characters"), shown)
