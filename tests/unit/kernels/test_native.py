"""C++ kernels against plain torch, and what happens where there are none."""

from __future__ import annotations

import shutil

import pytest
import torch

from asr.kernels import native, scaled_adam
from asr.kernels.balance import balance
from asr.kernels.linear import linear
from asr.kernels.scaled_adam import Factors, plain_sums, plain_update, sums, update
from asr.nn.balancer import derive_limits
from asr.optim import ScaledAdam, ScaledAdamConfig

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler here"
)
tells_of_changes = pytest.mark.skipif(
    not hasattr(torch.autograd.graph, "increment_version"), reason="this torch cannot be told of changes from outside"
)
SHAPES = [(), (1,), (3,), (33, 129), (16, 1, 31), (4099,)]


@pytest.fixture
def native_only(monkeypatch, tmp_path):
    """Kernels compiled anew, and no way round them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RILL_NATIVE", raising=False)
    native.library.cache_clear()
    for name in ("plain_sums", "plain_update"):
        monkeypatch.setattr(scaled_adam, name, None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    native.library.cache_clear()


def tensors(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def some_grads() -> list[torch.Tensor | None]:
    grads: list[torch.Tensor | None] = [*tensors(1)]
    grads[2] = None
    grads[3] = tensors(1)[3].t().contiguous().t()  # the same numbers in another order in memory
    return grads


@needs_compiler
@tells_of_changes
@pytest.mark.parametrize("sizes", [False, True])
def test_sums(native_only, sizes):
    found = sums(tensors(0), some_grads(), sizes=sizes)
    expected = plain_sums(tensors(0), some_grads(), sizes=sizes)
    assert (found.param_norms is None) is (not sizes)
    for mine, theirs in zip(found[: 2 + sizes], expected):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-4)


@needs_compiler
@tells_of_changes
def test_what_was_worked_out_from_a_weight_is_not_used_after_an_update(native_only):
    weight = torch.nn.Parameter(torch.randn(128, 160))
    x = torch.randn(2, 160)
    optimizer = ScaledAdam([("weight", weight)], ScaledAdamConfig(lr=0.1))
    for _ in range(2):
        with torch.no_grad():
            torch.testing.assert_close(linear(x, weight), x @ weight.t(), rtol=1e-4, atol=1e-4)
        weight.grad = torch.randn_like(weight)
        optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight), x @ weight.t(), rtol=1e-4, atol=1e-4)


@needs_compiler
@tells_of_changes
@pytest.mark.parametrize("growth", [None, [0.01 * i for i in range(len(SHAPES))]])
def test_update(native_only, growth):
    factors = Factors(beta1=0.9, beta2=0.98, gain=0.015, eps=1e-8)
    rates = [-0.001 * (i + 1) for i in range(len(SHAPES))]
    mine, theirs = ([tensors(0), [x.square() for x in tensors(2)], tensors(3)] for _ in range(2))
    for (params, squares, deltas), move in ((mine, update), (theirs, plain_update)):
        move(params, some_grads(), squares, deltas, rates, growth, factors)
    for found, expected in zip(mine, theirs):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_without_a_compiler_plain_torch_does_the_work(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "/nowhere/c++")
    monkeypatch.delenv("RILL_NATIVE", raising=False)
    native.library.cache_clear()
    try:
        assert native.library("scaled_adam") is None
        found = sums(tensors(0), some_grads(), sizes=True)
    finally:
        native.library.cache_clear()
    torch.testing.assert_close(found, plain_sums(tensors(0), some_grads(), sizes=True))


def test_a_folder_that_others_may_write_to_is_not_trusted(monkeypatch, tmp_path):
    (tmp_path / "rill").mkdir()
    (tmp_path / "rill").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RILL_NATIVE", raising=False)
    native.library.cache_clear()
    try:
        assert native.library("scaled_adam") is None
    finally:
        native.library.cache_clear()


@needs_compiler
@pytest.mark.parametrize("rows", [1, 3, 8, 13])
@pytest.mark.parametrize("bias", [False, True])
def test_products_with_few_rows(native_only, monkeypatch, rows, bias):
    monkeypatch.setattr("asr.kernels.linear._WORTH_PACKING", 0)
    monkeypatch.setattr("asr.kernels.linear.product", None)
    weight = torch.nn.Parameter(torch.randn(70, 33))
    x, offset = torch.randn(rows, 33), torch.randn(70) if bias else None
    expected = x @ weight.t() + (offset if bias else 0.0)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, offset), expected, rtol=1e-5, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("rows", [5, 64, 200])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_balance(native_only, monkeypatch, rows, offset):
    generator = torch.Generator().manual_seed(rows)
    scale = torch.linspace(0.4, 20.0, 33)  # channels below, within and above the limits
    x, grad = (torch.randn(2, rows, 33, generator=generator) * scale + offset for _ in range(2))
    limits = derive_limits(0.3, 0.6, 0.5, 5.0)
    with monkeypatch.context() as without:
        without.setattr("asr.kernels.balance.library", lambda stem: None)
        expected = balance(x, grad, limits, 0.04)
    monkeypatch.setattr("asr.kernels.balance._loss_slope", None)
    torch.testing.assert_close(balance(x, grad, limits, 0.04), expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(expected, grad)
