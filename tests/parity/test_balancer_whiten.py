"""Modules that only reshape gradients, and schedules, against reference numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asr.nn.balancer import Balancer, derive_limits
from asr.nn.gradients import penalize_abs, scale_grad
from asr.nn.schedule import ScheduledFloat
from asr.nn.whiten import Whiten, whiteness
from tests.parity.published import GRADIENT_TOLERANCE, Group, assert_close, assert_close_to_norm, groups


def passed_down(function, case: Group) -> Tensor:
    """The gradient that leaves `function` downwards; in the forward pass it is the identity."""
    x = case["x"].clone().requires_grad_()
    y = function(x)
    y.backward(case["grad_out"])
    assert torch.equal(y, case["x"])
    return x.grad


def assert_correction(actual: Tensor, case: Group, what: str, tolerance: float = GRADIENT_TOLERANCE) -> None:
    """What was added to the gradient, not only the sum; where nothing was, nothing may be."""
    expected, wanted = case["grad_in"], case["grad_in"] - case["grad_out"]
    assert_close_to_norm(actual, expected, what)
    rounding = 4 * torch.finfo(torch.float32).eps * expected.norm().item()
    assert_close_to_norm(actual - case["grad_out"], wanted, f"{what} correction", tolerance, floor=rounding)


def limits(case: Group) -> dict[str, float]:
    return {name: float(case[name]) for name in ("min_positive", "max_positive", "min_abs", "max_abs")}


def test_balancer_limits(golden):
    for name, case in groups(golden("balancer_whiten.npz"), r"balancer_\d+").items():
        for ours, theirs in zip(derive_limits(**limits(case)), case["derived_limits"].tolist()):
            assert math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12), name


def test_balancer_gradients(golden):
    for name, case in groups(golden("balancer_whiten.npz"), r"balancer_\d+").items():
        settings = limits(case) | {"grad_scale": float(case["grad_scale"])}
        balancer = Balancer(int(case["channel_dim"]), prob=1.0, **settings)
        assert_correction(passed_down(balancer, case), case, name)


def whitener(case: Group) -> Whiten:
    return Whiten(
        groups=int(case["num_groups"]),
        limit=float(case["whitening_limit"]),
        grad_scale=float(case["grad_scale"]),
        prob=(0.25, 1.0),
    )


def test_whiteness(golden):
    for name, case in groups(golden("balancer_whiten.npz"), r"whiten_\d+").items():
        num_groups, channels = int(case["num_groups"]), case["x"].shape[-1]
        rows = case["x"].reshape(-1, num_groups, channels // num_groups).transpose(0, 1)
        assert_close_to_norm(whiteness(rows).metric, case["metric"], name, tolerance=1e-5)


def test_whiten_gradients_and_probability(golden):
    for name, case in groups(golden("balancer_whiten.npz"), r"whiten_\d+").items():
        module = whitener(case)
        assert_correction(passed_down(module, case), case, name)
        assert module.prob == float(case["prob_after"]), name


def test_both_are_the_identity_in_evaluation(golden):
    arrays = golden("balancer_whiten.npz")
    for name, case in groups(arrays, r"whiten_\d+").items():
        assert torch.equal(passed_down(whitener(case).eval(), case), case["grad_out"]), name
    for name, case in groups(arrays, r"balancer_\d+").items():
        balancer = Balancer(int(case["channel_dim"]), prob=1.0, **limits(case)).eval()
        assert torch.equal(passed_down(balancer, case), case["grad_out"]), name


def test_penalty_on_large_values(golden):
    for name, case in groups(golden("balancer_whiten.npz"), r"penalize_abs_\d+").items():
        limit, weight = float(case["limit"]), float(case["penalty"])
        grad = passed_down(lambda x, limit=limit, weight=weight: penalize_abs(x, limit=limit, weight=weight), case)
        assert_close(grad, case["grad_in"], name)


def test_scaled_gradient(golden):
    for name, case in groups(golden("balancer_whiten.npz"), "scale_grad").items():
        grad = passed_down(lambda x, scale=float(case["alpha"]): scale_grad(x, scale), case)
        assert_close(grad, case["grad_in_train"], name)


def test_schedules(golden):
    arrays = golden("balancer_whiten.npz")
    positions = groups(arrays, "schedule")["schedule"]["batch_count"].tolist()
    for name, case in groups(arrays, r"schedule/\w+").items():
        schedule = ScheduledFloat(*(tuple(pair) for pair in case["pairs"].tolist()))
        for position, value in zip(positions, case["value"].tolist()):
            schedule.move_to(position)
            assert math.isclose(schedule.value, value, rel_tol=1e-12), f"{name} at {position}"
