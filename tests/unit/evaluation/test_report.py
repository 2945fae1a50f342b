"""Reports as files and tables."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from asr.errors import DataError
from asr.evaluation.latency import algorithmic_latency
from asr.evaluation.report import load_report, make_table, summarise
from asr.evaluation.speed import measure_speed
from asr.evaluation.wer import Transcript, Unit, score


@pytest.fixture
def scored():
    return score([Transcript("a", "一 二 三", "一 三"), Transcript("b", "四", "四")], unit=Unit.CHARACTER)


def test_a_report_survives_its_file(tmp_path, scored):
    reports = [
        summarise("dev", scored),
        summarise(
            "test",
            scored,
            latency=algorithmic_latency(chunk_size=16, lookahead=13),
            speed=measure_speed([0.1, 0.2], audio_s=3.0),
            settings={"search": "beam", "chunk_size": 16, "left_context": None},
        ),
    ]
    for report in reports:
        path = tmp_path / "deep" / f"{report.name}.json"
        report.save(path)
        assert load_report(path) == report
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert plain["rate"] == 0.25
    assert plain["speed"]["real_time_factor"] == pytest.approx(0.1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 3}'])
def test_other_files_are_refused_by_name(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="other.json.*no report"):
        load_report(path)
    with pytest.raises(DataError, match="missing.json"):
        load_report(tmp_path / "missing.json")


def test_the_table_has_a_row_for_each_report(scored):
    fast = measure_speed([0.3], audio_s=3.0)
    reports = [summarise("dev", scored), summarise("test", scored, speed=fast, settings={"search": "beam"})]
    console = Console(width=160, record=True)
    console.print(make_table(reports, title="digits"))
    lines = console.export_text().splitlines()
    dev, test = (next(line for line in lines if line.startswith(f"{name} ")) for name in ("dev", "test"))
    assert " 25.00 " in dev and "beam" not in dev and " 50.0 " in dev
    assert "beam" in test and "0.100" in test
