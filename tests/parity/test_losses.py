"""Transducer losses against stored numbers of the published recipe; cases are whatever the files hold."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.losses import (
    Topology,
    full_transducer_loss,
    prune_ranges,
    pruned_joiner_loss,
    pruned_transducer_loss,
    smoothed_transducer_loss,
)

Arrays = dict[str, np.ndarray]
SETTING = re.compile(
    r"(?P<case>.+)/(?P<topology>regular|modified|constrained)/delay(?P<delay>[-\d.]+)/(?P<group>.+)/loss$"
)
SMOOTHED = re.compile(r"smoothed_lm([\d.]+)_am([\d.]+)$")


@pytest.fixture(scope="module")
def arrays(golden) -> Arrays:
    return golden("transducer_loss.npz")


def found(arrays: Arrays, kind: str) -> list[tuple[str, str, dict]]:
    """(name of the group, name of the case, keyword arguments) of each stored loss whose group starts with `kind`."""
    matches = [match for match in map(SETTING.match, arrays) if match and match["group"].startswith(kind)]
    groups = []
    for match in matches:
        options = {"topology": Topology(match["topology"]), "delay_penalty": float(match["delay"])}
        options["blank_id"] = int(arrays.get(f"{match['case']}/blank_id", 0))
        groups.append((match[0].removesuffix("/loss"), match["case"], options))
    if not groups:
        pytest.skip(f"no group {kind} in this file")
    return groups


def tensor(arrays: Arrays, name: str) -> Tensor:
    return torch.from_numpy(arrays[name])


def labels(arrays: Arrays, case: str) -> tuple[Tensor, Tensor, Tensor]:
    boundary = tensor(arrays, f"{case}/boundary")
    return tensor(arrays, f"{case}/symbols"), boundary[:, 2], boundary[:, 3]


def assert_losses(actual: Tensor, expected: np.ndarray, name: str) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=1e-5, err_msg=name)


def assert_close_to_norm(actual: Tensor, expected: np.ndarray, name: str) -> None:
    error = np.linalg.norm(actual.detach().numpy() - expected)
    assert error <= 1e-4 * np.linalg.norm(expected) + 1e-7, f"{name}: off by {error}"


def leaves(arrays: Arrays, *names: str) -> list[Tensor]:
    return [tensor(arrays, name).requires_grad_() for name in names]


def check_smoothed(arrays: Arrays, name: str, case: str, loss_name: str, options: dict) -> None:
    am, lm = leaves(arrays, f"{case}/am", f"{case}/lm")
    result = smoothed_transducer_loss(am, lm, *labels(arrays, case), **options)
    result.loss.sum().backward()
    assert_losses(result.loss, arrays[f"{name}/{loss_name}"], name)
    if f"{name}/loss_sum" in arrays:
        assert_losses(result.loss.sum(), arrays[f"{name}/loss_sum"], name)
        assert_losses(result.loss.mean(), arrays[f"{name}/loss_mean"], name)
    num_frames = am.shape[1]
    assert not arrays[f"{name}/px_grad"][:, :, num_frames:].any()
    assert_close_to_norm(result.px_grad, arrays[f"{name}/px_grad"][:, :, :num_frames], f"{name}/px_grad")
    assert_close_to_norm(result.py_grad, arrays[f"{name}/py_grad"], f"{name}/py_grad")
    assert_close_to_norm(am.grad, arrays[f"{name}/grad_am"], f"{name}/grad_am")
    assert_close_to_norm(lm.grad, arrays[f"{name}/grad_lm"], f"{name}/grad_lm")


def test_smoothed_loss_occupations_and_gradients(arrays):
    for name, case, options in found(arrays, "smoothed"):
        lm_scale, am_scale = map(float, SMOOTHED.search(name).groups())
        check_smoothed(arrays, name, case, "loss", {**options, "lm_scale": lm_scale, "am_scale": am_scale})


def test_simple_loss_is_the_unsmoothed_one(arrays):
    for name, case, options in found(arrays, "simple"):
        am, lm = tensor(arrays, f"{case}/am"), tensor(arrays, f"{case}/lm")
        result = smoothed_transducer_loss(am, lm, *labels(arrays, case), **options)
        assert_losses(result.loss, arrays[f"{name}/loss"], name)


def test_pruned_loss_and_gradient_on_stored_ranges(arrays):
    for name, case, options in found(arrays, "pruned"):
        symbols, *lens = labels(arrays, case)
        (logits,) = leaves(arrays, f"{name}/logits")
        loss = pruned_transducer_loss(logits, symbols, tensor(arrays, f"{name}/ranges"), *lens, **options)
        loss.sum().backward()
        assert_losses(loss, arrays[f"{name}/loss"], name)
        assert_close_to_norm(logits.grad, arrays[f"{name}/grad_logits"], name)


def test_windows_from_stored_occupations(arrays):
    for name, case, options in found(arrays, "pruned"):
        source = f"{name.rpartition('/')[0]}/smoothed_lm0.25_am0.0"
        s_range = int(re.search(r"pruned_s(\d+)$", name)[1])
        occupations = tensor(arrays, f"{source}/px_grad"), tensor(arrays, f"{source}/py_grad")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # windows too narrow are part of the cases
            ranges = prune_ranges(*occupations, *labels(arrays, case)[1:], s_range, options["topology"])
        np.testing.assert_array_equal(ranges.numpy(), arrays[f"{name}/ranges"], err_msg=name)


def test_windows_from_our_occupations(arrays):
    """End to end; a near tie may fall otherwise here, which costs little: the loss in either window is what counts."""
    different = total = 0
    for name, case, options in found(arrays, "pruned"):
        am, lm = tensor(arrays, f"{case}/am"), tensor(arrays, f"{case}/lm")
        simple = smoothed_transducer_loss(am, lm, *labels(arrays, case), lm_scale=0.25, **options)
        expected = tensor(arrays, f"{name}/ranges")
        lens = labels(arrays, case)[1:]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            s_range = int(re.search(r"pruned_s(\d+)$", name)[1])
            ranges = prune_ranges(simple.px_grad, simple.py_grad, *lens, s_range, options["topology"])
        different, total = different + int((ranges != expected).sum()), total + ranges.numel()
    assert different <= 0.02 * total


def test_fused_joiner_sees_the_stored_projections(arrays):
    """The stored logits are rounded, so the joiner itself is checked against gathering and a plain linear layer."""
    for name, case, options in found(arrays, "pruned"):
        symbols, *lens = labels(arrays, case)
        ranges = tensor(arrays, f"{name}/ranges")
        inputs = leaves(arrays, f"{case}/encoder_proj_out", f"{case}/decoder_proj_out", f"{case}/joiner_weight")
        fused_inputs = [x.detach().clone().requires_grad_() for x in inputs]
        encoder, predictor, weight = inputs
        rows = torch.arange(len(symbols)).reshape(-1, 1, 1)
        gathered = predictor[rows, ranges]
        if f"{name}/lm_pruned" in arrays:
            assert_close_to_norm(gathered, arrays[f"{name}/lm_pruned"], name)
        logits = (encoder.unsqueeze(2) + gathered).tanh() @ weight
        plain = pruned_transducer_loss(logits, symbols, ranges, *lens, **options)
        encoder, predictor, weight = fused_inputs
        bias = torch.zeros(weight.shape[1])
        fused = pruned_joiner_loss(
            encoder, predictor, weight.t(), bias, symbols, ranges, *lens, block_rows=37, **options
        )
        assert_losses(fused, plain.detach().numpy(), name)
        plain.sum().backward()
        fused.sum().backward()
        for ours, expected in zip(fused_inputs, inputs, strict=True):
            assert_close_to_norm(ours.grad, expected.grad.numpy(), name)
        close = np.allclose(logits.detach(), arrays[f"{name}/logits"], atol=0.02)
        assert close, f"{name}: stored logits are another function of the projections"


def test_full_loss_and_gradient(arrays):
    for name, case, options in found(arrays, "full"):
        (logits,) = leaves(arrays, f"{case}/full_logits")
        loss = full_transducer_loss(logits, *labels(arrays, case), **options)
        assert_losses(loss, arrays[f"{name}/loss"], name)
        if f"{name}/grad_logits" in arrays:
            loss.sum().backward()
            assert_close_to_norm(logits.grad, arrays[f"{name}/grad_logits"], name)


def test_whole_batches_without_padding(arrays):
    pattern = re.compile(r"(.+)/noboundary/(\w+)/delay([-\d.]+)/(full|smoothed)_loss$")
    matches = [match for match in map(pattern.match, arrays) if match]
    if not matches:
        pytest.skip("no group noboundary in this file")
    for match in matches:
        case, topology, delay, kind = match.groups()
        symbols = tensor(arrays, f"{case}/noboundary/symbols")
        am, lm = tensor(arrays, f"{case}/am"), tensor(arrays, f"{case}/lm")
        lens = torch.full((len(am),), symbols.shape[1]), torch.full((len(am),), am.shape[1])
        options = {"topology": Topology(topology), "delay_penalty": float(delay)}
        if kind == "full":
            loss = full_transducer_loss(tensor(arrays, f"{case}/full_logits"), symbols, *lens, **options)
        else:
            loss = smoothed_transducer_loss(am, lm, symbols, *lens, lm_scale=0.25, **options).loss
        assert_losses(loss, arrays[match[0]], match[0])


def test_empty_transcripts(arrays):
    cases = [name.removesuffix("/smoothed_loss") for name in arrays if re.fullmatch(r"[^/]+/smoothed_loss", name)]
    if not cases:
        pytest.skip("no case with an empty transcript in this file")
    for case in cases:
        check_smoothed(arrays, case, case, "smoothed_loss", {"lm_scale": 0.25})
        symbols, *lens = labels(arrays, case)
        ranges = tensor(arrays, f"{case}/ranges")
        occupations = tensor(arrays, f"{case}/px_grad"), tensor(arrays, f"{case}/py_grad")
        np.testing.assert_array_equal(prune_ranges(*occupations, *lens, ranges.shape[2]).numpy(), ranges.numpy())
        (logits,) = leaves(arrays, f"{case}/pruned_logits")
        loss = pruned_transducer_loss(logits, symbols, ranges, *lens)
        loss.sum().backward()
        assert_losses(loss, arrays[f"{case}/pruned_loss"], case)
        assert_close_to_norm(logits.grad, arrays[f"{case}/grad_logits"], case)


EVALUATED = re.compile(r"(.+)/eval_losses_lm([\d.]+)_am([\d.]+)_range(\d+)/simple_loss$")


def projected(weights: Arrays, name: str, x: Tensor) -> Tensor:
    return torch.nn.functional.linear(x, tensor(weights, f"{name}.weight"), tensor(weights, f"{name}.bias"))


def test_losses_of_whole_models(golden):
    """Stored encoder and predictor outputs through projections, windows and the fused joiner, for each setting."""
    arrays = golden("train_forward.npz")
    matches = [match for match in map(EVALUATED.match, arrays) if match]
    if not matches:
        pytest.skip("no group eval_losses in this file")
    for match in matches:
        model, lm_scale, am_scale, s_range = match.groups()
        weights, inner = golden(f"tiny_{model}_state_dict.npz"), f"{model}/intermediate"
        lens = tensor(arrays, f"{inner}/boundary")[:, 2:].unbind(1)
        symbols = tensor(arrays, f"{inner}/decoder_in")[:, 1:]
        encoder_out, predictor_out = tensor(arrays, f"{inner}/encoder_out"), tensor(arrays, f"{inner}/decoder_out")
        am, lm = projected(weights, "simple_am_proj", encoder_out), projected(weights, "simple_lm_proj", predictor_out)
        simple = smoothed_transducer_loss(am, lm, symbols, *lens, lm_scale=float(lm_scale), am_scale=float(am_scale))
        ranges = prune_ranges(simple.px_grad, simple.py_grad, *lens, int(s_range))
        pruned = pruned_joiner_loss(
            projected(weights, "joiner.encoder_proj", encoder_out),
            projected(weights, "joiner.decoder_proj", predictor_out),
            tensor(weights, "joiner.output_linear.weight"),
            tensor(weights, "joiner.output_linear.bias"),
            symbols,
            ranges,
            *lens,
        )
        assert_losses(simple.loss.sum(), arrays[match[0]], match[0])
        assert_losses(pruned.sum(), arrays[match[0].replace("simple", "pruned")], match[0])
        if (float(lm_scale), float(am_scale), ranges.shape[2]) == (0.25, 0.0, arrays[f"{inner}/ranges"].shape[2]):
            np.testing.assert_array_equal(ranges.numpy(), arrays[f"{inner}/ranges"])
            assert_losses(simple.loss, arrays[f"{inner}/simple_loss_per_utt"], inner)
            assert_losses(pruned, arrays[f"{inner}/pruned_loss_per_utt"], inner)
