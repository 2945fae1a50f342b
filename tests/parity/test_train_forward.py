"""Losses, gradients and the first optimizer steps of the whole tiny models against the reference.

All rows of these batches are equally long, so padding plays no part, and everything random is switched off.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asr.checkpoint.icefall import to_rill_name
from asr.losses import (
    TransducerLossConfig,
    loss_scales,
    prune_ranges,
    pruned_joiner_loss,
    pruned_transducer_loss,
    smoothed_transducer_loss,
)
from asr.models.transducer import EncoderOutput, Transducer
from asr.nn.chunks import ChunkContext
from asr.optim import Eden, ScaledAdam, ScaledAdamConfig, Warmup, parameter_groups, set_rate
from tests.parity.published import (
    ENCODER_TOLERANCE,
    GRADIENT_TOLERANCE,
    Group,
    assert_close,
    assert_close_to_norm,
    tiny_model,
)

LOSS_TOLERANCE = 1e-5
STEPPED_LOSS_TOLERANCE = 1e-3
PARAMETER_TOLERANCE = 1e-4  # after steps of up to 0.02, in which rounding grows


class Task(NamedTuple):
    """One model with its only batch."""

    model: Transducer
    context: ChunkContext
    features: Tensor
    lens: Tensor
    symbols: Tensor
    symbol_lens: Tensor
    arrays: dict[str, np.ndarray]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        found = {name: value for name, value in self.arrays.items() if name.startswith(prefix + "/")}
        if not found:
            pytest.skip(f"no group {prefix} among the reference numbers")
        return {name.removeprefix(prefix + "/"): value for name, value in found.items()}


class Losses(NamedTuple):
    """Sums over the batch, and what led to them."""

    simple: Tensor
    pruned: Tensor
    details: Group


def padded(values: Tensor, row_splits: list[int]) -> tuple[Tensor, Tensor]:
    rows = [values[start:end] for start, end in zip(row_splits, row_splits[1:])]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


@pytest.fixture
def task(golden, golden_dir: Path, tiny_kind: str, monkeypatch) -> Task:
    arrays = {
        name.removeprefix(f"{tiny_kind}/"): value
        for name, value in golden("train_forward.npz").items()
        if name.startswith(f"{tiny_kind}/")
    }
    if not arrays:
        pytest.skip(f"train_forward.npz has nothing on the {tiny_kind} model")
    model = tiny_model(golden_dir, tiny_kind)
    silence_randomness(model, monkeypatch)
    chunk, left = (int(arrays.get(name, -1)) for name in ("chunk_size", "left_context_frames"))
    context = ChunkContext(chunk_size=chunk if chunk > 0 else None, left_context=left if left > 0 else None)
    symbols = padded(torch.from_numpy(arrays["targets/values"]), arrays["targets/row_splits"].tolist())
    features, lens = torch.from_numpy(arrays["features"]), torch.from_numpy(arrays["feature_lens"]).long()
    assert (lens == features.shape[1]).all()
    return Task(model, context, features, lens, *symbols, arrays)


def silence_randomness(model: Transducer, monkeypatch) -> None:
    """Training without chance: regularisers never act, nothing is dropped; schedules without a position are zero."""
    monkeypatch.setattr(random, "random", lambda: 0.999)
    model.config.encoder.feature_mask_prob = 0.0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def encode(task: Task) -> EncoderOutput:
    """The encoder's output without the frames that fill up the last chunk."""
    encoded = task.model.encode(task.features, task.lens, context=task.context)
    return encoded._replace(out=encoded.out[:, : int(encoded.lens.max())])


def losses(task: Task, *, lm_scale: float = 0.25, am_scale: float = 0.0, s_range: int = 5) -> Losses:
    model, (out, out_lens, _) = task.model, encode(task)
    predictor_in = nn.functional.pad(task.symbols, (1, 0), value=model.predictor.blank_id)
    predicted = model.predictor(predictor_in, pad_left=True)
    am, lm = model.simple_am_proj(out), model.simple_lm_proj(predicted)
    labels = task.symbols, task.symbol_lens, out_lens
    simple = smoothed_transducer_loss(am, lm, *labels, lm_scale=lm_scale, am_scale=am_scale)
    ranges = prune_ranges(simple.px_grad, simple.py_grad, task.symbol_lens, out_lens, s_range)
    joiner = model.joiner
    projected = joiner.encoder_proj(out), joiner.predictor_proj(predicted)
    output = joiner.output_linear.weight, joiner.output_linear.bias
    pruned = pruned_joiner_loss(*projected, *output, task.symbols, ranges, task.symbol_lens, out_lens)
    details = {
        "encoder_out": out,
        "encoder_out_lens": out_lens,
        "decoder_in": predictor_in,
        "decoder_out": predicted,
        "px_grad": simple.px_grad,
        "py_grad": simple.py_grad,
        "ranges": ranges,
        "simple_loss_per_utt": simple.loss,
        "pruned_loss_per_utt": pruned,
    }
    return Losses(simple.loss.sum(), pruned.sum(), details)


def assert_loss(actual: Tensor, expected, what: str, tolerance: float = LOSS_TOLERANCE) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=tolerance, err_msg=what)


@torch.no_grad()
def test_losses(task):
    names = {name.split("/")[0] for name in task.arrays if name.startswith("eval_losses_")}
    if not names:
        pytest.skip("no losses among the reference numbers")
    for name in sorted(names):
        settings = dict(zip(("lm_scale", "am_scale"), (float(part[2:]) for part in name.split("_")[2:4])))
        found = losses(task, s_range=int(name.rpartition("range")[2]), **settings)
        assert_loss(found.simple, task.arrays[f"{name}/simple_loss"], f"{name} simple")
        assert_loss(found.pruned, task.arrays[f"{name}/pruned_loss"], f"{name} pruned")


@torch.no_grad()
def test_tensors_along_the_way(task):
    expected, details = task.group("intermediate"), losses(task).details
    for name, theirs in expected.items():
        if name not in details:
            continue
        ours, theirs = details[name], torch.from_numpy(theirs)
        if name == "px_grad":
            theirs = theirs[:, :, : ours.shape[2]]  # the reference's last column is impossible, and empty
        if not theirs.is_floating_point():
            assert torch.equal(ours, theirs), name
        elif name.endswith("per_utt"):
            np.testing.assert_allclose(ours, theirs, rtol=LOSS_TOLERANCE, err_msg=name)
        else:
            assert_close(ours, theirs, name, ENCODER_TOLERANCE)


@torch.no_grad()
def test_fused_and_plain_pruned_loss_agree(task):
    found = losses(task)
    ranges, joiner = found.details["ranges"], task.model.joiner
    encoder_part = joiner.encoder_proj(found.details["encoder_out"]).unsqueeze(2)
    predictor_part = joiner.predictor_proj(found.details["decoder_out"])
    batch = torch.arange(len(ranges)).reshape(-1, 1, 1)
    logits = joiner(encoder_part, predictor_part[batch, ranges], project=False)
    lens = task.symbol_lens, found.details["encoder_out_lens"]
    plain = pruned_transducer_loss(logits, task.symbols, ranges, *lens)
    assert_loss(plain.sum(), found.pruned, "pruned")


def check_gradients(task: Task, group: dict[str, np.ndarray]) -> None:
    """Losses, norms of all gradients, values of those that are there."""
    found = losses(task)
    total = 0.5 * found.simple + found.pruned
    for name, loss in (("simple_loss", found.simple), ("pruned_loss", found.pruned), ("loss", total)):
        assert_loss(loss, group[name], name)
    total.backward()
    grads = {name: parameter.grad for name, parameter in task.model.named_parameters()}
    # Gradients of down-sampling weights are small differences of large sums: against float64, the reference's own are
    # up to a hundredth of their norm away. The floor is a quarter of a float32 rounding step of the largest gradient;
    # torch 1.13's products need it.
    floor = 3e-8 * float(group["grad_norms"].max())
    for name, norm in zip(group["grad_norm_names"], group["grad_norms"]):
        grad = grads[to_rill_name(str(name))]
        ours = 0.0 if grad is None else float(grad.double().norm())
        assert abs(ours - norm) <= GRADIENT_TOLERANCE * norm + floor, f"{name}: norm {ours}, not {norm}"
    for name, values in group.items():
        if name.startswith("grad/"):
            ours = task.model.get_parameter(to_rill_name(name.removeprefix("grad/"))).grad
            assert_close_to_norm(ours, torch.from_numpy(values), name, floor=floor)
    assert len(group["grad_norm_names"]) == len(grads)
    if "params_without_gradient" in group:
        unused = {to_rill_name(str(name)) for name in group["params_without_gradient"]}
        assert {name for name, grad in grads.items() if grad is None or not grad.any()} == unused


def test_gradients_in_evaluation(task):
    check_gradients(task, task.group("eval_grad"))


def test_gradients_in_training(task):
    group = task.group("train_grad_no_random")
    task.model.train()
    check_gradients(task, group)


def test_first_steps(task):
    group = task.group("few_steps")
    model = task.model.train()
    optimizer = ScaledAdam(parameter_groups(model), ScaledAdamConfig(lr=0.045, clipping_scale=2.0))
    schedule = Eden(base_lr=0.045, lr_batches=7500, lr_epochs=3.5, warmup=Warmup(steps=500, start=0.5))
    weights = TransducerLossConfig(warm_steps=2000)
    for step, expected in enumerate(group["simple_pruned_total_loss"]):
        found, scales = losses(task), loss_scales(weights, step + 1)
        total = scales.simple * found.simple + scales.pruned * found.pruned
        for what, loss, theirs in zip(("simple", "pruned", "total"), (found.simple, found.pruned, total), expected):
            assert_loss(loss, theirs, f"step {step} {what}", STEPPED_LOSS_TOLERANCE)
        optimizer.zero_grad()
        total.backward()
        set_rate(optimizer, schedule.rate(step + 1))
        np.testing.assert_allclose(optimizer.param_groups[0]["lr"], group["lr"][step], rtol=1e-6)
        optimizer.step()
        check_parameters(model, group, step)


def check_parameters(model: Transducer, group: dict[str, np.ndarray], step: int) -> None:
    last = step + 1 == len(group["lr"])
    for name, values in group.items():
        prefix, _, parameter = name.partition("/")
        if prefix == "param" or (prefix == "param_final" and last):
            theirs = torch.from_numpy(np.asarray(values[step] if prefix == "param" else values))
            ours = model.get_parameter(to_rill_name(parameter))
            assert_close(ours, theirs, f"step {step} {parameter}", PARAMETER_TOLERANCE)
