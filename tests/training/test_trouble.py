"""Things that go wrong while training: each is survived, or ends in one sentence."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from asr.checkpoint.folder import epoch_ended, list_checkpoints, newest_good, step_of
from asr.checkpoint.format import read_checkpoint
from asr.config.compose import compose
from asr.errors import CheckpointError, RillError
from asr.training.build import build_trainer
from tests.training import troubles
from tests.training.child import asr
from tests.training.spoil import metrics, spoil_gradients, spoil_losses
from tests.training.tiny import SHORT, overrides


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_optimizer_call_for_a_loss_that_is_not_finite(trainer, tmp_path, value, caplog):
    run = trainer("training.log_every=1")
    spoil_losses(run, {2, 5}, value)
    called: list[int] = []
    step = run.snapshot.optimizer.step
    run.snapshot.optimizer.step = lambda: (called.append(run.position.step), step())[1]
    run.run()
    assert called == [1, 3, 4, 6]
    assert all(tensor.isfinite().all() for tensor in run.snapshot.model.state_dict().values())
    rows = {row["step"]: row for row in metrics(tmp_path)}
    assert [rows[step]["nonfinite_losses"] for step in range(1, 7)] == [0, 1, 1, 1, 2, 2]
    assert rows[2]["loss"] in ("nan", "inf") and isinstance(rows[3]["loss"], float)
    assert sum("the loss is not finite" in record.message for record in caplog.records) == 2


def test_gradients_that_are_not_finite_are_counted_and_harmless(trainer, tmp_path):
    run = trainer("training.log_every=1")
    spoil_gradients(run, {3})
    run.run()
    assert [row["nonfinite_grads"] for row in metrics(tmp_path)] == [0, 0, 1, 1, 1, 1]
    assert all(tensor.isfinite().all() for tensor in run.snapshot.model.state_dict().values())


def test_an_epoch_that_ends_in_trouble_is_not_kept(trainer, tmp_path):
    """The epochs of the tiny corpus have four steps."""
    run = trainer("training.num_steps=10", "training.keep_epochs=5", "training.keep_checkpoints=1")
    spoil_losses(run, {4}, float("nan"))
    lines: list[str] = []
    run.journal.line = lines.append
    run.run()
    ends = {step_of(path): epoch_ended(path) for path in list_checkpoints(tmp_path / "checkpoints")}
    assert ends == {8: 2, 10: None}
    assert [line for line in lines if "epoch" in line and "warning" in line] == [
        "warning: epoch 1 ends in the middle of trouble and is not kept"
    ]


def test_the_last_epoch_ends_with_the_run(trainer, tmp_path):
    """It is saved once validated; sooner, and a run killed in between would count as finished without."""
    every = ["training.checkpoint_every=3", "training.num_steps=100", "training.num_epochs=2"]
    run = trainer(*every, "training.keep_epochs=5")
    run.validate = lambda step: {"wer": 50.0, "saved": len(list_checkpoints(tmp_path / "checkpoints"))}
    run.run()
    ends = {step_of(path): epoch_ended(path) for path in list_checkpoints(tmp_path / "checkpoints")}
    assert ends == {0: None, 3: None, 4: 1, 6: None, 8: 2}
    (row,) = (row for row in metrics(tmp_path) if row["kind"] == "dev")
    assert row["saved"] == 4


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_gives_up_when_every_step_is_bad(trainer, kind):
    run = trainer("training.guard.patience=3", "training.guard.max_fallbacks=0")
    if kind == "loss":
        spoil_losses(run, {1, 3, 4, 5, 6}, float("nan"))
    else:
        spoil_gradients(run, {1, 3, 4, 5, 6})
    with pytest.raises(RillError, match="^3 steps in a row went wrong, the last at step 5 .*"):
        run.run()


def test_full_disk(corpus, tmp_path):
    run = ["train", *overrides(corpus, tmp_path, *SHORT)]
    outcome = asr(run, tmp_path / "log", trouble=partial(troubles.full_disk, 4))
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1].startswith("asr train: no space left to write checkpoint")
    assert "Traceback" not in outcome.err
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")][-1] == "step-000004.safetensors"
    assert newest_good(tmp_path / "checkpoints").path.name == "step-000004.safetensors"
    assert asr(run, tmp_path / "log").status == 0, "once there is space, the run goes on"


def test_really_full_disk(corpus, tmp_path):
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "x", tmp_path]).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        run = ["train", *overrides(corpus, tmp_path / "run", *SHORT)]
        outcome = asr(run, tmp_path.with_name("full-disk-log"))
        assert outcome.status == 1
        assert "no space left" in outcome.err.splitlines()[-1]
        assert "Traceback" not in outcome.err
        assert newest_good(tmp_path / "run" / "checkpoints") is not None
        assert not list((tmp_path / "run" / "checkpoints").glob(".*"))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory) -> Path:
    """A run of six steps, with all its checkpoints."""
    run_dir = tmp_path_factory.mktemp("finished")
    assert asr(["train", *overrides(corpus, run_dir, *SHORT)], run_dir / "log").status == 0
    return run_dir


def test_truncated_checkpoint_is_passed_over(corpus, finished):
    newest = list_checkpoints(finished / "checkpoints")[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) // 2])
    outcome = asr(["train", *overrides(corpus, finished, *SHORT)], finished / "log")
    assert outcome.status == 0, outcome.err
    said = " ".join(outcome.err.split())
    assert "step-000006.safetensors is damaged" in said and "trying the one before" in said
    assert "step-000004.safetensors at step 4" in said
    assert read_checkpoint(newest).metadata["training"]["step"] == 6


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("model.joiner_dim=20", "was made with another model"),
        ("training.seed=1", "was trained with training.seed=42, not 1"),
        ("data.seed=1", "was trained with data.seed=0, not 1"),
        ("data.folder={other}", "was made with another tokenizer"),
        (
            "data.max_duration_s=2.0",
            "with data.max_duration_s=2.5, not 2.0, so its steps saw other batches; go back to",
        ),
        ("data.speeds=[0.9,1.0]", r"with data.speeds=.*, not \[0.9, 1.0\], so its steps saw other batches; go back to"),
        ("training.accumulate=2", "with training.accumulate=1, not 2, so its steps saw other batches; go back to"),
    ],
)
def test_resuming_something_else_is_refused(corpus, finished, tmp_path, change, complaint):
    tokenizer = (corpus / "tokenizer.json").read_text()
    for path in corpus.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").write_text(tokenizer.replace('"e"', '"E"'))
    change = change.format(other=tmp_path)
    run = build_trainer(compose("train", overrides(corpus, finished, *SHORT, change)))
    with pytest.raises(CheckpointError, match=complaint) as caught:
        run.run()
    run.journal.close()
    assert "\n" not in str(caught.value)
