"""Faults while training: survived, explained, and repeated from what was kept of them."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch

from asr.checkpoint.folder import list_checkpoints
from asr.checkpoint.format import read_metadata
from asr.checkpoint.model import load_model
from asr.cli.main import main
from asr.errors import CheckpointError, ConfigError, RillError
from asr.training.evidence import read_evidence
from asr.training.examine import examine
from asr.training.guard import Guard, GuardConfig, Trouble
from asr.training.precision import Precision
from asr.training.trainer import Stopped
from tests.training.spoil import change_losses, metrics, spoil_batches, spoil_gradients, spoil_losses

NAN = float("nan")


def kept(run_dir):
    return sorted((run_dir / "trouble").glob("*.safetensors"))


def all_finite(trainer) -> bool:
    return all(tensor.isfinite().all() for tensor in trainer.snapshot.model.state_dict().values())


def test_audio_that_is_no_number(trainer, tmp_path, capsys):
    """One utterance of one batch: the step is left out, and the batch says whose fault it was."""
    run = trainer()
    spoilt: list[str] = []

    def spoil(batch) -> None:
        batch.features[1, 5] = NAN
        spoilt.append(batch.ids[1])

    spoil_batches(run, {3}, spoil)
    run.run()
    assert all_finite(run) and run.position.step == 6 and run.position.bad_losses == 1
    (path,) = kept(tmp_path)
    story = json.loads(path.with_suffix(".json").read_text())
    assert spoilt[0] in story["cuts"] and story["step"] == 3 and story["seed"] == 42
    capsys.readouterr()
    assert main(["train", "debug-batch", str(path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"diagnosis: the features of {spoilt[0]} are not finite" in said
    assert "the loss is not finite at step 3" in said and "outputs that are not finite" in said


def test_a_kept_batch_gives_the_loss_and_gradients_of_its_step(trainer, tmp_path):
    """Same model, same draws: what was met is met again, to the last bit."""
    run = trainer("training.regularisation_start=0")
    seen: list[float] = []
    change_losses(run, {4}, lambda total: (seen.append(total.item()), total + NAN)[1])
    run.run()
    evidence = read_evidence(kept(tmp_path)[0])
    assert evidence.trouble == Trouble.LOSS.value and evidence.moment.step == 4
    found = examine(evidence.objective, evidence.batch, evidence.moment)
    assert found.loss == seen[0]
    assert found.first_bad_output is None and not found.bad_gradients and len(found.gradients) > 50


def test_infinite_gradient_names_its_parameter(trainer, tmp_path, caplog):
    run = trainer("training.guard.patience=2", "training.guard.max_fallbacks=0")
    spoil_gradients(run, {3, 4})
    with pytest.raises(
        RillError, match="2 steps in a row went wrong, the last at step 4 .a gradient is not finite.; "
    ) as e:
        run.run()
    assert "the first parameter whose gradient is not finite is joiner.output_linear.bias, one of 1" in str(e.value)
    assert "asr train debug-batch" in str(e.value) and "\n" not in str(e.value)
    assert len(kept(tmp_path)) == 2


def test_gives_up_naming_the_module(trainer):
    """A weight gone wrong, as after a step too far."""
    run = trainer("training.guard.patience=2", "training.guard.max_fallbacks=0")
    with torch.no_grad():
        run.snapshot.model.encoder.stacks[1].layers[0].feed_forward2.out_proj.weight[0, 0] = torch.inf
    with pytest.raises(RillError) as caught:
        run.run()
    assert "the first module whose output is not finite is encoder.stacks.1.layers.0.feed_forward2" in str(caught.value)


def test_one_exploding_batch_is_counted_and_bounded(trainer, tmp_path):
    run = trainer("training.num_steps=30", "training.log_every=1")
    change_losses(run, {25}, lambda total: total * 1e3)
    run.run()
    rows = {row["step"]: row for row in metrics(tmp_path)}
    assert [rows[step]["exploded_losses"] for step in (24, 25, 30)] == [0, 1, 1]
    assert rows[30]["loss"] < 2 * rows[24]["loss"]
    assert read_evidence(kept(tmp_path)[0]).trouble == Trouble.EXPLOSION.value


def test_eight_fold_rate_survives(trainer, tmp_path):
    """The recipe's rate times eight, without warm-up."""
    run = trainer("optim.lr=0.32", "schedule.warmup_steps=0", "training.num_steps=60", "training.log_every=10")
    run.run()
    losses = [row["loss"] for row in metrics(tmp_path)]
    assert all_finite(run) and losses[-1] < losses[0]


FALL = ["training.num_steps=8", "training.guard.patience=3", "training.log_every=1"]


def test_falls_back_to_the_last_good_state_at_a_lower_rate(trainer, tmp_path, caplog):
    run = trainer(*FALL)
    spoil_losses(run, {5, 6, 7}, NAN, times=3)
    run.run()
    assert "back to step 4, from there with fp32 and 0.5 times the learning rate" in caplog.text
    steps = [row["step"] for row in metrics(tmp_path)]
    assert steps == [1, 2, 3, 4, 5, 6, 5, 6, 7, 8]  # the third bad one ends in the fallback, before it is logged
    rates = {row["step"]: row["lr"] for row in metrics(tmp_path)}
    assert rates[5] == pytest.approx(0.5 * run.stepper.schedule.rate(5))
    saved = read_metadata(list_checkpoints(tmp_path / "checkpoints")[-1])["training"]
    assert (saved["guard"]["fallbacks"], saved["guard"]["rate_factor"], saved["bad_losses"]) == (1, 0.5, 0)


def test_falls_back_to_float32_first(trainer, caplog):
    run = trainer(*FALL, "training.precision=BF16")
    spoil_losses(run, {5, 6, 7}, NAN, times=3)
    run.run()
    assert "from there with fp32 and 1 times the learning rate" in caplog.text


def test_no_loss_scale_is_left_after_float16(trainer, tmp_path, caplog):
    """It would hide gradients that are not finite."""
    run = trainer(*FALL, "training.precision=FP16")
    run.snapshot.loss_scale.value = 8.0
    spoil_losses(run, {5, 6, 7}, NAN, times=3)
    spoil_gradients(run, {8})
    run.run()
    assert "from there with fp32" in caplog.text and run.snapshot.loss_scale.value == 1.0
    assert "step 8: a gradient is not finite; all gradients count as zero (" in caplog.text
    rows = metrics(tmp_path)
    assert rows[0]["loss_scale"] > 1.0 and rows[-1]["loss_scale"] == 1.0


def test_no_checkpoint_is_written_in_the_middle_of_trouble(trainer, tmp_path):
    run = trainer("training.num_steps=7")
    spoil_losses(run, {3, 4, 5}, NAN)
    run.run()
    names = [path.stem for path in list_checkpoints(tmp_path / "checkpoints")]
    assert names == ["step-000000", "step-000002", "step-000006", "step-000007"]


@pytest.mark.parametrize("stop", [None, 4])
def test_a_checkpoint_due_in_trouble_is_written_after_it(trainer, tmp_path, stop):
    """Not a whole period later; also where the run was stopped in between."""
    bad = {3, 4}
    if stop is not None:
        run = trainer("training.num_steps=9", "training.checkpoint_every=4")
        spoil_losses(run, bad, NAN)
        run._after_step = lambda calm: run.position.step == stop and os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            run.run()
    run = trainer("training.num_steps=9", "training.checkpoint_every=4")
    spoil_losses(run, bad, NAN)
    run.run()
    names = [path.stem for path in list_checkpoints(tmp_path / "checkpoints")]
    stopped = [] if stop is None else [f"step-{stop:06d}"]
    assert names == ["step-000000", *stopped, "step-000005", "step-000008", "step-000009"]


def test_what_cannot_be_kept_ends_no_run(trainer, tmp_path, caplog):
    run = trainer()
    (tmp_path / "trouble" / "step-000003-0.json").mkdir(parents=True)
    spoil_losses(run, {3}, NAN)
    run.run()
    assert run.position.step == 6 and "Is a directory" in caplog.text


def test_guard_judges_by_the_median_of_good_steps():
    guard = Guard(GuardConfig(explosion=10.0, patience=2))
    for _ in range(Guard.ENOUGH):
        assert guard.judge(True, 1000.0) is None, "nothing is usual yet"
        guard.note(None, 1.0)
    assert guard.judge(False, NAN) is Trouble.LOSS
    assert guard.judge(True, 11.0) is Trouble.EXPLOSION and guard.judge(True, 9.0) is None
    assert not guard.note(Trouble.EXPLOSION, 11.0)
    assert guard.note(Trouble.GRADIENT, 1.0), "two in a row"
    again = Guard(GuardConfig(), Precision.BF16)
    again.load_state(guard.to_state())
    assert again.state.recent == guard.state.recent and again.state.in_a_row == 2
    assert again.state.precision is Precision.BF16, "a run's setting, until a fallback has changed it"


@pytest.mark.parametrize("losses", [[-0.2, -0.1, -0.1, -0.05], [-0.1, 0.0, 0.0, 0.1], [0.0], [-0.02, 0.01, 0.02]])
def test_losses_around_zero_explode_no_earlier(losses):
    """A penalty on delay takes them there: steps as usual are none, and one a thousand times as large is."""
    guard = Guard(GuardConfig())
    for number in range(Guard.MEMORY):
        guard.note(guard.judge(True, losses[number % len(losses)]), losses[number % len(losses)])
    assert guard.state.exploded == 0
    assert guard.judge(True, max(losses) + 0.05) is None
    assert guard.judge(True, 100.0) is Trouble.EXPLOSION


@pytest.mark.parametrize("setting", ["patience=0", "explosion=1.0", "rate_factor=1.0", "max_fallbacks=-1"])
def test_meaningless_guards_are_named(trainer, setting):
    with pytest.raises(ConfigError, match=f"training.guard.{setting}"):
        trainer(f"training.guard.{setting}")


def test_evidence_and_models_are_not_mistaken_for_each_other(trainer, tmp_path):
    run = trainer()
    spoil_losses(run, {2}, NAN)
    run.run()
    with pytest.raises(CheckpointError, match="holds no speech recognition model"):
        load_model(kept(tmp_path)[0])
    with pytest.raises(CheckpointError, match="holds no batch"):
        read_evidence(list_checkpoints(tmp_path / "checkpoints")[-1])
