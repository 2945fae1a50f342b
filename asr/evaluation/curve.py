"""Errors against latency: one checkpoint at many chunk sizes and left contexts, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from asr.evaluation.report import Report

HEADINGS = (
    "chunk/left",
    "WER % (95 %)",
    "waits at most, s",
    "word shown after its end, s (mean, 95 %)",
    "first text, s",
    "computing per chunk, ms (50, 95, 99 %)",
    "real-time factor",
)
CHUNK_FRAME_S = 0.02


def curve_rows(reports: Sequence[Report]) -> list[tuple[str, ...]]:
    """One row of text per point, under `HEADINGS`."""
    return [_row(report) for report in reports]


def _row(report: Report) -> tuple[str, ...]:
    counts, interval, delays, speed = report.counts, report.interval, report.delays, report.speed
    emission, first = (delays.emission, delays.first_token) if delays else (None, None)
    chunk = speed.chunk_percentiles_ms if speed else {}
    return (
        _name(report),
        f"{100 * counts.rate:.2f} ({100 * interval.low:.2f}-{100 * interval.high:.2f})",
        f"{report.latency.worst_s:.2f}" if report.latency else "-",
        f"{emission.mean_s:.2f} {emission.p95_s:.2f}" if emission else "-",
        f"{first.mean_s:.2f}" if first else "-",
        " ".join(f"{chunk[p]:.0f}" for p in (50, 95, 99)) if chunk else "-",
        f"{speed.real_time_factor:.4f}" if speed else "-",
    )


def _name(report: Report) -> str:
    chunk, left = report.settings.get("chunk_size"), report.settings.get("left_context")
    return "whole" if chunk is None else f"{chunk}/{left}"


def markdown_table(reports: Sequence[Report]) -> str:
    """All points as a Markdown table, which reads well as plain text, too."""
    lines = [HEADINGS, ("---:",) * len(HEADINGS), *curve_rows(reports)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def draw_curve(reports: Sequence[Report], path: Path, *, title: str) -> None:
    """Write a PNG: error rate against the mean delay of a word, a line for each left context."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    lines = _lines(reports)
    for number, (left, points) in enumerate(lines.items()):
        # Later lines are thinner, for they may lie on earlier ones.
        width = 2.0 * (len(lines) - number)
        label = f"{left * CHUNK_FRAME_S:.2g} s of the past"
        drawn = axes.plot(
            [p.delay_s for p in points], [p.rate for p in points], "o-", lw=width, ms=3 + width, label=label
        )
        for point in points:
            axes.vlines(point.delay_s, point.low, point.high, color=drawn[0].get_color(), alpha=0.25, lw=width)
    for point in next(reversed(lines.values()), []):
        at = (point.delay_s, point.rate)
        axes.annotate(f"chunk {point.chunk_s:.2g} s", at, textcoords="offset points", xytext=(6, 6), fontsize=7)
    for report in reports:
        if report.settings.get("chunk_size") is None:
            axes.axhline(100 * report.counts.rate, linestyle=":", color="grey", label="whole utterances")
    axes.margins(x=0.12)
    axes.set(xlabel="word shown after its end, s (mean)", ylabel="WER, %", ylim=(0, None), title=title)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=100, metadata={"Software": None})


class _Point(NamedTuple):
    delay_s: float
    chunk_s: float
    rate: float
    low: float
    high: float


def _lines(reports: Sequence[Report]) -> dict[int, list[_Point]]:
    """{left context: points}, from the shortest delay to the longest; those without a delay are left out."""
    lines: dict[int, list[_Point]] = {}
    for report in reports:
        chunk, left, delays = report.settings.get("chunk_size"), report.settings.get("left_context"), report.delays
        if chunk is None or delays is None or delays.emission is None:
            continue
        percents = (100 * value for value in (report.counts.rate, report.interval.low, report.interval.high))
        point = _Point(delays.emission.mean_s, int(chunk) * CHUNK_FRAME_S, *percents)
        lines.setdefault(int(left or 0), []).append(point)
    return {left: sorted(points) for left, points in sorted(lines.items())}
