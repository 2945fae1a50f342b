"""asr compare: several runs beside each other, in one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.arguments import parse

if TYPE_CHECKING:
    from asr.evaluation import Report

USAGE = """usage: asr compare EXP [EXP ...]

Prints what runs reached, one row for each result of `asr decode` on the first test set, or on one speaker of it, as a
Markdown table: errors, latency, size and speed. EXP is the folder of a run.
"""

HEADINGS = (
    "run",
    "encoder",
    "parameters",
    "steps",
    "training: CPU s",
    "audio s per CPU s",
    "set",
    "search",
    "chunk/left",
    "WER % (95 %)",
    "waits at most, s",
    "word shown after its end, s (mean)",
    "real-time factor",
)


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=-1)
    lines = [HEADINGS, ("---",) * 2 + ("---:",) * (len(HEADINGS) - 2)]
    for run in arguments.positional:
        lines += rows(Path(run))
    for cells in lines:
        print(f"| {' | '.join(cells)} |")
    return 0


def rows(run_dir: Path) -> Iterator[tuple[str, ...]]:
    """One row of text per result of the run's first test set; raises DataError where there is none."""
    from asr.checkpoint.model import load_model
    from asr.errors import DataError
    from asr.evaluation.curve import curve_rows
    from asr.evaluation.report import search_name
    from asr.evaluation.summary import read_metrics, read_reports
    from asr.models.encoders import kind_of
    from asr.models.transducer import count_parameters

    loaded = load_model(run_dir)
    first = (loaded.metadata.get("origin", {}).get("test") or ["test"])[0]
    reports = [report for report in read_reports(run_dir) if _is_of(first, report)]
    if not reports:
        raise DataError(f"{run_dir} has no result on {first}; run `asr decode {run_dir}` first")
    model = (kind_of(loaded.model.config.encoder), f"{count_parameters(loaded.model):,}")
    for report, cells in zip(reports, curve_rows(reports)):
        chunk, rate, latency, shown, *_ = cells
        speed = f"{report.speed.real_time_factor:.4f}" if report.speed else "-"
        how = (report.name, search_name(report), chunk, rate, latency, shown.split()[0], speed)
        yield (run_dir.name, *model, *_training(read_metrics(run_dir)), *how)


def _is_of(name: str, report: Report) -> bool:
    """Whether a report is on the test set of this name, or on one speaker of it."""
    speaker = report.settings.get("speaker")
    return report.name == (name if speaker is None else f"{name}-{speaker}")


def _training(metrics: list[dict]) -> tuple[str, str, str]:
    """Steps, CPU seconds, and seconds of audio heard per CPU second; resumed runs count what they counted."""
    trained = [line for line in metrics if line["kind"] == "train"]
    if not trained:
        return "-", "-", "-"
    last = trained[-1]
    return str(last["step"]), f"{last['cpu_s']:.0f}", f"{3600 * last['hours'] / max(last['cpu_s'], 1e-9):.1f}"
