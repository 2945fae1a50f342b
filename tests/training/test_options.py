"""Precision, accumulation, recomputing, compiling: other ways to the same step."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
import torch

from asr.checkpoint.format import read_checkpoint
from asr.cli.main import main
from asr.training.compiled import FORMULAS
from asr.training.examine import Moment
from asr.training.lr_range import _has_diverged
from asr.training.memory import made_up, peak_bytes
from asr.training.precision import LossScale, Precision
from tests.training.spoil import metrics
from tests.training.tiny import SHORT, overrides


def gradients(run) -> list[torch.Tensor]:
    """Of one batch, with every regulariser drawing."""
    batch = made_up(1.5, 4, 3, run.snapshot.model.config)
    run.objective.train()
    run.stepper._move_clock(1)
    Moment(1, 0, 0, Precision.FP32).seed_all()
    wanted = [parameter for parameter in run.objective.parameters() if parameter.requires_grad]
    loss = run.objective(*batch[:4], step=1)
    return [found for found in torch.autograd.grad(loss.total, wanted, allow_unused=True) if found is not None]


def test_recomputed_layers_have_the_same_gradients_and_less_to_remember(trainer):
    settings = "training.regularisation_start=0"  # where skipping and dropping out are at their most frequent
    plain, forgetful = trainer(settings), trainer(settings, "training.recompute=true")
    for mine, other in zip(gradients(forgetful), gradients(plain)):
        assert torch.equal(mine, other)
    needs = [peak_bytes(lambda run=run: gradients(run), torch.device("cpu")) for run in (plain, forgetful)]
    assert needs[1] < needs[0]  # most of so small a model lies in front of its layers


@pytest.mark.parametrize("precision", ["BF16", "FP16"])
def test_narrow_precision_learns_about_the_same(trainer, tmp_path, precision):
    run = trainer(f"training.precision={precision}", "training.log_every=1")
    run.run()
    rows = metrics(tmp_path)
    wide = trainer("training.log_every=1")
    loss = wide.stepper.step([next(wide.data.epoch(0))]).per_frame
    assert rows[0]["loss"] == pytest.approx(loss, rel=0.02) and rows[0]["loss"] != loss
    assert rows[-1]["nonfinite_grads"] == 0
    state = run.snapshot.model.state_dict().values()
    assert all(tensor.isfinite().all() and tensor.dtype != torch.bfloat16 for tensor in state)


def test_loss_scale_rises_slowly_and_falls_at_once():
    scale = LossScale(period=2)
    for good in (True, True, True, True, False, True):
        scale.update(good, 1)
    assert (scale.value, scale.good_steps) == (2.0, 1)
    gradients = [torch.full((3,), 4.0), None]
    scale.unscale(gradients)
    assert gradients[0].tolist() == [2.0] * 3
    again = LossScale()
    again.load_state(scale.to_state())
    assert again.value == 2.0
    for _ in range(100):
        scale.update(False, 1)
    assert scale.value == LossScale.LIMITS[0]


def test_loss_scale_grows_at_the_published_steps():
    """Of an epoch quickly to 2, slowly to 8 and 32, and then only with every 2000 good steps."""
    scale, rises = LossScale(), {}
    for index in range(2100):
        before = scale.value
        scale.update(True, index)
        if scale.value != before:
            rises[index] = scale.value
    assert rises == {0: 2.0, 100: 4.0, 200: 8.0, 400: 16.0, 800: 32.0, 1999: 64.0}


def test_loss_scale_follows_the_steps_of_an_epoch(trainer):
    """Of two batches each; the last one may be shorter."""
    run, seen = trainer("training.precision=FP16", "training.accumulate=2"), []
    run.snapshot.loss_scale.update = lambda is_good, index: seen.append((is_good, index))
    batch = made_up(1.0, 4, 2, run.snapshot.model.config)
    spoilt = batch._replace(features=batch.features * torch.nan)
    for consumed, batches in ((0, [batch, batch]), (2, [batch, batch]), (4, [batch]), (0, [spoilt])):
        run.position.consumed = consumed
        run.stepper.step(batches)
    assert seen == [(True, 0), (True, 1), (True, 2), (False, 0)]


@pytest.mark.parametrize("precision", ["FP16", "FP32"])
def test_scaled_losses_move_parameters_alike(trainer, monkeypatch, precision):
    """A power of two cancels out exactly, where products do not round; and what is left of it in float32 is nothing."""
    monkeypatch.setattr(Precision, "autocast", lambda self, device: nullcontext())
    runs = [trainer("training.num_steps=2", "data.seed=5", f"training.precision={precision}") for _ in range(2)]
    runs[1].snapshot.loss_scale.value = 64.0
    assert runs[1].snapshot.scale == (64.0 if precision == "FP16" else 1.0)
    for run in runs:
        run.stepper.step([next(run.data.epoch(0))])
    plain, scaled = (run.snapshot.model.state_dict() for run in runs)
    for name, tensor in plain.items():
        torch.testing.assert_close(scaled[name], tensor, rtol=1e-5, atol=1e-7)


def test_what_cannot_be_compiled_is_said_in_a_sentence(trainer, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise RuntimeError("no compiler here\nsecond line")

    monkeypatch.setattr(torch, "compile", refuse)
    run = trainer("training.compile=true")
    said = "torch.compile cannot compile the formulas here (no compiler here); going on without"
    assert said in " ".join(capsys.readouterr().err.split())
    run.stepper.step([next(run.data.epoch(0))])


@pytest.mark.slow
@pytest.mark.skipif(" " in sys.prefix, reason="torch's compiler cannot be used below a path with spaces")
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # within torch
def test_compiled_formulas_learn_the_same(trainer, monkeypatch, capsys):
    plain = trainer()
    expected = gradients(plain)
    for module, name in FORMULAS:
        monkeypatch.setattr(module, name, getattr(module, name))  # puts it back afterwards
    run = trainer("training.compile=true")
    assert "going on without" not in capsys.readouterr().err
    assert all(hasattr(getattr(module, name), "_torchdynamo_orig_callable") for module, name in FORMULAS)
    for mine, other in zip(gradients(run), expected):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3 * other.abs().max().item())
    assert run.stepper.step([next(run.data.epoch(0))]).trouble is None


def test_average_compares_and_shows_a_curve(corpus, trainer, tmp_path, capsys):
    run = trainer("training.ema_decay=0.5", "training.average_period=2")
    run.run()
    assert main(["average", str(tmp_path), "chunk_size=16", "left_context=16"]) == 0
    said = capsys.readouterr().out
    for name in ("step 6", "exponential average", "steps 4 to 6 averaged", "steps 2 to 6 averaged"):
        assert f"{name}: dev error rate" in said
    assert (tmp_path / "average.png").read_bytes().startswith(b"\x89PNG")
    notes = read_checkpoint(tmp_path / "averaged.safetensors").metadata["average"]
    assert min(point["rate"] for point in notes["curve"]) == notes["dev_wer"]


def test_rates_are_tried_and_drawn(corpus, tmp_path, capsys):
    command = ["train", "lr-range", *overrides(corpus, tmp_path, *SHORT), "lr_range.steps=12", "lr_range.low=0.01"]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "learning rate" in said and "the loss falls fastest at 0." in said
    assert (tmp_path / "lr-range.png").exists() and not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [([4.0, 2.0, 5.9], False), ([4.0, 2.0, 6.1], True), ([1.0, -0.1, -0.05], False), ([1.0, -0.1, 2.0], True)],
)
def test_losses_around_zero_do_not_diverge(losses, diverged):
    assert _has_diverged(losses) is diverged


def test_a_run_is_diagnosed_where_it_stands(corpus, tmp_path, capsys):
    assert main(["train", "diagnose", *overrides(corpus, tmp_path, *SHORT)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "diagnosis: the loss is" in said and "largest gradients of" in said
    kinds = {line.split("\t")[0] for line in (tmp_path / "diagnostics.tsv").read_text().splitlines()}
    assert kinds == {"kind", "output", "gradient"}
    assert (tmp_path / "diagnostics.png").read_bytes().startswith(b"\x89PNG")


def test_another_amount_of_audio_a_step_is_warned_of(trainer, capsys):
    trainer("training.processes=4").journal.close()
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: a step has 1 batches and the settings are for 4; training.accumulate makes up for" in said
    trainer("training.processes=4", "training.accumulate=4").journal.close()
    assert "warning" not in capsys.readouterr().err
