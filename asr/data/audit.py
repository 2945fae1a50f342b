"""Is this corpus fit to train on? Looks at every utterance once and says what is odd, and what leaks between splits."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor

from asr.data.loading import load_samples
from asr.data.manifests import transcript
from asr.data.page import heading, histogram, paragraph, table, write_page
from asr.errors import AudioError

SILENT_DBFS = -60.0
"""A tenth of a second whose power lies below this counts as silence."""
CLIPPED_AT = 0.999
MAX_CLIPPED = 0.001
"""Share of samples at full scale from which an utterance counts as clipped."""
MAX_SILENT = 0.7
"""Share of silence from which an utterance is odd."""
RATE_FACTOR = 3.0
"""Speaking so many times faster or slower than the corpus' median is odd: text and audio may not belong together."""
_MAX_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What one utterance's audio and text are like."""

    split: str
    id: str
    speaker: str
    text: str
    duration_s: float
    sample_rate: int
    """Of the recording, before any resampling, Hz."""
    clipped: float
    """Share of samples at full scale."""
    silent: float
    """Share of time in silence."""
    checksum: str
    """Of the samples, as 16-bit integers; "" where they cannot be read."""

    @property
    def characters_per_s(self) -> float:
        return len("".join(self.text.split())) / max(self.duration_s, 1e-3)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Everything found, as plain data."""

    splits: dict[str, dict[str, Any]]
    """By split: utterances, hours, speakers, characters per second (median), sample rates."""
    odd: dict[str, list[dict[str, Any]]]
    """Utterances by what is odd about them."""
    same_audio: list[list[str]]
    """Groups of utterances, as split/id, that are the same samples."""
    same_text_across: list[dict[str, Any]]
    """Transcripts that more than one split has, and where."""
    shared_speakers: list[str]
    """Speakers whom more than one split has."""
    new_characters: dict[str, str]
    """Characters of each other split that the first one lacks."""


def without_unions(splits: Mapping[str, CutSet]) -> dict[str, CutSet]:
    """Without `train` where `train-clean-100` and others make it up: such a split would be a leak of everything.

    A split is a union if every one of its cuts is in other splits that have nothing else. Names do not matter, nor do
    ids alone: `dev` and `dev-raw` may say the same of different audio.
    """
    contents = {name: set(map(_content, cuts)) for name, cuts in splits.items()}
    kept = dict(splits)
    for name in sorted(splits, key=lambda name: (-len(contents[name]), len(name), name)):  # of two alike, the shorter
        parts = [contents[other] for other in kept if other != name and contents[other] <= contents[name]]
        if contents[name] and set().union(*parts) == contents[name]:
            del kept[name]
    return kept


def _content(cut: Cut) -> int:
    """A number for what a cut is: its id, and where its audio lies."""
    return hash((cut.id, cut.start, *(str(source.source) for source in cut.recording.sources)))


def audit(splits: Mapping[str, CutSet], *, num_workers: int = 2, progress: Callable | None = None) -> Audit:
    """Read all audio of all splits.

    Args:
        splits: cuts by the split's name; the first one is what is trained on.
        num_workers: threads that read.
        progress: wraps the iteration, for a bar.
    """
    jobs = [(name, cut) for name, cuts in splits.items() for cut in cuts]
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        found = pool.map(lambda job: hear(*job), jobs)
        heard = list(progress(found, len(jobs)) if progress else found)
    return judge(heard)


def hear(split: str, cut: Cut) -> Heard:
    """Measure one utterance."""
    try:
        samples = load_samples(cut)
    except AudioError:
        samples = None
    return Heard(
        split=split,
        id=cut.id,
        speaker=next((s.speaker for s in cut.supervisions if s.speaker), ""),
        text=transcript(cut),
        duration_s=cut.duration,
        sample_rate=_rate_of(cut),
        clipped=0.0 if samples is None else float((samples.abs() >= CLIPPED_AT).float().mean()),
        silent=0.0 if samples is None else silent_share(samples, cut.sampling_rate),
        checksum="" if samples is None else _checksum(samples),
    )


def silent_share(samples: Tensor, rate: int) -> float:
    """Share of tenths of a second of (N,) samples that are silence."""
    size = max(rate // 10, 1)
    power = samples[: len(samples) // size * size or None].unflatten(0, (-1, min(size, len(samples)))).square().mean(1)
    return float((power < 10 ** (SILENT_DBFS / 10)).float().mean())


def _checksum(samples: Tensor) -> str:
    return hashlib.sha256((samples * 32768).round().clamp(-32768, 32767).short().numpy().tobytes()).hexdigest()


def _rate_of(cut: Cut) -> int:
    """The file's own rate: a cut that is resampled when it is read keeps it in the recording's transforms."""
    for change in cut.recording.transforms or []:
        values = change if isinstance(change, dict) else change.to_dict()
        if values.get("name") == "Resample":
            return int(values["kwargs"]["source_sampling_rate"])
    return int(cut.recording.sampling_rate)


def judge(heard: list[Heard]) -> Audit:
    """Draw conclusions from what was heard."""
    names = list(dict.fromkeys(one.split for one in heard))
    rates = [one.characters_per_s for one in heard if one.text]
    usual = median(rates) if rates else 0.0
    odd = {
        "cannot be read": [one for one in heard if not one.checksum],
        "no transcript": [one for one in heard if not one.text.strip()],
        "spoken too fast for its text": [one for one in heard if one.characters_per_s > RATE_FACTOR * usual > 0],
        "spoken too slowly for its text": [
            one for one in heard if one.text and one.characters_per_s < usual / RATE_FACTOR
        ],
        "clipped": [one for one in heard if one.clipped > MAX_CLIPPED],
        "mostly silence": [one for one in heard if one.silent > MAX_SILENT],
    }
    characters = {
        name: {c for one in heard if one.split == name for c in one.text if not c.isspace()} for name in names
    }
    return Audit(
        splits={name: _numbers([one for one in heard if one.split == name]) for name in names},
        odd={what: [asdict(one) for one in found] for what, found in odd.items()},
        same_audio=[places for places in _by(heard, lambda one: one.checksum).values() if len(places) > 1],
        same_text_across=[
            {"text": text, "where": places}
            for text, places in _by(heard, lambda one: one.text).items()
            if _across(places)
        ],
        shared_speakers=sorted(
            speaker for speaker, places in _by(heard, lambda one: one.speaker).items() if _across(places)
        ),
        new_characters={name: "".join(sorted(characters[name] - characters[names[0]])) for name in names[1:]},
    )


def _numbers(heard: list[Heard]) -> dict[str, Any]:
    rates = [one.characters_per_s for one in heard if one.text]
    return {
        "utterances": len(heard),
        "hours": sum(one.duration_s for one in heard) / 3600,
        "speakers": len({one.speaker for one in heard if one.speaker}),
        "characters_per_s": median(rates) if rates else 0.0,
        "sample_rates": dict(Counter(str(one.sample_rate) for one in heard)),
        "durations_s": [round(one.duration_s, 2) for one in heard],
    }


def _by(heard: Iterable[Heard], key: Callable[[Heard], str]) -> dict[str, list[str]]:
    """Utterances, as split/id, by a property; those without it are passed over."""
    found = defaultdict(list)
    for one in heard:
        if key(one):
            found[key(one)].append(f"{one.split}/{one.id}")
    return found


def _across(places: Iterable[str]) -> bool:
    """Whether utterances, as split/id, are of more than one split."""
    return len({place.split("/")[0] for place in places}) > 1


def write_audit(found: Audit, folder: Path) -> tuple[Path, Path]:
    """Write `audit.html` and `audit.json`; returns both paths."""
    page, data = folder / "audit.html", folder / "audit.json"
    folder.mkdir(parents=True, exist_ok=True)
    data.write_text(json.dumps(asdict(found), ensure_ascii=False, indent=1), encoding="utf-8")
    write_page(page, f"Audit of {folder}", _sections(found))
    return page, data


def _sections(found: Audit) -> Iterable[str]:
    columns = ("utterances", "hours", "speakers", "characters_per_s", "sample_rates")
    rows = [(name, *(numbers[column] for column in columns)) for name, numbers in found.splits.items()]
    yield table(("split", *(column.replace("_", " ") for column in columns)), rows)
    yield heading("Durations")
    yield histogram({name: numbers["durations_s"] for name, numbers in found.splits.items()}, "seconds")
    yield heading("Leaks between splits")
    across = [places for places in found.same_audio if _across(places)]
    yield paragraph(
        f"{len(across)} recordings and {len(found.same_text_across)} transcripts are in more than one split; "
        f"{len(found.shared_speakers)} speakers are; {len(found.same_audio) - len(across)} recordings are twice in one"
    )
    yield table(("the same audio",), ((", ".join(places),) for places in found.same_audio[:_MAX_ROWS]))
    shown = [(one["text"], ", ".join(one["where"][:6])) for one in found.same_text_across[:_MAX_ROWS]]
    yield table(("the same text", "where"), shown)
    yield heading("Characters")
    new = [(name, " ".join(characters) or "none") for name, characters in found.new_characters.items()]
    yield table(("split", "not in the first split"), new)
    for what, odd in found.odd.items():
        yield heading(f"{what.capitalize()}: {len(odd)}")
        yield table(
            ("split", "utterance", "seconds", "characters per s", "clipped %", "silent %", "text"),
            ([one["split"], one["id"], *_measures(one), one["text"]] for one in odd[:_MAX_ROWS]),
        )


def _measures(one: dict[str, Any]) -> list[float]:
    rate = Heard(**one).characters_per_s
    return [one["duration_s"], rate, 100 * one["clipped"], 100 * one["silent"]]
