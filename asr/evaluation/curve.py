"""Errors against latency: one checkpoint at many chunk sizes and left contexts, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    streamed = [r for r in reports if r.settings.get("chunk_size") is not None and r.delays and r.delays.emission]
    for left in sorted({int(report.settings["left_context"] or 0) for report in streamed}):
        points = [report for report in streamed if report.settings["left_context"] == left]
        points.sort(key=lambda report: report.delays.emission.mean_s)  # type: ignore[union-attr]
        delay = [report.delays.emission.mean_s for report in points]  # type: ignore[union-attr]
        rate = [100 * report.counts.rate for report in points]
        line = axes.plot(delay, rate, "o-", label=f"{left * CHUNK_FRAME_S:.2g} s of the past")[0]
        bounds = ([100 * r.interval.low for r in points], [100 * r.interval.high for r in points])
        axes.vlines(delay, *bounds, color=line.get_color(), alpha=0.25)
        for x, y, report in zip(delay, rate, points, strict=True):
            label = f"{int(report.settings['chunk_size'] or 0) * CHUNK_FRAME_S:.2g} s"
            axes.annotate(label, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7)
    for report in reports:
        if report.settings.get("chunk_size") is None:
            axes.axhline(100 * report.counts.rate, linestyle=":", color="grey", label="whole utterances")
    axes.set(xlabel="word shown after its end, s (mean)", ylabel="WER, %", ylim=(0, None), title=title)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=100, metadata={"Software": None})
