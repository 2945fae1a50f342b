"""Learning-rate schedules and parameter groups."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asr.errors import ConfigError
from asr.optim import (
    ConstantThenLinear,
    Eden,
    Eden2,
    ScaledAdam,
    ScheduleConfig,
    ScheduleKind,
    Warmup,
    build_schedule,
    freeze_parameters,
    parameter_groups,
    set_rate,
)


def test_constant_then_linear_has_three_parts():
    schedule = ConstantThenLinear(base_lr=0.04, num_steps=1000, warmup=Warmup(steps=100, start=0.1))
    rates = [schedule.rate(step) for step in (0, 50, 100, 500, 750, 1000, 5000)]
    assert rates == pytest.approx([0.004, 0.022, 0.04, 0.04, 0.04 * 0.51, 0.0008, 0.0008])


def test_eden_halves_by_steps_and_epochs():
    eden = Eden(base_lr=1.0, lr_batches=100, lr_epochs=2, warmup=Warmup(steps=0))
    assert eden.rate(100, 0) == pytest.approx(2**-0.25)
    assert eden.rate(100, 2) == pytest.approx(2**-0.5)
    assert Eden2(base_lr=1.0, lr_batches=100, warmup=Warmup(steps=0)).rate(100, 7) == pytest.approx(2**-0.5)


@pytest.mark.parametrize("kind", list(ScheduleKind))
def test_every_kind_can_be_built(kind):
    schedule = build_schedule(ScheduleConfig(kind=kind, warmup_steps=10), base_lr=0.5, num_steps=100)
    assert schedule.rate(0) == pytest.approx(0.05)
    assert schedule.rate(100, 3) < schedule.rate(50, 1) or kind is ScheduleKind.EDEN2
    assert schedule.rate(100, 0) < 0.5


def test_meaningless_schedules_are_refused():
    with pytest.raises(ConfigError, match="num_steps"):
        build_schedule(ScheduleConfig(kind=ScheduleKind.CONSTANT_THEN_LINEAR), base_lr=0.5)
    for key, value in {"lr_batches": 0, "warmup_start": 2, "decay_part": 0, "warmup_steps": -1}.items():
        with pytest.raises(ConfigError, match=rf"schedule\.{key}={value}"):
            ScheduleConfig(**{key: value})


def _model():
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)), "b": nn.Linear(2, 2)})
    model["a"].lr_scale = 0.5
    model["a"][1].lr_scale = 0.1
    return model


def test_scales_multiply_along_the_path():
    groups = parameter_groups(_model())
    names = {group["lr_scale"]: [name for name, _ in group["params"]] for group in groups}
    assert names == {0.5: ["a.0.weight", "a.0.bias"], 0.05: ["a.1.weight", "a.1.bias"], 1.0: ["b.weight", "b.bias"]}
    optimizer = ScaledAdam(groups)
    set_rate(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.01, 0.2])


def test_frozen_parts_do_not_move():
    model = _model()
    freeze_parameters(model, ["a.1", "b.b*"])
    optimizer = ScaledAdam(parameter_groups(model))
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    model["b"](model["a"](torch.randn(4, 2))).square().sum().backward()
    optimizer.step()
    moved = {name for name, param in model.named_parameters() if not torch.equal(param, before[name])}
    assert moved == {"a.0.weight", "a.0.bias", "b.weight"}


def test_freezing_needs_a_known_name_and_something_left():
    with pytest.raises(ConfigError, match="nothing called encoder; its parts are a, b"):
        freeze_parameters(_model(), ["encoder"])
    model = _model()
    freeze_parameters(model, ["a", "b"])
    with pytest.raises(ConfigError, match="no parameter is left"):
        parameter_groups(model)
