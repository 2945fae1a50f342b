"""asr bench: measure speed and memory, side by side with what they are compared with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from asr.cli.arguments import parse
from asr.errors import ConfigError

USAGE = """usage: asr bench [NAME ... | all | table [FILE]]

Measures on one thread and one core, prints a table and keeps it in exp/bench/NAME.json. Without a name: lists the
benchmarks. `table` prints everything kept so far as Markdown, or writes it to its place in FILE, such as README.md.
Close other programs first; each takes a minute or two.
"""

FOLDER = Path("exp/bench")


def main(argv: Sequence[str]) -> int:
    names = parse(argv, usage=USAGE, at_most=-1).positional
    from asr.bench.catalogue import BENCHMARKS

    if not names:
        _list(BENCHMARKS)
        return 0
    if names[0] == "table" and len(names) <= 2:
        # The profile is a picture.
        _tabulate([name for name in BENCHMARKS if name != "profile"], Path(names[1]) if names[1:] else None)
        return 0
    names = list(BENCHMARKS) if names == ["all"] else names
    for name in names:
        if name not in BENCHMARKS:
            close = get_close_matches(name, BENCHMARKS, n=1)
            hint = f"did you mean {close[0]}?" if close else "`asr bench` lists them"
            raise ConfigError(f"there is no benchmark {name!r}; {hint}")
    _measure(names)
    return 0


def _list(benchmarks: dict[str, str]) -> None:
    width = max(map(len, benchmarks))
    for name, text in benchmarks.items():
        print(f"  {name:<{width}}  {text}")


def _tabulate(names: Sequence[str], page: Path | None) -> None:
    from asr.bench.result import kept
    from asr.bench.table import markdown_table, put_into

    found = kept(FOLDER, names)
    if page is not None and found:
        put_into(page, markdown_table(found))
    else:
        print(markdown_table(found) or "nothing is kept yet; run asr bench all")


def _measure(names: Sequence[str]) -> None:
    from rich.console import Console

    from asr.bench.catalogue import run_benchmark
    from asr.bench.machine import describe_machine
    from asr.bench.result import keep
    from asr.bench.table import terminal_table
    from asr.bench.timing import settle

    settle()
    machine = describe_machine()
    console = Console()
    rows = []
    for name in names:
        started = time.perf_counter()
        with console.status(f"measuring {name}"):
            found = run_benchmark(name)
        keep(FOLDER, name, found, machine, took_s=time.perf_counter() - started)
        rows += found
    console.print(terminal_table(rows))
    console.print(f"{machine['cpu']}, float32 products {machine['matrix_gflops']} GFLOP/s; kept in {FOLDER}")
