"""The table of results, on a terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.bench.result import Row
from asr.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

HEADINGS = ("work", "measured", "spread", "must", "aim", "details")


def terminal_table(rows: Sequence[Row]) -> Table:
    """A table for rich to print, the verdict in the number's colour."""
    from rich.table import Table

    table = Table(*HEADINGS)
    for row in rows:
        colour = {True: "green", False: "red", None: "default"}[row.meets(row.must)]
        work, value, *rest = _cells(row)
        table.add_row(work, f"[{colour}]{value}[/]", *rest)
    return table


def markdown_table(results: Mapping[str, tuple[dict[str, Any], Sequence[Row]]]) -> str:
    """All kept results, {name: (machine, rows)}, one table for each machine they were measured on."""
    rows_of: dict[str, list[Row]] = {}
    rates_of: dict[str, list[float]] = {}
    for machine, rows in results.values():
        rows_of.setdefault(_sentence(machine), []).extend(rows)
        rates_of.setdefault(_sentence(machine), []).append(machine["matrix_gflops"])
    return "\n\n".join(
        f"{_markdown(rows)}\n\n{machine}; {_rates(rates_of[machine])}" for machine, rows in rows_of.items()
    )


BEGIN, END = "<!-- asr bench table -->", "<!-- until here -->"
"""Between these lines of a page the table stands."""


def put_into(page: Path, table: str) -> None:
    """Write `table` to its place in `page`, over the last one; raises ConfigError where there is none."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ConfigError(f"{page} has no place for the table; add the lines {BEGIN} and {END}")
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def _markdown(rows: Sequence[Row]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    value = "not measured" if row.value is None else _number(row.value)
    if row.meets(row.must) is False:
        value += " (missed)"
    spread = "" if row.spread is None else "–".join(map(_number, row.spread))
    return row.work, value, spread, _bound(row, row.must), _bound(row, row.aim), row.note


def _bound(row: Row, bound: float | None) -> str:
    return "" if bound is None else f"{'≤' if row.at_most else '≥'} {bound:g}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _sentence(machine: dict[str, Any]) -> str:
    return f"{machine['cpu']}, {machine['threads']} thread, torch {machine['torch']}"


def _rates(gflops: Sequence[float]) -> str:
    """What the machine was seen to do, run by run: a shared one is not always as fast."""
    low, high = f"{min(gflops):.0f}", f"{max(gflops):.0f}"
    return f"float32 matrix products {low if low == high else f'{low}–{high}'} GFLOP/s"
