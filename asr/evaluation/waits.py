"""Delays and speed of test sets in words, for a terminal and for the page about a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from asr.evaluation.latency import AlgorithmicLatency, Delays, Spread
from asr.evaluation.report import Report
from asr.evaluation.speed import Speed

POSITIONS = {"aligned": ", by forced alignment", "mixed": ", some by forced alignment"}
"""Said of words whose times the corpus does not give."""


def latency_table(reports: Sequence[Report], *, title: str | None = None) -> Table:
    """One column per report, one row per figure; what nobody measured is left out."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("latency and speed")
    columns = [dict(latency_rows(report)) for report in reports]
    for report in reports:
        table.add_column(report.name, justify="right", no_wrap=True)
    for what in dict.fromkeys(what for column in columns for what in column):
        table.add_row(what, *(column.get(what, "–") for column in columns))
    return table


def latency_rows(report: Report) -> list[tuple[str, str]]:
    """What was measured, and the figures."""
    return [
        *(_algorithmic(report.latency) if report.latency else []),
        *(_delays(report.delays) if report.delays else []),
        *(speed_rows(report.speed) if report.speed else []),
    ]


def _algorithmic(latency: AlgorithmicLatency) -> list[tuple[str, str]]:
    return [("algorithmic latency, s (mean, worst)", f"{latency.mean_s:.2f} {latency.worst_s:.2f}")]


def _delays(delays: Delays) -> list[tuple[str, str]]:
    where = POSITIONS.get(delays.positions, "")
    rows = {
        f"word shown after its end, s (mean, 50, 95 %){where}": delays.emission,
        f"first text after speech began, s{where}": delays.first_token,
        f"final answer after speech ended, s{where}": delays.finalisation,
    }
    changed = f"{delays.num_revisions} of {delays.num_updates}"
    return [
        *((what, _figures(found)) for what, found in rows.items() if found),
        ("updates that took text back", changed),
    ]


def speed_rows(speed: Speed) -> list[tuple[str, str]]:
    """What the computer adds."""
    rows = []
    if chunk := speed.chunk_percentiles_ms:
        figures = " ".join(f"{chunk[p]:.1f}" for p in (50, 95, 99))
        rows.append(("computing per chunk of one stream, ms (50, 95, 99 %)", figures))
    rows.append(("real-time factor", f"{speed.real_time_factor:.4f}"))
    return [*rows, ("live streams per core at most", f"{speed.streams_per_core:.0f}")]


def _figures(found: Spread) -> str:
    return f"{found.mean_s:.2f} {found.p50_s:.2f} {found.p95_s:.2f}"
