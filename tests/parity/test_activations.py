"""SwooshL and SwooshR, and the two fused with a linear layer, against reference outputs."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear

from asr.kernels.swoosh import swoosh_l, swoosh_r
from tests.parity.published import MODULE_TOLERANCE, Group, assert_close, assert_close_to_norm, groups, parameters

SWOOSH = {"swoosh_l": swoosh_l, "swoosh_r": swoosh_r}
QUANTUM = 1.005 / 255  # step of the reference's 8-bit derivative


def assert_close_in_float32(actual, expected, x, what) -> None:
    """To the tolerance of modules, and where |x| is huge to the rounding of a number of that size."""
    error = (actual.detach().double() - expected.double()).abs()
    allowed = MODULE_TOLERANCE + x.double().abs() * torch.finfo(torch.float32).eps
    assert (error <= allowed).all(), f"{what}: off by {error.max():.3g} at {x.flatten()[error.argmax()]:.6g}"


def value_and_derivative(swoosh, x):
    x = x.clone().requires_grad_()
    y = swoosh(x)
    y.sum().backward()
    return y, x.grad


@pytest.mark.parametrize("name", SWOOSH)
def test_values_and_derivatives(golden, name):
    arrays = golden("activations.npz")
    for group, case in groups(arrays, r"\w+(?=/(?:x|swoosh_[lr]/.+)$)").items():
        if f"{name}/y_float64" not in case:
            continue
        x = case["x"]
        y, derivative = value_and_derivative(SWOOSH[name], x)
        for kind in ("y", "y_float64", "y_eval_variant"):
            assert_close_in_float32(y, case[f"{name}/{kind}"], x, f"{group} {kind}")
            assert_close_in_float32(SWOOSH[name](x), case[f"{name}/{kind}"], x, f"{group} {kind} without gradient")
        assert_close(derivative, case[f"{name}/deriv_float64"], f"{group} derivative")
        assert_close(derivative, case[f"{name}/deriv"], f"{group} derivative")


@pytest.mark.parametrize("name", SWOOSH)
def test_exact_derivative_stands_for_the_quantised_one(golden, name):
    for group, case in groups(golden("activations.npz"), "quantized_backward").items():
        _, derivative = value_and_derivative(SWOOSH[name], case["x"])
        low, high = case[f"{name}/min_of_400"] - QUANTUM, case[f"{name}/max_of_400"] + QUANTUM
        assert ((low <= derivative) & (derivative <= high)).all(), group
        # 400 draws of a value that is off by at most one step
        assert_close(derivative, case[f"{name}/mean_of_400"], group, tolerance=5 * QUANTUM / (2 * 400**0.5))


def check_fused(case: Group, swoosh, what: str) -> None:
    weights = parameters(case)
    x, weight, bias = (value.clone().requires_grad_() for value in (case["x"], weights["weight"], weights["bias"]))
    y = linear(swoosh(x), weight, bias)
    y.backward(case["grad_y"])
    assert_close(y, case["y_train"], f"{what} training")
    with torch.no_grad():
        assert_close(linear(swoosh(x), weight, bias), case["y_eval"], f"{what} evaluation")
    for name, leaf in (("grad_x", x), ("grad_weight", weight), ("grad_bias", bias)):
        assert_close_to_norm(leaf.grad, case[name], f"{what} {name}")


def test_activation_then_linear(golden):
    functions = {"SwooshL": swoosh_l, "SwooshR": swoosh_r}
    for name, case in groups(golden("modules.npz"), r"act_dropout_linear_\w+").items():
        check_fused(case, functions[name.rpartition("_")[2]], name)
