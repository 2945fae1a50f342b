"""BiasNorm, and the limiter of its scale, against reference outputs and gradients."""

from __future__ import annotations

import random

from asr.nn.biasnorm import BiasNorm
from asr.nn.gradients import limit_param
from tests.parity.published import Group, assert_close, assert_close_to_norm, groups, parameters


def check(case: Group, what: str, *, train: bool) -> None:
    channel_dim = int(case.get("channel_dim", -1))
    norm = BiasNorm(parameters(case)["bias"].shape[0]).train(train)
    norm.load_state_dict(parameters(case))
    x = case["x"].movedim(channel_dim, -1).clone().requires_grad_()
    y = norm(x)
    y.backward(case["grad_y"].movedim(channel_dim, -1))
    assert_close(y, case["y"].movedim(channel_dim, -1), what)
    assert_close_to_norm(x.grad, case["grad_x"].movedim(channel_dim, -1), f"{what} x")
    assert_close_to_norm(norm.bias.grad, case["grad_bias"], f"{what} bias")
    assert_close_to_norm(norm.log_scale.grad, case["grad_log_scale"], f"{what} log_scale")


def test_values_and_gradients(golden):
    for name, case in groups(golden("biasnorm.npz"), r"(?!limit)\w+").items():
        check(case, name, train=False)


def test_limited_scale(golden, monkeypatch):
    monkeypatch.setattr(random, "random", lambda: 0.0)  # the limiter always acts
    for name, case in groups(golden("biasnorm.npz"), r"limit_\d+_(?:pos|neg)").items():
        check(case, name, train=True)


def test_limiter_alone(golden):
    for name, case in groups(golden("biasnorm.npz"), r"limit_param_value_\d+").items():
        x = case["x"].clone().requires_grad_()
        y = limit_param(x, float(case["min"]), float(case["max"]), prob=1.0)
        y.backward(case["grad_y"])
        assert_close(y, case["y"], name, tolerance=0.0)
        assert_close(x.grad, case["grad_x"], f"{name} gradient", tolerance=0.0)
