"""Delays and speed of test sets in words, for a terminal and for the page about a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from asr.evaluation.latency import AlgorithmicLatency, Delays, Spread
from asr.evaluation.report import Report
from asr.evaluation.speed import Speed

POSITIONS = {"aligned": ", by forced alignment", "mixed": ", some by forced alignment"}
"""Said of words whose times the corpus does not give."""


def latency_table(reports: Sequence[Report]) -> Table:
    """One column per report, one row per figure."""
    return rows_table({r.name: latency_rows(r.latency, r.delays, r.speed) for r in reports})


def rows_table(columns: Mapping[str, Sequence[tuple[str, str]]]) -> Table:
    """Figures of one or more test sets side by side, for a terminal."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("latency and speed")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    found = [dict(rows) for rows in columns.values()]
    for what in dict.fromkeys(what for rows in found for what in rows):
        table.add_row(what, *(rows.get(what, "–") for rows in found))
    return table


def latency_rows(
    latency: AlgorithmicLatency | None, delays: Delays | None, speed: Speed | None
) -> list[tuple[str, str]]:
    """What was measured, and the figures; what was not is left out."""
    return [
        *(_algorithmic(latency) if latency else []),
        *(_delays(delays) if delays else []),
        *(_speed(speed) if speed else []),
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


def _speed(speed: Speed) -> list[tuple[str, str]]:
    """What the computer adds."""
    factor = ("real-time factor", f"{speed.real_time_factor:.4f}")
    chunk = speed.chunk_percentiles_ms
    if not chunk:  # whole utterances at once: no stream can do that
        return [factor]
    figures = " ".join(f"{chunk[p]:.1f}" for p in (50, 95, 99))
    return [
        ("computing per chunk of one stream, ms (50, 95, 99 %)", figures),
        factor,
        ("live streams per core at most", f"{speed.streams_per_core:.0f}"),
    ]


def _figures(found: Spread) -> str:
    return f"{found.mean_s:.2f} {found.p50_s:.2f} {found.p95_s:.2f}"
