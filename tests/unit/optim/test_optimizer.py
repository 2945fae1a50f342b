"""ScaledAdam: one rule for bad gradients, bit-exact restoring, helpful refusals."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from asr.errors import CheckpointError, ConfigError, RillError
from asr.kernels.scaled_adam import dots, dots_by_norms
from asr.optim import ScaledAdam, ScaledAdamConfig
from asr.optim.clipping import MedianClipping

SHAPES = {"w1": (4, 3), "w2": (4, 3), "v": (5,), "s": (), "one": (1,)}


def _params(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.nn.Parameter(0.3 * torch.randn(shape, generator=generator)) for n, shape in SHAPES.items()}


def _gradients(step):
    generator = torch.Generator().manual_seed(1000 + step)
    return {n: torch.randn(shape, generator=generator) * (20 if step % 17 == 16 else 1) for n, shape in SHAPES.items()}


def _take(optimizer, params, steps, spoil=None):
    for step in steps:
        for name, grad in _gradients(step).items():
            params[name].grad = grad
        if spoil is not None:
            spoil(step, params)
        optimizer.step()


def _config(**settings):
    return ScaledAdamConfig(**{"clipping_update_period": 7, **settings})


def _two_groups(params, **settings):
    named = list(params.items())
    return ScaledAdam([{"params": named[:2]}, {"params": named[2:], "lr_scale": 0.3}], _config(**settings))


def _same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("stop", [0, 1, 5, 6, 23])
@pytest.mark.parametrize("way", ["state_dict", "state_tensors"])
def test_restoring_is_bit_exact(stop, way):
    def spoil(step, params):
        if step in (3, 30):
            params["v"].grad[0] = float("nan")

    params = _params()
    optimizer = _two_groups(params)
    _take(optimizer, params, range(stop), spoil)
    later = {name: torch.nn.Parameter(value.detach().clone()) for name, value in params.items()}
    restored = _two_groups(later)
    if way == "state_dict":
        restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    else:
        tensors, scalars = optimizer.state_tensors()
        restored.load_state_tensors({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(scalars)))
    _take(optimizer, params, range(stop, 40), spoil)
    _take(restored, later, range(stop, 40), spoil)
    assert _same(params, later)
    ours, theirs = optimizer.state_tensors(), restored.state_tensors()
    assert _same(ours[0], theirs[0])
    assert ours[1] == theirs[1]
    assert restored.nonfinite_steps == 2


def test_state_is_found_by_name_in_any_order():
    params = _params()
    optimizer = ScaledAdam(params.items(), _config())
    _take(optimizer, params, range(9))
    later = {name: torch.nn.Parameter(params[name].detach().clone()) for name in reversed(params)}
    restored = ScaledAdam(later.items(), _config())
    restored.load_state_tensors(*optimizer.state_tensors())
    _take(optimizer, params, range(9, 20))
    _take(restored, later, range(9, 20))
    for name in params:
        torch.testing.assert_close(params[name], later[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan"), 1e30])
@pytest.mark.parametrize("clipping_scale", [2.0, None])
@pytest.mark.parametrize("at", [0, 2, 3, 25])
def test_bad_gradient_counts_as_zero_gradients(bad, clipping_scale, at):
    """Like a step in which no parameter has a gradient, whichever group the bad one is in."""

    def spoil(step, params):
        if step == at:
            params["v"].grad[2] = bad

    def withhold(step, params):
        if step == at:
            for param in params.values():
                param.grad = None

    spoilt, withheld = _params(), _params()
    one, other = (_two_groups(p, clipping_scale=clipping_scale) for p in (spoilt, withheld))
    _take(one, spoilt, range(at + 1), spoil)
    _take(other, withheld, range(at + 1), withhold)
    assert _same(spoilt, withheld)
    assert (one.nonfinite_steps, other.nonfinite_steps) == (1, 0)
    assert one.last_clip.factor == 0
    _take(one, spoilt, range(at + 1, at + 6))
    assert all(bool(param.isfinite().all()) for param in spoilt.values())
    assert one.nonfinite_steps == 1


def test_half_of_the_gradients_bad_is_an_error():
    clipping = MedianClipping(2.0, 8)
    with pytest.raises(RillError, match="half of the last 8 gradients"):
        for step in range(20):
            clipping.update(step, torch.tensor([float("nan")]), ["w"])


def test_missing_gradient_decays_and_drifts():
    params = _params()
    optimizer = ScaledAdam(params.items(), _config())
    _take(optimizer, params, range(2))
    before = params["w1"].detach().clone()
    square = optimizer.state[params["w1"]]["exp_avg_sq"].clone()
    for param in params.values():
        param.grad = None
    optimizer.step()
    assert not torch.equal(before, params["w1"])
    torch.testing.assert_close(optimizer.state[params["w1"]]["exp_avg_sq"], 0.98 * square)


def test_scalars_stay_within_their_limit():
    param = torch.nn.Parameter(torch.tensor([0.99]))
    optimizer = ScaledAdam([("s", param)], ScaledAdamConfig(lr=1.0, scalar_max=1.0))
    for _ in range(30):
        param.grad = torch.tensor([-1.0])
        optimizer.step()
    assert param.item() == 1.0


def test_clipping_is_per_group():
    params = _params()
    optimizer = _two_groups(params)
    for step in range(12):
        _take(optimizer, params, [step], lambda step, p: p["w1"].grad.mul_(100 if step == 11 else 1))
    strong, mild = optimizer.clip_reports
    assert strong.factor < 0.2
    assert mild.factor == 1
    assert optimizer.last_clip == strong
    assert strong.factor == pytest.approx(strong.threshold / strong.norm)


def test_strong_clipping_names_the_parameter(caplog):
    params = _params()
    optimizer = ScaledAdam(params.items(), _config())
    with caplog.at_level("INFO", logger="asr.optim"):
        _take(optimizer, params, range(12), lambda step, p: p["w2"].grad.mul_(1000 if step == 11 else 1))
    assert "mostly because of w2" in caplog.text


@pytest.mark.skipif(not hasattr(torch, "_foreach_clamp_min_"), reason="this torch has no list clamp")
def test_list_inner_products_agree():
    left, right = ([torch.randn(3, 4), torch.randn(1000), torch.randn(())] for _ in range(2))
    torch.testing.assert_close(dots_by_norms(left, right), dots(left, right), rtol=1e-4, atol=1e-4)


def test_closure_is_called_with_gradients():
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = ScaledAdam([("w", param)])

    def closure():
        loss = param.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 3
    assert (param < 1).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([torch.nn.Parameter(torch.ones(2))], "named parameters"),
        ([("w", torch.nn.Parameter(torch.ones(2, dtype=torch.float16)))], "float16"),
        ([("w", torch.nn.Parameter(torch.ones(2))), ("w", torch.nn.Parameter(torch.ones(2)))], "w .*twice"),
        ([], "empty"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        ScaledAdam(params)


@pytest.mark.parametrize("key", ["lr", "beta2", "size_update_period", "clipping_update_period", "clipping_scale"])
def test_meaningless_settings_name_their_key(key):
    with pytest.raises(ConfigError, match=rf"optim\.{key}=0"):
        ScaledAdamConfig(**{key: 0})


def test_foreign_states_are_refused():
    params = _params()
    optimizer = ScaledAdam(params.items(), _config())
    _take(optimizer, params, range(3))
    tensors, scalars = optimizer.state_tensors()
    fewer = dict(list(_params().items())[:-1])
    with pytest.raises(CheckpointError, match="such as one"):
        ScaledAdam(fewer.items(), _config()).load_state_tensors(tensors, scalars)
    with pytest.raises(CheckpointError, match="such as one"):
        ScaledAdam(fewer.items(), _config()).load_state_dict(optimizer.state_dict())
    with pytest.raises(CheckpointError, match="parameter groups"):
        _two_groups(_params()).load_state_tensors(tensors, scalars)
    with pytest.raises(CheckpointError, match="clipping_update_period=7"):
        ScaledAdam(_params().items(), _config(clipping_update_period=9)).load_state_tensors(tensors, scalars)
    other = {**_params(), "v": torch.nn.Parameter(torch.ones(6))}
    with pytest.raises(CheckpointError, match="exp_avg_sq of v"):
        ScaledAdam(other.items(), _config()).load_state_tensors(tensors, scalars)
