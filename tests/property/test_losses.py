"""Transducer losses on generated ragged batches, against enumeration and against one another."""

from __future__ import annotations

import math
import warnings
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asr.losses import (
    Topology,
    full_transducer_loss,
    prune_ranges,
    pruned_joiner_loss,
    pruned_transducer_loss,
    smoothed_transducer_loss,
    transducer_score,
)

TOPOLOGIES = st.sampled_from(Topology)
SEEDS = st.integers(0, 10**6)
# (symbols, frames) of each utterance
TINY_BATCHES = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), min_size=1, max_size=3)
BATCHES = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 14)), min_size=1, max_size=4)
NUM_CLASSES = 6


def lens_of(batch: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    symbol_lens, frame_lens = torch.tensor(batch).unbind(1)
    return symbol_lens, frame_lens


def random_arcs(batch: list[tuple[int, int]], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    symbol_lens, frame_lens = lens_of(batch)
    size, num_symbols, num_frames = len(batch), int(symbol_lens.max()), int(frame_lens.max())
    px = torch.randn(size, num_symbols, num_frames, generator=generator).double()
    py = torch.randn(size, num_symbols + 1, num_frames, generator=generator).double()
    return px, py, symbol_lens, frame_lens


def enumerated_score(px: Tensor, py: Tensor, num_symbols: int, num_frames: int, topology: Topology) -> float:
    """Log-sum over all alignments of one utterance, each written out."""
    scores = []
    if topology is Topology.REGULAR:
        # The last arc is the blank of the last frame; the symbols are some of the others.
        alignments = combinations(range(num_frames + num_symbols - 1), num_symbols)
    else:
        alignments = combinations(range(num_frames), num_symbols)
    for symbol_steps in alignments:
        s = t = 0
        total = 0.0
        while s < num_symbols or t < num_frames:
            step = s + t if topology is Topology.REGULAR else t
            if step in symbol_steps:
                total += float(px[s, t])
                total += float(py[s + 1, t]) if topology is Topology.CONSTRAINED else 0.0
                s, t = s + 1, t + (topology is not Topology.REGULAR)
            else:
                total += float(py[s, t])
                t += 1
        scores.append(total)
    return float(torch.tensor(scores, dtype=torch.float64).logsumexp(0)) if scores else -math.inf


@settings(max_examples=40, deadline=None)
@given(TINY_BATCHES, TOPOLOGIES, SEEDS)
def test_score_is_the_sum_over_all_alignments(batch, topology, seed):
    px, py, *lens = random_arcs(batch, seed)
    score = transducer_score(px, py, *lens, topology=topology).score
    expected = [enumerated_score(px[i], py[i], s, t, topology) for i, (s, t) in enumerate(batch)]
    torch.testing.assert_close(score, torch.tensor(expected, dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(BATCHES, TOPOLOGIES, SEEDS)
def test_every_symbol_and_every_frame_is_used_once(batch, topology, seed):
    px, py, *lens = random_arcs(batch, seed)
    score, px_grad, py_grad = transducer_score(px, py, *lens, topology=topology)
    for i, (num_symbols, num_frames) in enumerate(batch):
        possible = 1.0 if topology is Topology.REGULAR or num_symbols <= num_frames else 0.0
        assert (float(score[i]) > -math.inf) == bool(possible)
        per_symbol, per_frame = px_grad[i].sum(1), py_grad[i].sum(0)
        if topology is not Topology.REGULAR:
            per_frame = per_frame + px_grad[i].sum(0)
        torch.testing.assert_close(per_symbol[:num_symbols], torch.full((num_symbols,), possible).double())
        torch.testing.assert_close(per_frame[:num_frames], torch.full((num_frames,), possible).double())
        assert not per_symbol[num_symbols:].any() and not per_frame[num_frames:].any()
        assert not py_grad[i, num_symbols + 1 :].any()


@settings(max_examples=15, deadline=None)
@given(TINY_BATCHES, TOPOLOGIES, SEEDS, st.sampled_from([0.0, 0.3]))
def test_occupations_are_the_derivative(batch, topology, seed, delay_penalty):
    px, py, *lens = random_arcs(batch, seed)

    def scores_that_exist(px: Tensor, py: Tensor) -> Tensor:
        score = transducer_score(px, py, *lens, topology=topology, delay_penalty=delay_penalty).score
        return score.masked_fill(score == -math.inf, 0.0)

    assert torch.autograd.gradcheck(scores_that_exist, (px.requires_grad_(), py.requires_grad_()))


def random_batch(batch: list[tuple[int, int]], seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    symbol_lens, frame_lens = lens_of(batch)
    size, num_symbols, num_frames = len(batch), int(symbol_lens.max()), int(frame_lens.max())

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    return {
        "am": draw(size, num_frames, NUM_CLASSES),
        "lm": draw(size, num_symbols + 1, NUM_CLASSES),
        "encoder": draw(size, num_frames, 5),
        "predictor": draw(size, num_symbols + 1, 5),
        "weight": draw(NUM_CLASSES, 5),
        "bias": draw(NUM_CLASSES),
        "symbols": torch.randint(1, NUM_CLASSES, (size, num_symbols), generator=generator),
        "symbol_lens": symbol_lens,
        "frame_lens": frame_lens,
    }


def all_losses(x: dict[str, Tensor], topology: Topology, s_range: int) -> tuple[Tensor, Tensor, Tensor]:
    """Simple loss, pruned loss, and windows."""
    labels = x["symbols"], x["symbol_lens"], x["frame_lens"]
    simple = smoothed_transducer_loss(x["am"], x["lm"], *labels, lm_scale=0.25, topology=topology)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranges = prune_ranges(simple.px_grad, simple.py_grad, *labels[1:], s_range, topology)
    joiner = x["encoder"], x["predictor"], x["weight"], x["bias"]
    pruned = pruned_joiner_loss(*joiner, labels[0], ranges, *labels[1:], topology=topology, block_rows=7)
    return simple.loss, pruned, ranges


def logits_of(x: dict[str, Tensor]) -> Tensor:
    hidden = (x["encoder"].unsqueeze(2) + x["predictor"].unsqueeze(1)).tanh()
    return hidden @ x["weight"].t() + x["bias"]


def grads(loss: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss.masked_fill(loss == math.inf, 0.0).sum(), inputs))


@settings(max_examples=30, deadline=None)
@given(BATCHES, TOPOLOGIES, SEEDS)
def test_pruned_with_full_windows_is_the_full_loss(batch, topology, seed):
    x = random_batch(batch, seed)
    inputs = [x[name].requires_grad_() for name in ("encoder", "predictor", "weight", "bias")]
    labels = x["symbol_lens"], x["frame_lens"]
    num_positions, num_frames = x["lm"].shape[1], x["am"].shape[1]
    ranges = torch.arange(num_positions).expand(len(batch), num_frames, num_positions)
    logits = logits_of(x)
    full = full_transducer_loss(logits, x["symbols"], *labels, topology=topology)
    pruned = pruned_transducer_loss(logits, x["symbols"], ranges, *labels, topology=topology)
    fused = pruned_joiner_loss(*inputs, x["symbols"], ranges, *labels, topology=topology, block_rows=7)
    torch.testing.assert_close(pruned, full)
    torch.testing.assert_close(fused, full)
    expected = grads(full, inputs)
    for ours, theirs in zip(grads(fused, inputs), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@settings(max_examples=30, deadline=None)
@given(BATCHES, SEEDS)
def test_simple_loss_is_the_full_loss_of_summed_logits(batch, seed):
    x = random_batch(batch, seed)
    labels = x["symbols"], x["symbol_lens"], x["frame_lens"]
    inputs = [x["am"].requires_grad_(), x["lm"].requires_grad_()]
    simple = smoothed_transducer_loss(*inputs, *labels).loss
    full = full_transducer_loss(x["am"].unsqueeze(2) + x["lm"].unsqueeze(1), *labels)
    torch.testing.assert_close(simple, full)
    for ours, theirs in zip(grads(simple, inputs), grads(full, inputs), strict=True):
        torch.testing.assert_close(ours, theirs)


@settings(max_examples=30, deadline=None)
@given(BATCHES, TOPOLOGIES, SEEDS, st.integers(2, 6))
def test_windows_are_legal_and_pruning_never_gains(batch, topology, seed, s_range):
    x = random_batch(batch, seed)
    _, pruned, ranges = all_losses(x, topology, s_range)
    starts = ranges[:, :, 0]
    width = ranges.shape[2]
    assert not starts[:, 0].any() and int(ranges.max()) <= x["symbols"].shape[1]
    steps = starts.diff(dim=1)
    assert (steps >= 0).all() and (steps <= max(width - 1, 0)).all()
    full = full_transducer_loss(logits_of(x), x["symbols"], x["symbol_lens"], x["frame_lens"], topology=topology)
    assert (pruned >= full - 1e-9).all()
    if topology is Topology.REGULAR:
        assert pruned.isfinite().all(), "every transcript must fit through its windows"


@settings(max_examples=30, deadline=None)
@given(BATCHES, TOPOLOGIES, SEEDS, SEEDS)
def test_garbage_in_padding_changes_nothing(batch, topology, seed, garbage_seed):
    x = random_batch(batch, seed, torch.float32)
    y = {name: value.clone() for name, value in random_batch(batch, garbage_seed, torch.float32).items()}
    y |= {name: x[name] for name in ("weight", "bias")}
    for i, (num_symbols, num_frames) in enumerate(batch):
        for name, valid in (("am", num_frames), ("encoder", num_frames), ("symbols", num_symbols)):
            y[name][i, :valid] = x[name][i, :valid]
        for name in ("lm", "predictor"):
            y[name][i, : num_symbols + 1] = x[name][i, : num_symbols + 1]
        y["symbols"][i, num_symbols:] = -1
    for ours, theirs in zip(all_losses(y, topology, 3), all_losses(x, topology, 3), strict=True):
        if ours.dtype == torch.int64:
            inside = torch.arange(ours.shape[1]) < x["frame_lens"].unsqueeze(1)
            ours, theirs = ours[inside], theirs[inside]
        assert torch.equal(ours, theirs)


@settings(max_examples=30, deadline=None)
@given(BATCHES, SEEDS)
def test_neighbours_change_nothing(batch, seed):
    """Windows are another matter: their width is one for the whole batch."""
    x = random_batch(batch, seed)
    simple, *_ = all_losses(x, Topology.REGULAR, 3)
    full = full_transducer_loss(logits_of(x), x["symbols"], x["symbol_lens"], x["frame_lens"])
    for i, (num_symbols, num_frames) in enumerate(batch):
        alone = {name: value[i : i + 1] if value.shape[0] == len(batch) else value for name, value in x.items()}
        alone["weight"], alone["bias"] = x["weight"], x["bias"]
        for name, length in (("am", num_frames), ("encoder", num_frames), ("symbols", num_symbols)):
            alone[name] = alone[name][:, :length]
        for name in ("lm", "predictor"):
            alone[name] = alone[name][:, : num_symbols + 1]
        lens = alone["symbol_lens"], alone["frame_lens"]
        torch.testing.assert_close(all_losses(alone, Topology.REGULAR, 3)[0][0], simple[i])
        torch.testing.assert_close(full_transducer_loss(logits_of(alone), alone["symbols"], *lens)[0], full[i])


@pytest.mark.parametrize("topology", Topology)
def test_fused_joiner_gradcheck(topology):
    x = random_batch([(3, 5), (0, 3), (2, 4)], seed=5)
    labels = x["symbol_lens"], x["frame_lens"]
    ranges = all_losses(x, topology, 2)[2]

    def loss(*joiner: Tensor) -> Tensor:
        return pruned_joiner_loss(*joiner, x["symbols"], ranges, *labels, topology=topology, block_rows=4)

    inputs = tuple(x[name].requires_grad_() for name in ("encoder", "predictor", "weight", "bias"))
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("am_scale", [0.0, 0.2])
def test_smoothed_loss_gradcheck(am_scale):
    x = random_batch([(3, 5), (0, 3), (2, 4)], seed=6)

    def loss(am: Tensor, lm: Tensor) -> Tensor:
        labels = x["symbols"], x["symbol_lens"], x["frame_lens"]
        return smoothed_transducer_loss(am, lm, *labels, lm_scale=0.25, am_scale=am_scale).loss

    assert torch.autograd.gradcheck(loss, (x["am"].requires_grad_(), x["lm"].requires_grad_()))
