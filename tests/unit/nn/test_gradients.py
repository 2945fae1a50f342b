"""Identities that reshape gradients."""

from __future__ import annotations

import random

import torch

from asr.nn.gradients import limit_param, penalize_abs, scale_grad


def gradient(function, x: list[float], incoming: list[float]) -> list[float]:
    leaf = torch.tensor(x, requires_grad=True)
    out = function(leaf)
    assert torch.equal(out, leaf)
    out.backward(torch.tensor(incoming))
    return leaf.grad.tolist()


def test_limits_turn_gradients_that_drive_further_out():
    x = [-2.0, -2.0, 0.0, 0.0, 2.0, 2.0, -1.0, 1.0]
    incoming = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]
    turned = [-1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0]
    assert gradient(lambda leaf: limit_param(leaf, -1.0, 1.0, prob=1.0), x, incoming) == turned


def test_limits_act_in_a_share_of_the_calls():
    random.seed(0)
    turned = sum(gradient(lambda x: limit_param(x, 0.0, 1.0), [-1.0], [1.0]) == [-1.0] for _ in range(400))
    assert 0.5 < turned / 400 < 0.7


def test_scaled_gradient():
    assert gradient(lambda x: scale_grad(x, 0.5), [1.0, 2.0], [4.0, -2.0]) == [2.0, -1.0]


def test_penalty_pulls_large_values_back():
    found = gradient(lambda x: penalize_abs(x, limit=5.0, weight=0.25), [-6.0, -5.0, 0.0, 7.0], [1.0] * 4)
    assert found == [0.75, 1.0, 1.0, 1.25]
