"""The harness around the benchmarks; no time is asserted."""

from __future__ import annotations

import pytest

from asr.bench.catalogue import BENCHMARKS, find
from asr.bench.result import Row, keep, kept
from asr.bench.table import BEGIN, END, markdown_table, put_into
from asr.bench.timing import compare, interleave
from asr.cli.main import main
from asr.errors import ConfigError

MACHINE = {"cpu": "abacus", "threads": 1, "torch": "2.0", "matrix_gflops": 1e-6}


def test_sides_take_turns():
    calls = []
    timings = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warm_up=1)
    assert calls == list("ab" + "abbaab")
    assert {name: len(times) for name, times in timings.items()} == {"a": 3, "b": 3}


def test_ratios_are_taken_round_by_round():
    found = compare({"a": [1.0, 2.0, 9.0], "b": [2.0, 4.0, 2.0]}, "a", "b")
    assert found.value == 0.5 and found.medians == (2.0, 2.0)
    assert found.spread == (0.5, 2.5)


def test_bounds_go_both_ways():
    assert Row(work="", value=0.5, must=1.0).meets(0.5) is True
    assert Row(work="", value=0.5, at_most=False).meets(0.6) is False
    assert Row(work="", value=None).meets(0.6) is None


def test_results_are_kept_and_tabulated(tmp_path):
    rows = [
        Row(work="adding", value=1.25, must=1.1, aim=1.0, spread=(1.2, 1.3)),
        Row(work="x", value=None, note="no y"),
    ]
    keep(tmp_path, "sums", rows, MACHINE, took_s=1.0)
    found = kept(tmp_path, ["missing", "sums"])
    assert found == {"sums": (MACHINE, rows)}
    lines = markdown_table(found).splitlines()
    assert lines[2] == "| adding | 1.25 (missed) | 1.2–1.3 | ≤ 1.1 | ≤ 1 |  |"
    assert lines[3] == "| x | not measured |  |  |  | no y |"
    assert "abacus" in lines[-1]


def test_the_table_is_put_in_its_place(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    for _ in range(2):
        put_into(page, "new")
    assert page.read_text() == f"above\n{BEGIN}\nnew\n{END}\nbelow\n"
    page.write_text("nothing")
    with pytest.raises(ConfigError, match="no place for the table"):
        put_into(page, "new")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_run(name):
    assert callable(find(name).run)


def test_the_command_lists_them_and_knows_no_others(capsys):
    assert main(["bench"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in BENCHMARKS)
    assert main(["bench", "inferense"]) == 1
    assert "did you mean inference?" in capsys.readouterr().err
