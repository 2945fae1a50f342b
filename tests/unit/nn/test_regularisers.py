"""Balancer, Whiten and BiasNorm: when they act, and that they point the right way."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from asr.nn.balancer import Balancer
from asr.nn.biasnorm import BiasNorm
from asr.nn.feature_norm import FeatureNorm
from asr.nn.linear import scaled_linear
from asr.nn.whiten import Whiten, load_whiten_probabilities, whiten_probabilities, whiteness


def gradient(module: nn.Module, x: torch.Tensor, incoming: torch.Tensor) -> torch.Tensor:
    leaf = x.clone().requires_grad_()
    module(leaf).backward(incoming)
    return leaf.grad


def test_balancer_pulls_a_channel_towards_its_limits():
    x = torch.randn(200, 3)
    x[:, 0] += 10.0  # always positive
    x[:, 1] *= 0.001  # too small
    incoming = torch.ones_like(x)
    change = gradient(Balancer(prob=1.0, min_abs=0.2, max_abs=100.0), x, incoming) - incoming
    moved = x - 0.1 * change  # a step goes against the gradient
    ratio, moved_ratio = (v[:, 0].mean() / v[:, 0].std() for v in (x, moved))
    assert moved_ratio < ratio
    assert moved[:, 1].abs().mean() > x[:, 1].abs().mean()
    assert not change[:, 2].any()


def test_balancer_treats_any_channel_axis_alike():
    x, incoming = torch.randn(4, 5, 6) + 2.0, torch.randn(4, 5, 6)
    last = gradient(Balancer(-1, prob=1.0), x, incoming)
    first = gradient(Balancer(0, prob=1.0), x.movedim(-1, 0), incoming.movedim(-1, 0))
    torch.testing.assert_close(first.movedim(0, -1), last)


@pytest.mark.parametrize("module", [Balancer(prob=1.0), Whiten(groups=1, limit=1.0, grad_scale=0.1, prob=(1.0, 1.0))])
def test_regularisers_leave_frozen_input_and_evaluation_alone(module):
    x = torch.randn(8, 4) + 3.0
    assert module.train()(x) is x
    leaf = x.clone().requires_grad_()
    assert module.eval()(leaf) is leaf
    assert module.train()(leaf) is not leaf


def test_balancer_acts_in_its_share_of_the_calls():
    random.seed(0)
    balancer, x = Balancer(prob=0.25), torch.randn(4, 2).requires_grad_()
    acted = sum(balancer(x) is not x for _ in range(400))
    assert 0.18 < acted / 400 < 0.32


def test_whiten_of_almost_equal_rows_is_finite():
    """As attention gives that does not look anywhere yet; denormals are zero, as in training."""
    torch.set_flush_denormal(True)
    try:
        for size in (0.0, 1e-7, 1e-6, 1e-5):
            x = (size * torch.randn(1, 46, 1)).expand(1, 46, 32)
            whiten = Whiten(groups=1, limit=1.0, grad_scale=0.1, prob=(1.0, 1.0))
            assert gradient(whiten, x, torch.randn(1, 46, 32)).isfinite().all(), size
    finally:
        torch.set_flush_denormal(False)


def test_whiteness_is_one_for_white_data_and_grows_with_correlation():
    white = torch.randn(1, 20000, 4)
    correlated = white @ torch.tensor([[1.0, 0.9, 0.9, 0.9]] * 4)
    assert float(whiteness(white).metric) == pytest.approx(1.0, abs=0.01)
    assert float(whiteness(correlated).metric) > 3.0


def test_a_step_against_the_correction_whitens():
    x = torch.randn(100, 6) @ torch.randn(6, 6)
    module = Whiten(groups=1, limit=1.0, grad_scale=1.0, prob=(1.0, 1.0))
    incoming = 1e-3 * torch.randn_like(x)
    push = gradient(module, x, incoming) - incoming
    assert push.norm() == pytest.approx(float(incoming.norm()), rel=1e-4)
    assert whiteness((x - 10 * push).unsqueeze(0)).metric < whiteness(x.unsqueeze(0)).metric


def test_whiten_acts_rarely_once_the_metric_is_low():
    module = Whiten(groups=1, limit=1e9, grad_scale=1.0, prob=(0.01, 1.0))
    x, incoming = torch.randn(10, 4), torch.randn(10, 4)
    assert torch.equal(gradient(module, x, incoming), incoming)
    assert module.prob == 0.01
    module.limit, module.prob = 0.0, 1.0
    assert not torch.equal(gradient(module, x, incoming), incoming)
    assert module.prob == 1.0


def test_whiten_probabilities_travel():
    first, second = (nn.Sequential(Whiten(groups=1, limit=1.0, grad_scale=0.1)) for _ in range(2))
    first[0].prob = 0.5
    load_whiten_probabilities(second, whiten_probabilities(first))
    assert second[0].prob == 0.5
    load_whiten_probabilities(second, {"elsewhere": 0.1})
    assert second[0].prob == 0.5


def test_biasnorm_has_unit_size_and_the_derivative_of_its_formula():
    norm, x = BiasNorm(8).eval(), torch.randn(3, 5, 8, requires_grad=True)
    norm.bias.data.normal_()
    plain = x * (x - norm.bias).square().mean(dim=-1, keepdim=True).rsqrt() * norm.log_scale.exp()
    leaves = [x, norm.bias, norm.log_scale]
    weights = torch.randn(3, 5, 8)
    expected = torch.autograd.grad((plain * weights).sum(), leaves)
    found = torch.autograd.grad((norm(x) * weights).sum(), leaves)
    for ours, theirs in zip(found, expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), plain)


def test_feature_norm_starts_as_the_identity_and_travels_with_the_model():
    norm, x = FeatureNorm(4), torch.randn(2, 3, 4)
    assert torch.equal(norm(x), x)
    norm.set(torch.arange(4.0), 2.0)
    torch.testing.assert_close(norm(x), (x - torch.arange(4.0)) / 2)
    other = FeatureNorm(4)
    other.load_state_dict(norm.state_dict())
    assert torch.equal(other(x), norm(x))
    assert not list(norm.parameters())


def test_scaled_linear_starts_small():
    layer = scaled_linear(100, 50, scale=0.1)
    assert float(layer.weight.detach().abs().max()) <= 0.1 * 100**-0.5 + 1e-6
    assert float(layer.bias.detach().abs().max()) <= 0.01
    assert scaled_linear(3, 2, scale=0.1, bias=False).bias is None
