"""What a run shows of itself: its page, and Weights & Biases where asked."""

from __future__ import annotations

import json
import re
import sys
from types import SimpleNamespace

import pytest

from asr.cli.main import main
from asr.errors import ConfigError
from asr.training.environment import git_state
from asr.training.journal import Journal
from tests.training.tiny import SHORT, overrides


def test_page_of_a_run(corpus, tmp_path):
    """One file: curves, examples, environment, configuration; nothing is fetched from anywhere."""
    short = [*SHORT, "training.validate_every=3", "training.log_every=1"]
    assert main(["train", *overrides(corpus, tmp_path, *short)]) == 0
    (start,) = (json.loads(line) for line in (tmp_path / "starts.jsonl").read_text().splitlines())
    assert start["step"] == 0 and start["processes"] == 1 and start["torch"] and start["command"].startswith("asr")
    assert main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64," in page and "Dev set, at step 6" in page
    for word in (start["torch"], start["code"], "num_steps: 6", "<th>recognised</th>"):
        assert word in page, word
    pairs = json.loads((tmp_path / "examples.json").read_text())["pairs"]
    assert pairs and all(reference in page for reference, _ in pairs)
    assert not re.search(r"(src|href)=.https?:", page)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    dev = [row for row in rows if row["kind"] == "dev"]
    assert [row["step"] for row in dev] == [3, 6]
    assert all(row["wall_s"] > 0 and row["cpu_s"] > 0 and row["hours"] > 0 for row in dev), "time to accuracy"


def test_numbers_go_to_weights_and_biases_when_asked(tmp_path, monkeypatch):
    logged: list[dict] = []
    run = SimpleNamespace(log=logged.append, finish=lambda: logged.append({}), define_metric=lambda *a, **k: None)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **settings: run))
    journal = Journal(tmp_path, num_steps=2, wandb="mine")
    journal.record("dev", 1, {"wer": 50.0})
    journal.close()
    assert logged == [{"dev/wer": 50.0, "step": 1}, {}]


def test_weights_and_biases_must_be_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="training.wandb=mine needs Weights & Biases; `pip install wandb`"):
        Journal(tmp_path, num_steps=2, wandb="mine")


def test_code_outside_a_repository(tmp_path):
    assert git_state(tmp_path) == "not in a git repository"
