"""Products in bfloat16: near the float32 ones, for inference alone, and only while asked for."""

from __future__ import annotations

import torch

from asr.kernels.bfloat16 import Bfloat16Products
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
