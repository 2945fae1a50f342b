"""The pruned transducer loss: the real joiner, on r label positions per frame.

Source: "Pruned RNN-T for fast, memory-efficient ASR training", arXiv 2206.13236.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from asr.kernels.product import add_product, product
from asr.losses import k2_losses
from asr.losses.backend import Backend, use_k2
from asr.losses.full import arc_log_probs, next_symbols
from asr.losses.lattice import Topology, transducer_score
from asr.losses.precision import drop_negligible, flush_tiny, full_precision, no_autocast
from asr.tensors import pad_mask


def pruned_joiner_loss(
    encoder_proj: Tensor,
    predictor_proj: Tensor,
    output_weight: Tensor,
    output_bias: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    symbol_lens: Tensor,
    frame_lens: Tensor,
    *,
    blank_id: int = 0,
    delay_penalty: float = 0.0,
    fastemit: float = 0.0,
    topology: Topology = Topology.REGULAR,
    backend: Backend = Backend.AUTO,
    block_rows: int | None = None,
) -> Tensor:
    """Joiner and pruned loss in one, (B,), without ever holding the logits of a batch.

    The joiner is output_weight @ tanh(encoder_proj + predictor_proj) + output_bias. It runs on blocks of (frame, label
    position) rows and keeps three numbers of each; the backward pass computes the logits again, and only of rows that
    an alignment of noticeable probability visits.

    Args:
        encoder_proj: (B, T, J).
        predictor_proj: (B, S + 1, J).
        output_weight, output_bias: (C, J) and (C,), C classes.
        symbols: transcripts, (B, S) int64; anything beyond symbol_lens.
        ranges: label positions per frame, (B, T, r), from `prune_ranges`.
        symbol_lens, frame_lens: (B,).
        backend: whose code computes it; k2's does hold the logits.
        block_rows: rows at a time; None chooses 2048 on a CPU, where a block should stay in cache, and 65536 elsewhere.
    """
    with no_autocast(encoder_proj.device):
        lens = symbol_lens, frame_lens
        if use_k2(backend, symbols, encoder_proj.shape[1], fastemit):
            logits = k2_losses.joiner_logits(encoder_proj, predictor_proj, output_weight, output_bias, ranges)
            return k2_losses.pruned_loss(logits, symbols, ranges, *lens, blank_id, delay_penalty, topology)
        targets = _window_targets(symbols, symbol_lens, ranges, blank_id)
        wanted = _inside(ranges, *lens)
        rows = _rows(wanted.flatten().nonzero().squeeze(1), ranges, targets, predictor_proj.shape[1])
        block_rows = block_rows or (2048 if encoder_proj.device.type == "cpu" else 65536)
        joiner = (full_precision(x) for x in (encoder_proj, predictor_proj, output_weight, output_bias))
        log_probs = _JoinerLogProbs.apply(*joiner, rows, blank_id, block_rows)
        symbol, blank = log_probs.new_zeros(2, ranges.numel()).index_copy(1, rows.slot, log_probs)
        arcs = symbol.reshape(ranges.shape), blank.reshape(ranges.shape)
        return _window_loss(*arcs, symbols, ranges, *lens, delay_penalty, fastemit, topology)


def pruned_transducer_loss(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    symbol_lens: Tensor,
    frame_lens: Tensor,
    *,
    blank_id: int = 0,
    delay_penalty: float = 0.0,
    fastemit: float = 0.0,
    topology: Topology = Topology.REGULAR,
    backend: Backend = Backend.AUTO,
) -> Tensor:
    """The pruned loss, (B,), for joiners of any form: logits (B, T, r, C) were computed at `ranges` (B, T, r).

    Other arguments as in `pruned_joiner_loss`.
    """
    with no_autocast(logits.device):
        lens = symbol_lens, frame_lens
        if use_k2(backend, symbols, logits.shape[1], fastemit):
            return k2_losses.pruned_loss(logits, symbols, ranges, *lens, blank_id, delay_penalty, topology)
        arcs = arc_log_probs(logits, _window_targets(symbols, symbol_lens, ranges, blank_id), blank_id)
        return _window_loss(*arcs, symbols, ranges, *lens, delay_penalty, fastemit, topology)


def _window_loss(
    symbol: Tensor,
    blank: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    symbol_lens: Tensor,
    frame_lens: Tensor,
    delay_penalty: float,
    fastemit: float,
    topology: Topology,
) -> Tensor:
    """Score the lattice that has arcs, both (B, T, r), only inside the windows."""
    shape = (*ranges.shape[:2], symbols.shape[1] + 1)
    px, py = (x.new_full(shape, -math.inf).scatter(2, ranges, x).transpose(1, 2) for x in (symbol, blank))
    lens = symbol_lens, frame_lens
    found = transducer_score(px[:, :-1], py, *lens, topology=topology, delay_penalty=delay_penalty, fastemit=fastemit)
    return -found.score


def _window_targets(symbols: Tensor, symbol_lens: Tensor, ranges: Tensor, blank_id: int) -> Tensor:
    """The symbol that leaves each position of each window, (B, T, r)."""
    following = next_symbols(symbols, symbol_lens, blank_id)
    return following.gather(1, ranges.flatten(1)).reshape(ranges.shape)


def _inside(ranges: Tensor, symbol_lens: Tensor, frame_lens: Tensor) -> Tensor:
    """(B, T, r), True where the position belongs to the utterance."""
    frames = ~pad_mask(frame_lens.to(ranges.device), ranges.shape[1])
    return frames.unsqueeze(2) & (ranges <= symbol_lens.to(ranges.device).reshape(-1, 1, 1))


class _Rows(NamedTuple):
    """The joiner rows to compute: each is one position of one window. All (N,) int64."""

    slot: Tensor
    """place in flattened (B, T, r)"""
    frame: Tensor
    """place in flattened (B, T)"""
    position: Tensor
    """place in flattened (B, S + 1)"""
    target: Tensor
    """symbol whose log-probability is wanted"""

    def select(self, rows: Tensor | slice) -> _Rows:
        return _Rows(*(index[rows] for index in self))

    def blocks(self, size: int) -> Iterator[tuple[slice, _Rows]]:
        for start in range(0, len(self.slot), size):
            block = slice(start, start + size)
            yield block, self.select(block)


def _rows(slots: Tensor, ranges: Tensor, targets: Tensor, num_positions: int) -> _Rows:
    _, num_frames, width = ranges.shape
    frames = torch.div(slots, width, rounding_mode="floor")
    utterances = torch.div(frames, num_frames, rounding_mode="floor")
    positions = utterances * num_positions + ranges.flatten()[slots]
    return _Rows(slots, frames, positions, targets.flatten()[slots])


class _JoinerWeights(NamedTuple):
    """What the joiner computes from, flattened: (B * T, J), (B * (S + 1), J), (C, J), (C,)."""

    encoder: Tensor
    predictor: Tensor
    weight: Tensor
    bias: Tensor

    def hidden(self, rows: _Rows) -> Tensor:
        return self.encoder.index_select(0, rows.frame).add_(self.predictor.index_select(0, rows.position)).tanh_()

    def logits(self, hidden: Tensor) -> Tensor:
        return product(hidden, self.weight.t(), self.bias)


class _JoinerLogProbs(torch.autograd.Function):
    """Log-probabilities of each row's target and of blank, (2, N); logits live for one block, twice."""

    @staticmethod
    def forward(
        ctx: Any,
        encoder_proj: Tensor,
        predictor_proj: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: _Rows,
        blank_id: int,
        block_rows: int,
    ) -> Tensor:
        joiner = _JoinerWeights(encoder_proj.flatten(0, 1), predictor_proj.flatten(0, 1), weight, bias)
        log_probs = weight.new_empty(2, len(rows.slot))
        normalizer = weight.new_empty(len(rows.slot))
        for block, part in rows.blocks(block_rows):
            logits = joiner.logits(joiner.hidden(part))
            torch.logsumexp(logits, dim=1, out=normalizer[block])
            log_probs[0, block] = logits.gather(1, part.target.unsqueeze(1)).squeeze(1)
            log_probs[1, block] = logits[:, blank_id]
        ctx.save_for_backward(encoder_proj, predictor_proj, weight, bias, normalizer)
        ctx.rows, ctx.blank_id, ctx.block_rows = rows, blank_id, block_rows
        return log_probs.sub_(normalizer)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        encoder_proj, predictor_proj, weight, bias, normalizer = ctx.saved_tensors
        with no_autocast(weight.device):
            joiner = _JoinerWeights(encoder_proj.flatten(0, 1), predictor_proj.flatten(0, 1), weight, bias)
            visited = (grad != 0).any(dim=0).nonzero().squeeze(1)
            rows, grad, normalizer = ctx.rows.select(visited), grad[:, visited], normalizer[visited]
            grads = _JoinerWeights(*(torch.zeros_like(x) for x in joiner))
            for block, part in rows.blocks(ctx.block_rows):
                _add_block_grads(grads, joiner, part, grad[:, block], normalizer[block], ctx.blank_id)
            return (
                flush_tiny(grads.encoder).view_as(encoder_proj),
                flush_tiny(grads.predictor).view_as(predictor_proj),
                grads.weight,
                grads.bias,
                None,
                None,
                None,
            )


def _add_block_grads(
    grads: _JoinerWeights, joiner: _JoinerWeights, rows: _Rows, grad: Tensor, normalizer: Tensor, blank_id: int
) -> None:
    """Add what one block of rows, with gradients (2, N) of its two log-probabilities, contributes to `grads`."""
    hidden = joiner.hidden(rows)
    probabilities = drop_negligible(joiner.logits(hidden).sub_(normalizer.unsqueeze(1)).exp_())
    # d log p(k) / d logits = one_hot(k) - probabilities, for k the target and k blank
    logits_grad = probabilities.mul_(-grad.sum(dim=0).unsqueeze(1))
    logits_grad.scatter_add_(1, rows.target.unsqueeze(1), grad[0].unsqueeze(1))
    logits_grad[:, blank_id] += grad[1]
    add_product(grads.weight, logits_grad.t(), hidden)
    grads.bias.add_(logits_grad.sum(dim=0))
    sum_grad = product(logits_grad, joiner.weight).mul_(hidden.square_().neg_().add_(1.0))
    grads.encoder.index_add_(0, rows.frame, sum_grad)
    grads.predictor.index_add_(0, rows.position, sum_grad)
