"""Our losses against k2's, on generated ragged batches."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asr.errors import ConfigError
from asr.losses import (
    Backend,
    Topology,
    prune_ranges,
    pruned_joiner_loss,
    pruned_transducer_loss,
    smoothed_transducer_loss,
)

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
NUM_CLASSES, JOINER_DIM = 11, 6
several_draws = settings(max_examples=60, deadline=None)
TOPOLOGIES = st.sampled_from(Topology)
SEEDS = st.integers(0, 10**6)
DELAY_PENALTIES = st.sampled_from([0.0, 0.02, 0.3])
SCALES = st.sampled_from([(0.25, 0.0), (0.0, 0.0), (0.2, 0.1)])


@st.composite
def batches(draw) -> list[tuple[int, int]]:
    """(symbols, frames) of each utterance: T_b at least S_b, and as k2 1.23.4 asserts it, a symbol somewhere."""
    utterances = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 12)), min_size=1, max_size=4))
    return [(max(s, 1) if i == 0 else s, max(s, 1) + extra) for i, (s, extra) in enumerate(utterances)]


def random_batch(batch: list[tuple[int, int]], seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    symbol_lens, frame_lens = torch.tensor(batch).unbind(1)
    size, num_symbols, num_frames = len(batch), int(symbol_lens.max()), int(frame_lens.max())

    def draw(*shape: int) -> Tensor:
        return (2 * torch.randn(*shape, generator=generator)).requires_grad_()

    return {
        "am": draw(size, num_frames, NUM_CLASSES),
        "lm": draw(size, num_symbols + 1, NUM_CLASSES),
        "encoder": draw(size, num_frames, JOINER_DIM),
        "predictor": draw(size, num_symbols + 1, JOINER_DIM),
        "weight": draw(NUM_CLASSES, JOINER_DIM),
        "bias": draw(NUM_CLASSES),
        "symbols": torch.randint(1, NUM_CLASSES, (size, num_symbols), generator=generator),
        "symbol_lens": symbol_lens,
        "frame_lens": frame_lens,
    }


def labels(x: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return x["symbols"], x["symbol_lens"], x["frame_lens"]


def assert_equal_losses(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    """Losses to 1e-5 relative, gradients to 1e-4 of each tensor's norm."""
    torch.testing.assert_close(ours, theirs, rtol=LOSS_TOLERANCE, atol=1e-5)
    weights = torch.linspace(0.5, 1.5, len(ours))
    found, expected = (torch.autograd.grad((loss * weights).sum(), inputs) for loss in (ours, theirs))
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= GRADIENT_TOLERANCE * other.norm() + 1e-6


@several_draws
@given(batches(), TOPOLOGIES, SEEDS, DELAY_PENALTIES, SCALES)
def test_smoothed_loss(batch, topology, seed, delay_penalty, scales):
    x = random_batch(batch, seed)
    options = {"lm_scale": scales[0], "am_scale": scales[1], "delay_penalty": delay_penalty, "topology": topology}
    ours, theirs = (
        smoothed_transducer_loss(x["am"], x["lm"], *labels(x), backend=backend, **options)
        for backend in (Backend.TORCH, Backend.K2)
    )
    assert_equal_losses(ours.loss, theirs.loss, [x["am"], x["lm"]])
    torch.testing.assert_close(ours.px_grad, theirs.px_grad, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.py_grad, theirs.py_grad, atol=1e-4, rtol=0)


@several_draws
@given(batches(), TOPOLOGIES, SEEDS, DELAY_PENALTIES, st.integers(2, 6))
def test_pruned_loss(batch, topology, seed, delay_penalty, s_range):
    x = random_batch(batch, seed)
    ranges = windows(x, topology, s_range)
    lens = x["symbol_lens"], x["frame_lens"]
    logits = torch.randn(*ranges.shape, NUM_CLASSES, requires_grad=True)
    joiner = [x[name] for name in ("encoder", "predictor", "weight", "bias")]
    options = {"delay_penalty": delay_penalty, "topology": topology}
    ours, theirs = (
        pruned_transducer_loss(logits, x["symbols"], ranges, *lens, backend=backend, **options)
        for backend in (Backend.TORCH, Backend.K2)
    )
    assert_equal_losses(*same_finite(ours, theirs), [logits])
    ours, theirs = (
        pruned_joiner_loss(*joiner, x["symbols"], ranges, *lens, backend=backend, **options)
        for backend in (Backend.TORCH, Backend.K2)
    )
    assert_equal_losses(*same_finite(ours, theirs), joiner)


def same_finite(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Where windows hold no alignment both losses are infinite; such utterances are left out of the rest."""
    assert torch.equal(ours.isfinite(), theirs.isfinite())
    return ours[ours.isfinite()], theirs[ours.isfinite()]


def windows(x: dict[str, Tensor], topology: Topology, s_range: int) -> Tensor:
    simple = smoothed_transducer_loss(x["am"], x["lm"], *labels(x), lm_scale=0.25, topology=topology)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prune_ranges(simple.px_grad, simple.py_grad, *labels(x)[1:], s_range, topology)


@several_draws
@given(batches(), TOPOLOGIES, SEEDS, st.integers(2, 6))
def test_windows(k2, batch, topology, seed, s_range):
    """From the same occupations; sums that are nearly equal may rank otherwise, and are left out."""
    x = random_batch(batch, seed)
    simple = smoothed_transducer_loss(
        x["am"], x["lm"], *labels(x), lm_scale=0.25, topology=topology, backend=Backend.K2
    )
    zeros = torch.zeros_like(x["symbol_lens"])
    boundary = torch.stack([zeros, zeros, *labels(x)[1:]], dim=1)
    px_grad = simple.px_grad
    if topology is Topology.REGULAR:
        px_grad = torch.nn.functional.pad(px_grad, (0, 1))
    expected = k2.get_rnnt_prune_ranges(px_grad, simple.py_grad, boundary, s_range)
    ours = windows(x, topology, s_range)
    assert ours.shape == expected.shape
    clear = ~near_tie(simple.px_grad, simple.py_grad, ours.shape[2])
    for b, frames in enumerate(x["frame_lens"]):
        if clear[b, :frames].all():
            np.testing.assert_array_equal(ours[b, :frames].numpy(), expected[b, :frames].numpy())


def near_tie(px_grad: Tensor, py_grad: Tensor, width: int) -> Tensor:
    """(B, T), True where the best two windows hold all but the same."""
    held = py_grad.unfold(1, width, 1).sum(-1)
    held[:, 1:] -= px_grad[:, : held.shape[1] - 1]
    best = held.topk(min(2, held.shape[1]), dim=1).values
    return best[:, 0] - best[:, -1] < 1e-4 if held.shape[1] > 1 else torch.zeros_like(best[:, 0], dtype=torch.bool)


def test_what_k2_cannot_take_is_refused_by_name():
    with pytest.raises(ConfigError, match="loss.backend=k2 needs at least one symbol and no more symbols than frames"):
        lens = torch.tensor([3]), torch.tensor([2])
        smoothed_transducer_loss(
            torch.randn(1, 2, 5), torch.randn(1, 4, 5), torch.ones(1, 3, dtype=torch.int64), *lens, backend=Backend.K2
        )
