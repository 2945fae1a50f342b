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


def test_a_run_counted_in_epochs_tells_how_far_it_is(corpus, tmp_path, capsys):
    """Its bound of steps is no measure; how many there will be is known once an epoch is over."""
    epochs = [
        "training.num_epochs=3",
        "training.num_steps=1000000",
        "training.log_every=1",
        "training.validate_every=0",
    ]
    assert main(["train", *overrides(corpus, tmp_path, *epochs)]) == 0
    said = capsys.readouterr().err
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if row["kind"] == "train"]
    each = len(steps) // 3
    assert steps == list(range(1, 3 * each + 1)) and each > 1
    assert "parameters, 3 epochs" in said and "1000000" not in said
    lines = [line for line in said.splitlines() if line.startswith("step ") and "utt/s" in line]
    first, second, last = lines[0], lines[each], lines[-1]
    assert first.startswith("step 1, epoch 1/3  loss") and "left" not in first
    assert second.startswith(f"step {each + 1}/{3 * each}, epoch 2/3  loss") and second.endswith("min left")
    assert last.startswith(f"step {3 * each}/{3 * each}, epoch 3/3  loss") and last.endswith(" 0.0 min left")


def test_what_is_left_out_is_said_where_a_run_begins(corpus, tmp_path, capsys):
    said = []
    for limit, steps in ((30.0, 2), (0.45, 2), (0.45, 4)):
        run = overrides(corpus, tmp_path / f"{limit}", *SHORT, f"data.max_utterance_s={limit}")
        assert main(["train", *run, f"training.num_steps={steps}"]) == 0
        said.append([line for line in capsys.readouterr().err.splitlines() if "are left out" in line])
    assert [len(lines) for lines in said] == [0, 1, 0], "nothing is left out; something is; the run is resumed"
    assert said[1][0].startswith(f"{corpus}: 6 of 16 training utterances, counting every speed, are left out: 6 longer")


def test_the_length_of_a_run_is_that_of_its_epochs(trainer):
    """Also in the middle of one, and never above the bound of steps."""
    run = trainer("training.num_epochs=10", "training.num_steps=1000", "training.accumulate=2")
    position = run.position
    position.step, position.epoch, position.consumed = 13, 2, 5
    assert run._num_steps() == 50
    position.step, position.consumed = 400, 0
    assert run._num_steps() == 1000


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
