"""asr report: what a run reached, on the screen and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr.cli.arguments import parse

USAGE = """usage: asr report EXP

Gathers what was measured of a run (results of `asr decode`, `asr export --verify`, training curves) into one table and
EXP/report.html.
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=1)
    from rich.console import Console
    from rich.table import Table

    from asr.errors import DataError
    from asr.evaluation.summary import read_reports, summary_rows, write_page

    run_dir = Path(arguments.positional[0])
    if not run_dir.is_dir():
        raise DataError(f"there is no run in {run_dir}; give the folder of a run, such as exp/demo")
    rows = summary_rows(run_dir, read_reports(run_dir))
    table = Table(title=f"Rill: {run_dir.name}", show_header=False)
    for row in rows:
        table.add_row(*row)
    table.add_row("report", str(write_page(run_dir, rows)))
    Console().print(table)
    return 0
