"""A result with everything needed to believe it, as a file and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from asr.errors import DataError
from asr.evaluation.latency import AlgorithmicLatency, Delays, Spread
from asr.evaluation.speed import Speed
from asr.evaluation.wer import ErrorCounts, Interval, Score, Unit


@dataclass(frozen=True, kw_only=True)
class Report:
    """How one test set fared with one checkpoint and one search."""

    name: str
    """The test set, say `test`."""
    unit: Unit
    counts: ErrorCounts
    interval: Interval
    """95 % interval of the error rate."""
    string_error_rate: float
    """Share of utterances with any error."""
    num_utterances: int
    latency: AlgorithmicLatency | None = None
    """None when decoding waits for the end of the utterance."""
    speed: Speed | None = None
    """None where it was not measured."""
    delays: Delays | None = None
    """None where it was not measured."""
    settings: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    """What produced the result: checkpoint, search, chunk_size and left_context (50 Hz frames), command, commit."""

    def to_json(self) -> str:
        """Readable JSON that `from_json` turns back into an equal report."""
        plain = asdict(self) | {"unit": self.unit.value, "rate": self.counts.rate}
        if self.speed is not None:
            plain["speed"]["real_time_factor"] = self.speed.real_time_factor
            plain["speed"]["streams_per_core"] = self.speed.streams_per_core
        return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Write the JSON, making folders as needed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json(), encoding="utf-8")


def summarise(
    name: str,
    score: Score,
    *,
    latency: AlgorithmicLatency | None = None,
    speed: Speed | None = None,
    delays: Delays | None = None,
    settings: Mapping[str, str | int | float | bool | None] | None = None,
) -> Report:
    """The report of a scored test set."""
    return Report(
        name=name,
        unit=score.unit,
        counts=score.counts,
        interval=score.interval,
        string_error_rate=score.string_error_rate,
        num_utterances=len(score.utterances),
        latency=latency,
        speed=speed,
        delays=delays,
        settings=dict(settings or {}),
    )


def from_json(text: str) -> Report:
    """Read back what `Report.to_json` wrote.

    Raises:
        DataError: the text is not such a report.
    """
    try:
        return _from_plain(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"this is no report of a decoding run ({error!r}); reports are the JSON files that decoding writes"
        ) from error


def load_report(path: Path) -> Report:
    """Read a report's file; raises DataError, naming the file, when it holds something else."""
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, DataError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def make_table(reports: Sequence[Report], *, title: str | None = None) -> Table:
    """One row per report, for a terminal: `rich.print` shows it."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("set", "search"):
        table.add_column(heading, no_wrap=True)
    for heading in ("WER %" if _in_words(reports) else "CER %", "95 %", "S/D/I/all", "str %", "delay", "RTF"):
        table.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        table.add_row(report.name, _search(report), *_figures(report))
    return table


def _in_words(reports: Sequence[Report]) -> bool:
    return all(report.unit is Unit.WORD for report in reports)


def search_name(report: Report) -> str:
    """The search, and its settings that are not the defaults; of long ones the end."""
    told = ("search.", "unit", "attention_scale")  # the latter two only stand there where they are not the defaults
    settings = {key: _show(value) for key, value in report.settings.items() if key.startswith(told)}
    shown = [f"{key.removeprefix('search.')}={_end(value)}" for key, value in settings.items()]
    return " ".join([str(report.settings.get("search", "")), *shown])


def _end(text: str, longest: int = 24) -> str:
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def _search(report: Report) -> str:
    """Search, chunk and left context in few letters."""
    chunk, left = report.settings.get("chunk_size"), report.settings.get("left_context")
    return f"{search_name(report)} {'whole' if chunk is None else f'{chunk}/{_show(left)}'}"


def _figures(report: Report) -> list[str]:
    counts = report.counts
    return [
        f"{100 * counts.rate:.2f}",
        f"{100 * report.interval.low:.2f}–{100 * report.interval.high:.2f}",
        f"{counts.substitutions}/{counts.deletions}/{counts.insertions}/{counts.reference_words}",
        f"{100 * report.string_error_rate:.1f}",
        f"{report.latency.worst_s:.2f}" if report.latency else "–",
        f"{report.speed.real_time_factor:.3f}" if report.speed else "–",
    ]


def _show(value: Any) -> str:
    return "–" if value is None else str(value)


def _from_plain(plain: dict[str, Any]) -> Report:
    latency = plain["latency"]
    return Report(
        name=plain["name"],
        unit=Unit(plain["unit"]),
        counts=ErrorCounts(**plain["counts"]),
        interval=Interval(**plain["interval"]),
        string_error_rate=plain["string_error_rate"],
        num_utterances=plain["num_utterances"],
        latency=None if latency is None else AlgorithmicLatency(**latency),
        speed=_speed_from_plain(plain["speed"]),
        delays=_delays_from_plain(plain.get("delays")),
        settings=plain["settings"],
    )


def _speed_from_plain(plain: dict[str, Any] | None) -> Speed | None:
    if plain is None:
        return None
    # Derived figures are derived anew, and JSON has no whole numbers as keys.
    values = {key: value for key, value in plain.items() if key not in ("real_time_factor", "streams_per_core")}
    for key in ("step_percentiles_ms", "chunk_percentiles_ms"):
        values[key] = {int(p): value for p, value in plain.get(key, {}).items()}
    return Speed(**values)


def _delays_from_plain(plain: dict[str, Any] | None) -> Delays | None:
    """Reports of older versions have none."""
    if plain is None:
        return None
    spreads = {key: plain[key] and Spread(**plain[key]) for key in ("emission", "first_token", "finalisation")}
    return Delays(**{**plain, **spreads})
