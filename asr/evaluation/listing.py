"""A text file that shows every error of a test set in its place."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from asr.evaluation.wer import NOTHING, ErrorCounts, Score, ScoredUtterance

GAP = "*"


class Confusions(NamedTuple):
    """How often which words were taken for which, left out, or made up."""

    substitutions: Counter[tuple[str, str]]
    deletions: Counter[str]
    insertions: Counter[str]


def count_confusions(score: Score) -> Confusions:
    """Tally the errors of all utterances by the words involved."""
    found = Confusions(Counter(), Counter(), Counter())
    for utterance in score.utterances:
        for ref, hyp in utterance.alignment:
            if hyp == NOTHING:
                found.deletions[ref] += 1
            elif ref == NOTHING:
                found.insertions[hyp] += 1
            elif ref != hyp:
                found.substitutions[ref, hyp] += 1
    return found


def write_listing(path: Path, score: Score, *, num_confusions: int = 20) -> None:
    """Write totals, the most frequent confusions, and all utterances aligned, sorted by id, as UTF-8 text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(format_listing(score, num_confusions=num_confusions), encoding="utf-8")


def format_listing(score: Score, *, num_confusions: int = 20) -> str:
    """The text that `write_listing` writes."""
    interval = score.interval
    parts = [
        f"{score.unit.value} error rate {score.rate:.2%}, 95 % interval {interval.low:.2%} to {interval.high:.2%}\n"
        f"{describe_counts(score.counts, score.unit.value)}\n"
        f"{score.string_error_rate:.2%} of {len(score.utterances)} utterances have an error\n",
        *_format_confusions(count_confusions(score), num_confusions),
        *(format_utterance(utterance, score.unit.value) for utterance in score.utterances),
    ]
    return "\n".join(parts)


def format_utterance(utterance: ScoredUtterance, unit: str) -> str:
    """Reference above hypothesis, in columns, with S, D or I under each difference."""
    rows = [["ref"], ["hyp"], ["   "]]
    for ref, hyp in utterance.alignment:
        width = max(display_width(ref), display_width(hyp))
        for row, word in zip(rows, (ref, hyp, _mark(ref, hyp)), strict=True):
            missing = word == NOTHING and row is not rows[2]
            row.append(GAP * width if missing else word + " " * (width - display_width(word)))
    lines = [" ".join(row).rstrip() for row in rows]
    return "\n".join([f"{utterance.id}: {describe_counts(utterance.counts, unit)}", *filter(None, lines)]) + "\n"


def describe_counts(counts: ErrorCounts, unit: str) -> str:
    """Errors in words, for people."""
    total = f"{counts.errors} errors in {counts.reference_words} {unit}s"
    return f"{total}: {counts.substitutions} substituted, {counts.deletions} deleted, {counts.insertions} inserted"


def display_width(word: str) -> int:
    """Columns that `word` takes in a terminal: two for a wide (Chinese, say) character, none for a combining mark."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in word
    )


def _mark(ref: str, hyp: str) -> str:
    if hyp == NOTHING:
        return "D"
    if ref == NOTHING:
        return "I"
    return "" if ref == hyp else "S"


def _format_confusions(confusions: Confusions, limit: int) -> list[str]:
    tables = {
        "substituted": {f"{ref} -> {hyp}": n for (ref, hyp), n in confusions.substitutions.items()},
        "deleted": confusions.deletions,
        "inserted": confusions.insertions,
    }
    blocks = []
    for title, table in tables.items():
        # Equal counts go by the alphabet, so that two runs can be compared line by line.
        ranked = sorted(table.items(), key=lambda entry: (-entry[1], entry[0]))[:limit]
        if ranked:
            blocks.append("\n".join([f"most often {title}", *(f"{n:6d}  {words}" for words, n in ranked)]) + "\n")
    return blocks
