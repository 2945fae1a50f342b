"""Kernels against the plain formulas, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv1d, softplus

from asr.kernels.depthwise import depthwise_conv
from asr.kernels.softmax import masked_softmax
from asr.kernels.swoosh import swoosh_l, swoosh_r


def assert_same(ours, plain, leaves) -> None:
    """Equal values with and without gradients, and equal gradients of a random sum."""
    torch.testing.assert_close(ours(*leaves), plain(*leaves), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(ours(*leaves), plain(*leaves), rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(plain(*leaves))
    found = torch.autograd.grad((ours(*leaves) * weights).sum(), leaves)
    expected = torch.autograd.grad((plain(*leaves) * weights).sum(), leaves)
    for mine, theirs in zip(found, expected):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("frames", [7, 20])
def test_depthwise_conv(padding, frames):
    leaves = [torch.randn(*shape, requires_grad=True) for shape in [(2, frames, 5), (5, 1, 7), (5,)]]

    def plain(x, weight, bias):
        return conv1d(x.transpose(1, 2), weight, bias, padding=padding, groups=5).transpose(1, 2)

    assert_same(lambda *args: depthwise_conv(*args, padding=padding), plain, leaves)


def test_depthwise_conv_with_frozen_input():
    x, weight, bias = torch.randn(2, 9, 4), torch.randn(4, 1, 3, requires_grad=True), torch.zeros(4)
    depthwise_conv(x, weight, bias).sum().backward()
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("swoosh, shift, offset", [(swoosh_l, 4.0, 0.035), (swoosh_r, 1.0, 0.313261687)])
def test_swoosh(swoosh, shift, offset):
    x = (4 * torch.randn(50)).requires_grad_()
    assert_same(swoosh, lambda x: softplus(x - shift) - 0.08 * x - offset, [x])


def test_masked_softmax():
    scores = torch.randn(2, 3, 4, 6, requires_grad=True)
    visible = torch.rand(2, 1, 4, 6) > 0.4
    visible[..., 0] = True

    def plain(scores):
        return scores.masked_fill(~visible, -torch.inf).softmax(dim=-1)

    assert_same(lambda scores: masked_softmax(scores, visible), plain, [scores])


@pytest.mark.parametrize("needs_gradient", [True, False])
def test_rows_that_see_nothing_are_zero(needs_gradient):
    scores = (100 * torch.randn(1, 2, 3, 5)).requires_grad_(needs_gradient)
    visible = torch.ones(1, 1, 3, 5, dtype=torch.bool)
    visible[0, 0, 1] = False
    weights = masked_softmax(scores, visible)
    assert torch.equal(weights[0, :, 1], torch.zeros(2, 5))
    torch.testing.assert_close(weights[0, :, [0, 2]].sum(dim=-1), torch.ones(2, 2))
    if needs_gradient:
        weights.square().sum().backward()
        assert torch.equal(scores.grad[0, :, 1], torch.zeros(2, 5))
        assert scores.grad.isfinite().all()


def test_hidden_entries_are_exactly_zero():
    visible = torch.tensor([[[[True, False, True]]]])
    assert masked_softmax(torch.tensor([[[[0.0, 900.0, 1.0]]]]), visible)[0, 0, 0, 1] == 0.0
