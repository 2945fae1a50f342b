"""Kernels against the plain formulas, forwards and backwards."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import Parameter
from torch.nn.functional import conv1d, conv2d, softplus

from asr.kernels import native
from asr.kernels import product as kernels_product
from asr.kernels.depthwise import depthwise_conv, depthwise_image_conv
from asr.kernels.dispatch import ordinary
from asr.kernels.gate import gate_rows
from asr.kernels.layout import laid_out, refilled
from asr.kernels.linear import linear
from asr.kernels.mlp import swoosh_mlp
from asr.kernels.norm import normalise
from asr.kernels.product import add_product, product
from asr.kernels.softmax import masked_softmax, positioned_softmax
from asr.kernels.swoosh import SWOOSH_L, SWOOSH_R, swoosh_l, swoosh_linear, swoosh_r


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
@pytest.mark.parametrize("frames", [7, 20, 90])
@pytest.mark.parametrize("channels", [5, 70])
def test_depthwise_conv(either, padding, frames, channels):
    shapes = [(2, frames, channels), (channels, 1, 7), (channels,)]
    leaves = [torch.randn(*shape, requires_grad=True) for shape in shapes]

    def plain(x, weight, bias):
        return conv1d(x.transpose(1, 2), weight, bias, padding=padding, groups=channels).transpose(1, 2)

    assert_same(lambda *args: depthwise_conv(*args, padding=padding), plain, leaves)


@pytest.mark.parametrize("channels", [5, 80])
def test_depthwise_image_conv(either, channels):
    leaves = [torch.randn(2, 8, 3, channels), torch.randn(channels, 1, 5, 5), torch.randn(channels)]

    def plain(x, weight, bias):
        return conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=(0, 2), groups=channels).permute(0, 2, 3, 1)

    assert_same(depthwise_image_conv, plain, [leaf.requires_grad_() for leaf in leaves])


@pytest.mark.parametrize("frames", [9, 400])
@pytest.mark.parametrize("learns", ["x", "weight", "bias"])
def test_one_of_several_may_learn_alone(either, frames, learns):
    """As when all but some small matrices are frozen: what lies below a frozen kernel learns all the same."""
    torch.set_num_threads(1)
    parts = {"x": torch.randn(2, frames, 32), "weight": torch.randn(32, 1, 5), "bias": torch.randn(32)}
    parts[learns].requires_grad_()
    image = parts["x"].unsqueeze(2).expand(-1, -1, 3, -1)
    kernels = {
        "depthwise": depthwise_conv(*parts.values()),
        "image": depthwise_image_conv(image, parts["weight"].unsqueeze(3).expand(-1, -1, -1, 5), parts["bias"]),
        "linear": linear(parts["x"], parts["weight"].flatten(1).repeat(1, 7)[:, :32], parts["bias"]),
    }
    for name, out in kernels.items():
        (grad,) = torch.autograd.grad(out.square().sum(), parts[learns])
        assert grad.isfinite().all() and grad.any(), name


def test_depthwise_conv_with_frozen_input():
    x, weight, bias = torch.randn(2, 9, 4), torch.randn(4, 1, 3, requires_grad=True), torch.zeros(4)
    depthwise_conv(x, weight, bias).sum().backward()
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("swoosh, shift, offset", [(swoosh_l, 4.0, 0.035), (swoosh_r, 1.0, 0.313261687)])
def test_swoosh(swoosh, shift, offset):
    x = (4 * torch.randn(50)).requires_grad_()
    assert_same(swoosh, lambda x: softplus(x - shift) - 0.08 * x - offset, [x])


@pytest.fixture(params=["native", "plain"])
def either(request, monkeypatch):
    """The kernel in C++, and in plain torch."""
    monkeypatch.setenv("RILL_NATIVE", "0") if request.param == "plain" else monkeypatch.delenv("RILL_NATIVE", False)
    native.library.cache_clear()
    if request.param == "native" and native.library("encoder") is None:
        pytest.skip("there is no C++ compiler here")
    yield
    native.library.cache_clear()


@pytest.mark.parametrize("curve", [SWOOSH_L, SWOOSH_R])
@pytest.mark.parametrize("scaled", [False, True])
def test_swoosh_linear(either, curve, scaled):
    scale = 2.0 * torch.randint(2, (2, 1, 37)) if scaled else None
    leaves = [torch.randn(*size, requires_grad=True) for size in [(2, 9, 37), (3, 37), (3,)]]

    def plain(x, weight, bias):
        y = softplus(x - curve.shift) - 0.08 * x - curve.offset
        return (y * (1.0 if scale is None else scale)) @ weight.t() + bias

    assert_same(lambda *args: swoosh_linear(*args, curve, scale=scale), plain, leaves)


def test_swoosh_over_the_whole_range(either):
    for x in (torch.linspace(-150.0, 150.0, 2001), torch.randn(2, 5, 3, 4).permute(0, 3, 1, 2)):
        leaves = [x.requires_grad_()]
        assert_same(swoosh_l, lambda x: torch.logaddexp(x - 4.0, torch.zeros(())) - 0.08 * x - 0.035, leaves)


@pytest.mark.parametrize("rows", [1, 2048, 5000])
@pytest.mark.parametrize("hidden", [4, 9])
def test_swoosh_mlp(either, rows, hidden):
    sizes = [(rows, 5), (hidden, 5), (hidden,), (3, hidden), (3,)]
    leaves = [(torch.randn(*size, dtype=torch.float64) / 30).float().requires_grad_() for size in sizes]

    def plain(x, weight1, bias1, weight2, bias2):
        hidden = x @ weight1.t() + bias1
        return (softplus(hidden - 4.0) - 0.08 * hidden - 0.035) @ weight2.t() + bias2

    assert_same(lambda *args: swoosh_mlp(*args, SWOOSH_L), plain, leaves)


def test_masked_softmax():
    scores = torch.randn(2, 3, 4, 6, requires_grad=True)
    visible = torch.rand(2, 1, 4, 6) > 0.4
    visible[..., 0] = True

    def plain(scores):
        return scores.masked_fill(~visible, -torch.inf).softmax(dim=-1)

    assert_same(lambda scores: masked_softmax(scores, visible), plain, [scores])


@pytest.mark.parametrize("past, seen_by", [(0, (2, 1, 1)), (0, (1, 7, 1)), (5, (2, 7, 1)), (0, None)])
def test_positioned_softmax(either, past, seen_by):
    targets, sources, width = 7, past + 7, past + 14
    scores, query, table = torch.randn(2, 3, targets, sources), torch.randn(2, targets, 3, 4), torch.randn(3, 4, width)
    visible = torch.ones(1, 1, 1, dtype=torch.bool)
    if seen_by is not None:
        visible = torch.rand(seen_by).expand(*seen_by[:2], sources) + torch.rand(*seen_by[:2], sources) > 0.8

    def plain(scores, query, table):
        query, added = query.transpose(1, 2), []
        for t in range(targets):
            columns = table[:, :, targets - 1 - t : targets - 1 - t + sources]
            added.append((query[:, :, t].unsqueeze(3) * columns).sum(dim=2))
        return masked_softmax(scores + torch.stack(added, dim=2), visible.unsqueeze(1))

    leaves = [leaf.requires_grad_() for leaf in (scores, query, table)]
    found = positioned_softmax(scores, query.transpose(1, 2), table, visible)
    assert torch.equal(found == 0.0, plain(*leaves) == 0.0)

    def ours(scores, query, table):
        return positioned_softmax(scores.clone(), query.transpose(1, 2), table, visible)

    assert_same(ours, plain, leaves)


@pytest.mark.parametrize("needs_gradient", [True, False])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_scores_that_are_no_numbers_show(either, needs_gradient, bad):
    """A guard against diverging training looks for them further on."""
    scores = torch.zeros(1, 1, 2, 3)
    scores[0, 0, 1, 1] = bad
    visible = torch.ones(1, 1, 3, dtype=torch.bool)
    none = torch.zeros(1, 1, 2, 4), torch.zeros(1, 4, 5)
    weights = positioned_softmax(scores.requires_grad_(needs_gradient), *none, visible)
    assert weights[0, 0, 0].isfinite().all() and not weights[0, 0, 1].isfinite().any()


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


@pytest.fixture(params=["own", "oneDNN"])
def multiplier(request, monkeypatch):
    """One of the products that stand in for torch's, whoever made the processor, and however small."""
    if request.param == "own" and native.library("product") is None:
        pytest.skip("there is no C++ compiler here")
    if request.param == "oneDNN":
        if not kernels_product._has_onednn():
            pytest.skip("this torch has no such product")
        monkeypatch.setattr(kernels_product, "_kernel", lambda: None)
    torch.set_num_threads(1)
    monkeypatch.setattr(kernels_product, "_mkl_is_slow", lambda: True)
    monkeypatch.setattr(kernels_product, "_WORTH_A_CALL", 0)
    monkeypatch.setattr(kernels_product, "_WORTH_ONEDNN", 0)
    monkeypatch.setattr(kernels_product.functional, "linear", None)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 3, 5)])
def test_linear(multiplier, shape):
    leaves = [torch.randn(*size, requires_grad=True) for size in (shape, (4, 5), (4,))]
    assert_same(linear, lambda x, weight, bias: x @ weight.t() + bias, leaves)
    assert_same(linear, lambda x, weight: x @ weight.t(), leaves[:2])


def test_linear_of_a_slice(multiplier):
    x, weight = torch.randn(2, 6, 8)[:, 1:, 2:7].requires_grad_(), torch.randn(4, 5, requires_grad=True)
    assert_same(linear, lambda x, weight: x @ weight.t(), [x, weight])


@pytest.mark.parametrize("rows, depth, width", [(1, 1, 1), (9, 700, 50), (33, 320, 96), (7, 33, 129)])
def test_products_of_any_shape_and_order(multiplier, rows, depth, width):
    x, y, bias = torch.randn(rows, depth), torch.randn(depth, width), torch.randn(width)
    expected = (x.double() @ y.double()).float()
    for left in (x, x.t().contiguous().t(), torch.randn(rows, 2 * depth)[:, ::2].copy_(x)):
        for right in (y, y.t().contiguous().t()):
            torch.testing.assert_close(product(left, right), expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(product(left, right, bias), expected + bias, rtol=1e-4, atol=1e-4)
            for total in (torch.ones(rows, width), torch.ones(width, rows).t()):
                add_product(total, left, right)
                torch.testing.assert_close(total, expected + 1.0, rtol=1e-4, atol=1e-4)


def test_products_that_do_not_fit_are_refused(multiplier):
    x, y = torch.randn(3, 5), torch.randn(5, 4)
    for wrong in (lambda: product(x, y[:4]), lambda: product(x, y, torch.randn(5)), lambda: add_product(x, x, y)):
        with pytest.raises((ValueError, RuntimeError)):
            wrong()
    torch.testing.assert_close(product(x, y, torch.randn(4, 2)[:, 1].copy_(y[0])), x @ y + y[0], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(native.library("product") is None, reason="there is no C++ compiler here")
def test_a_row_of_a_product_is_its_own(monkeypatch):
    """To the bit: how many rows come along is no reason to round otherwise."""
    torch.set_num_threads(1)
    monkeypatch.setattr(kernels_product, "_mkl_is_slow", lambda: True)
    monkeypatch.setattr(kernels_product, "_WORTH_A_CALL", 0)
    x, y = torch.randn(29, 400), torch.randn(400, 70)
    together = product(x, y)
    for rows in (slice(0, 1), slice(3, 20), slice(28, 29)):
        assert torch.equal(product(x[rows], y), together[rows])


@pytest.mark.filterwarnings("ignore:`torch.jit.trace` is deprecated:DeprecationWarning")
def test_kernels_step_aside_where_torch_is_watched():
    x = torch.randn(3)
    seen = []

    def note(x):
        seen.append(ordinary(x))
        return x + 1

    assert ordinary(x) and not ordinary(x, x.double())
    torch.jit.trace(note, x, check_trace=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        note(x)
    if hasattr(torch, "export"):
        torch.export.export(Calling(note), (x,))
    assert seen and not any(seen)


class Calling(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_packed_weights_follow_their_parameter():
    from asr.kernels.linear import linear

    weight, x = torch.nn.Parameter(torch.randn(512, 384)), torch.randn(8, 384)
    with torch.no_grad():
        for change in (lambda: None, lambda: weight.mul_(2.0), lambda: setattr(weight, "data", torch.randn(512, 384))):
            change()
            for _ in range(2):
                torch.testing.assert_close(linear(x, weight), x @ weight.t(), rtol=1e-4, atol=1e-4)
    assert not hasattr(copy.deepcopy(weight), "_packed")


def test_weights_that_come_together_again_are_laid_out_anew():
    """A model in shares frees its parameters and fills them again: maybe in the same place, as the same version."""
    weight = Parameter(torch.ones(3))
    for value in (1.0, 2.0):
        weight.data.fill_(value)
        refilled([weight])
        assert laid_out(weight, torch.neg)[0] == -value
        assert laid_out(weight, torch.neg) is laid_out(weight, torch.neg)


def test_bias_norm_at_inference(either):
    x, bias, log_scale = torch.randn(2, 3, 37), torch.randn(37), torch.tensor(0.3)
    expected = x * log_scale.exp() / (x - bias).square().mean(-1, keepdim=True).sqrt()
    torch.testing.assert_close(normalise(x, bias, log_scale), expected)


def test_weights_that_cannot_say_that_they_change_are_laid_out_each_time():
    with torch.inference_mode():
        weight, constant = Parameter(torch.ones(3)), Parameter(torch.ones(3), requires_grad=False)
        for parameter in (weight, constant):
            laid_out(parameter, torch.neg)
            parameter.mul_(2.0)
        assert laid_out(weight, torch.neg)[0] == -2.0
        assert laid_out(constant, torch.neg) is laid_out(constant, torch.neg)


def test_gates(either):
    x, lens = 9 * torch.randn(3, 5, 2 * 19), torch.tensor([5, 2, 0])
    inside = torch.arange(5).unsqueeze(1) < lens.reshape(-1, 1, 1)

    def plain(x):
        return torch.where(inside, x[..., :19] * x[..., 19:].sigmoid(), 0.0)

    assert_same(lambda x: gate_rows(x, lens), plain, [x.clone().requires_grad_()])
    expected, x[1, 2:] = plain(x), torch.nan
    torch.testing.assert_close(gate_rows(x, lens), expected)


def test_gates_go_through_what_balances_them():
    x = torch.randn(2, 3, 8, requires_grad=True)
    gate_rows(x, torch.tensor([3, 3]), lambda gate: gate.detach()).sum().backward()
    assert not x.grad[..., 4:].any() and x.grad[..., :4].all()
