"""Products in bfloat16: near the float32 ones, for inference alone, and only while asked for."""

from __future__ import annotations

import pytest
import torch

from asr.kernels.bfloat16 import Bfloat16Products
from asr.kernels.mlp import swoosh_mlp
from asr.kernels.swoosh import SWOOSH_L, evaluate, evaluate_narrow, swoosh_l
from asr.nn.linear import Linear


def test_products_come_near_and_go_away_again():
    layer, x = Linear(64, 32), torch.randn(3, 5, 64)
    products = Bfloat16Products()
    with torch.no_grad():
        exact = layer(x)
        with products:
            rough = layer(x)
        assert torch.equal(layer(x), exact)
    assert rough.dtype is torch.float32 and not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.02)


def test_training_is_left_alone():
    layer, x = Linear(64, 32), torch.randn(5, 64)
    with Bfloat16Products():
        inside = layer(x)
    assert torch.equal(inside, layer(x)) and inside.requires_grad


def test_whole_parameters_and_views_of_them_alone():
    weight = torch.nn.Parameter(torch.randn(32, 64, 1, 1))
    with torch.no_grad(), Bfloat16Products() as products:
        assert products.twin(weight.flatten(1)).shape == (32, 64)
        assert products.twin(weight.flatten(1)[:16]) is None
        assert products.twin(torch.randn(32, 64)) is None


@pytest.mark.parametrize("rows", [(3,), (2, 50)])
def test_what_is_between_two_products_stays_narrow(monkeypatch, rows):
    monkeypatch.setattr("asr.kernels.mlp._BLOCK", 16)
    first, second, x = Linear(32, 64), Linear(64, 32), torch.randn(*rows, 32)
    weights = first.weight, first.bias, second.weight, second.bias
    with torch.no_grad():
        exact = swoosh_mlp(x, *weights, SWOOSH_L)
        torch.testing.assert_close(exact, second(swoosh_l(first(x))))
        with Bfloat16Products():
            rough, apart = swoosh_mlp(x, *weights, SWOOSH_L), second(swoosh_l(first(x)))
    assert rough.dtype is torch.float32 and not torch.equal(rough, exact)
    torch.testing.assert_close(rough, apart, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_swoosh_is_the_rounded_one(dtype):
    x = torch.cat([torch.linspace(-30, 30, 4001), torch.tensor([float("nan"), float("inf")])]).to(dtype)
    torch.testing.assert_close(
        evaluate_narrow(x, SWOOSH_L),
        evaluate(x.float(), None, SWOOSH_L).bfloat16(),
        rtol=0.01,
        atol=1e-3,
        equal_nan=True,
    )
