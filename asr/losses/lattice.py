"""The transducer lattice: total score of all alignments, and how often each arc is used.

A node (s, t) means: s symbols emitted, t frames consumed. From it a symbol arc with log-probability px(s, t) emits the
next symbol, and a blank arc with py(s, t) consumes the frame. Alignments run from (0, 0) to (S_b, T_b).

Source: Graves, "Sequence transduction with recurrent neural networks", arXiv 1211.3711; topologies as in k2.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from asr.kernels.lattice import scan
from asr.losses.precision import drop_negligible
from asr.nn.gradients import scale_grad
from asr.tensors import pad_mask


class Topology(Enum):
    """Where a symbol arc leads."""

    REGULAR = "regular"
    """(s, t) -> (s + 1, t): any number of symbols per frame."""
    MODIFIED = "modified"
    """(s, t) -> (s + 1, t + 1): a symbol consumes its frame, so at most one per frame; needs T_b >= S_b."""
    CONSTRAINED = "constrained"
    """As MODIFIED, and emitting a symbol also pays for a blank on the same frame from the new context."""


class LatticeScore(NamedTuple):
    """Result of `transducer_score`."""

    score: Tensor
    """(B,) total log-probability; -inf where no alignment exists. Differentiable."""
    px_grad: Tensor
    """(B, S, T) in [0, 1]: occupation of each symbol arc, the derivative of the score; 0 outside the utterance."""
    py_grad: Tensor
    """(B, S + 1, T) in [0, 1]: the same for blank arcs."""


def transducer_score(
    px: Tensor,
    py: Tensor,
    symbol_lens: Tensor,
    frame_lens: Tensor,
    *,
    topology: Topology = Topology.REGULAR,
    delay_penalty: float = 0.0,
    fastemit: float = 0.0,
) -> LatticeScore:
    """Sum over all alignments of each utterance, with the arc occupations.

    Args:
        px: log-probability of symbol s at frame t, (B, S, T); nothing is emitted after the last frame.
        py: log-probability of blank after s symbols at frame t, (B, S + 1, T).
        symbol_lens: number of symbols S_b, (B,); 0 is fine.
        frame_lens: number of frames T_b, (B,).
        delay_penalty: adds delay_penalty * ((T_b - 1) / 2 - t) to px: early symbols are favoured where it is positive.
        fastemit: scales the gradient of px by 1 + fastemit, so that symbols gain on blanks; the score stays as it is.
            Source: FastEmit, arXiv 2010.11148, equation 10.
    """
    assert py.shape == (px.shape[0], px.shape[1] + 1, px.shape[2]), f"px {px.shape} does not fit py {py.shape}"
    symbol_lens, frame_lens = symbol_lens.to(px.device), frame_lens.to(px.device)
    if delay_penalty != 0.0:
        frames = torch.arange(px.shape[2], device=px.device, dtype=px.dtype)
        px = px + delay_penalty * ((frame_lens.unsqueeze(1) - 1) / 2 - frames).unsqueeze(1)
    if fastemit != 0.0:
        px = scale_grad(px, 1.0 + fastemit)
    if topology is Topology.CONSTRAINED:
        px = px + py[:, 1:]
    return LatticeScore(*_Score.apply(px, py, symbol_lens, frame_lens, topology is Topology.REGULAR))


class _Score(torch.autograd.Function):
    """The derivative of the score is the occupations, which come with it; so autograd never sees the recursion."""

    @staticmethod
    def forward(ctx: Any, px: Tensor, py: Tensor, symbol_lens: Tensor, frame_lens: Tensor, skewed: bool) -> Any:
        # A score is a sum of thousands of nats; in float32 its rounding alone would cost occupations 1 %.
        wide = torch.float64 if px.device.type != "mps" else px.dtype
        result = _forward_backward(px.to(wide), py.to(wide), symbol_lens, frame_lens, skewed)
        score, px_grad, py_grad = (x.to(px.dtype) for x in result)
        # A frame has few arcs: 2e-9 (float32) is nothing beside their sum, and spares the pruned joiner many a row.
        px_grad, py_grad = drop_negligible(px_grad, power=1.25), drop_negligible(py_grad, power=1.25)
        ctx.save_for_backward(px_grad, py_grad)
        ctx.mark_non_differentiable(px_grad, py_grad)
        return score, px_grad, py_grad

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, score_grad: Tensor, *_: Any) -> Any:
        px_grad, py_grad = ctx.saved_tensors
        upstream = score_grad.reshape(-1, 1, 1)
        return upstream * px_grad, upstream * py_grad, None, None, None


def _forward_backward(px: Tensor, py: Tensor, symbol_lens: Tensor, frame_lens: Tensor, skewed: bool) -> LatticeScore:
    """One scan over steps, forwards and backwards at once.

    Every alignment crosses step k exactly once if a step is an anti-diagonal, k = s + t (`skewed`: arcs go from one
    diagonal to the next), or a frame, k = t, where symbols consume frames. So nodes are laid out as (step, batch, s),
    and the backward pass is the same scan on arcs reversed in step and s.
    """
    num_symbols, num_frames = px.shape[1:]
    steps = num_frames + num_symbols if skewed else num_frames
    ends = frame_lens + symbol_lens if skewed else frame_lens
    at_end = torch.arange(num_symbols + 1, device=px.device) == symbol_lens.unsqueeze(1)
    symbol, blank = (_to_steps(arcs, steps, skewed) for arcs in _mask_arcs(px, py, symbol_lens, frame_lens))
    # An utterance that has ended waits at its last node for free, so that all end at the last step.
    waiting = torch.arange(steps, device=px.device).unsqueeze(1) >= ends
    blank = blank.masked_fill(waiting.unsqueeze(2) & at_end, 0.0)

    start = torch.zeros_like(at_end)
    start[:, 0] = True
    arcs_in = torch.stack([F.pad(symbol[:, :, :-1], (1, 0), value=-math.inf), blank], dim=2)
    arcs_out = torch.stack([symbol, blank], dim=2).flip((0, 3))
    nodes = scan(torch.cat([start, at_end.flip(1)]), torch.cat([arcs_in, arcs_out], dim=1))
    alpha, beta = nodes[:, : len(px)], nodes[:, len(px) :].flip((0, 2))

    score = alpha[-1].gather(1, symbol_lens.unsqueeze(1)).squeeze(1)
    before = alpha[:-1] - score.masked_fill(score == -math.inf, 0.0).unsqueeze(1)
    symbol_use = ((before + symbol)[:, :, :-1] + beta[1:, :, 1:]).exp_().clamp_(max=1.0)
    blank_use = (before + blank).add_(beta[1:]).exp_().clamp_(max=1.0)
    px_grad, py_grad = (_from_steps(use, num_frames, skewed) for use in (symbol_use, blank_use))
    return LatticeScore(score, px_grad, py_grad.masked_fill(pad_mask(frame_lens, num_frames).unsqueeze(1), 0.0))


def _mask_arcs(px: Tensor, py: Tensor, symbol_lens: Tensor, frame_lens: Tensor) -> tuple[Tensor, Tensor]:
    """Both (B, S + 1, T): px gets an impossible last row; arcs outside an utterance are impossible."""
    num_symbols, num_frames = px.shape[1:]
    frame_pad = pad_mask(frame_lens, num_frames).unsqueeze(1)
    px = torch.cat([px, torch.full_like(py[:, :1], -math.inf)], dim=1)
    symbol_pad = pad_mask(symbol_lens, num_symbols + 1).unsqueeze(2)
    blank_pad = pad_mask(symbol_lens + 1, num_symbols + 1).unsqueeze(2)
    return px.masked_fill(symbol_pad | frame_pad, -math.inf), py.masked_fill(blank_pad | frame_pad, -math.inf)


def _to_steps(arcs: Tensor, steps: int, skewed: bool) -> Tensor:
    """(B, R, T) to (K, B, R): by frame, or by anti-diagonal, where places outside the lattice are -inf."""
    batch, rows, frames = arcs.shape
    if skewed:
        # Row s moves right by s: written with rows one longer than they are read.
        wide = F.pad(arcs, (0, steps + 1 - frames), value=-math.inf)
        arcs = wide.reshape(batch, -1)[:, : rows * steps].reshape(batch, rows, steps)
    return arcs.permute(2, 0, 1)


def _from_steps(values: Tensor, frames: int, skewed: bool) -> Tensor:
    """Undo `_to_steps`: (K, B, R) to (B, R, T)."""
    steps, batch, rows = values.shape
    values = values.permute(1, 2, 0)
    if skewed:
        flat = torch.cat([values.reshape(batch, rows * steps), values.new_zeros(batch, rows)], dim=1)
        values = flat.reshape(batch, rows, steps + 1)
    return values[:, :, :frames].contiguous()
