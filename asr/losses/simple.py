"""The simple transducer loss: the joiner is a sum, so the whole lattice costs one matrix product.

Source: "Pruned RNN-T for fast, memory-efficient ASR training", arXiv 2206.13236, the trivial joiner and its smoothing.
The paper averages the unigram of the acoustic-only term per utterance; published models average over the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from asr.losses import k2_losses
from asr.losses.backend import Backend, use_k2
from asr.losses.full import next_symbols
from asr.losses.lattice import Topology, transducer_score
from asr.losses.precision import flush_tiny, flush_tiny_grad, full_precision, no_autocast


class SimpleLoss(NamedTuple):
    """Result of `smoothed_transducer_loss`."""

    loss: Tensor
    """(B,) negative log-probability of each transcript."""
    px_grad: Tensor
    """(B, S, T) occupation of symbol arcs, for `prune_ranges`; carries no gradient."""
    py_grad: Tensor
    """(B, S + 1, T) occupation of blank arcs."""


class _Arcs(NamedTuple):
    """Log-probabilities of the arcs: px (B, S, T or 1) and py (B, S + 1, T or 1)."""

    px: Tensor
    py: Tensor

    def scaled(self, scale: float) -> _Arcs:
        return _Arcs(self.px * scale, self.py * scale)

    def plus(self, other: _Arcs) -> _Arcs:
        return _Arcs(self.px + other.px, self.py + other.py)


def smoothed_transducer_loss(
    am: Tensor,
    lm: Tensor,
    symbols: Tensor,
    symbol_lens: Tensor,
    frame_lens: Tensor,
    *,
    blank_id: int = 0,
    lm_scale: float = 0.0,
    am_scale: float = 0.0,
    delay_penalty: float = 0.0,
    fastemit: float = 0.0,
    topology: Topology = Topology.REGULAR,
    backend: Backend = Backend.AUTO,
) -> SimpleLoss:
    """Transducer loss for logits am + lm, interpolated (in the log domain) with label-only and acoustic-only models.

    Args:
        am: unnormalised acoustic scores, (B, T, C) with C classes.
        lm: unnormalised label scores after each prefix, (B, S + 1, C).
        symbols: transcripts, (B, S) int64; anything beyond symbol_lens.
        symbol_lens, frame_lens: (B,).
        lm_scale: weight of the label-only model, in [0, 1].
        am_scale: weight of the acoustic-only model, in [0, 1]. Its unigram averages lm over the whole padded batch,
            so with am_scale != 0 utterances of a batch do influence one another.
        backend: whose code computes it.
    """
    with no_autocast(am.device):
        am, lm = flush_tiny_grad(full_precision(am)), flush_tiny_grad(full_precision(lm))
        if use_k2(backend, symbols, am.shape[1], fastemit):
            return SimpleLoss(
                *k2_losses.smoothed_loss(
                    am,
                    lm,
                    symbols,
                    symbol_lens,
                    frame_lens,
                    blank_id=blank_id,
                    lm_scale=lm_scale,
                    am_scale=am_scale,
                    delay_penalty=delay_penalty,
                    topology=topology,
                )
            )
        targets = next_symbols(symbols, symbol_lens, blank_id)[:, :-1]
        am_arcs, lm_arcs = _am_arcs(am, targets, blank_id), _lm_arcs(lm, targets, blank_id)
        normalizer = _joint_normalizer(am, lm)
        joint = _normalized(am_arcs.plus(lm_arcs), normalizer)
        arcs = joint.scaled(1.0 - lm_scale - am_scale)
        if lm_scale != 0.0:
            lm_only = _normalized(lm_arcs, torch.logsumexp(lm, dim=2).unsqueeze(2))
            arcs = arcs.plus(lm_only.scaled(lm_scale))
        if am_scale != 0.0:
            arcs = arcs.plus(_acoustic_only(am, lm, am_arcs, targets, blank_id).scaled(am_scale))
        result = transducer_score(
            *arcs, symbol_lens, frame_lens, topology=topology, delay_penalty=delay_penalty, fastemit=fastemit
        )
        return SimpleLoss(-result.score, result.px_grad, result.py_grad)


def _am_arcs(am: Tensor, targets: Tensor, blank_id: int) -> _Arcs:
    """Unnormalised acoustic scores of the arcs: px (B, S, T), py (B, 1, T)."""
    index = targets.unsqueeze(1).expand(-1, am.shape[1], -1)
    return _Arcs(am.gather(2, index).transpose(1, 2), am[:, :, blank_id].unsqueeze(1))


def _lm_arcs(lm: Tensor, targets: Tensor, blank_id: int) -> _Arcs:
    """Unnormalised label scores of the arcs: px (B, S, 1), py (B, S + 1, 1)."""
    return _Arcs(lm[:, :-1].gather(2, targets.unsqueeze(2)), lm[:, :, blank_id].unsqueeze(2))


def _normalized(arcs: _Arcs, normalizer: Tensor) -> _Arcs:
    return _Arcs(arcs.px - normalizer[:, : arcs.px.shape[1]], arcs.py - normalizer)


def _joint_normalizer(am: Tensor, lm: Tensor) -> Tensor:
    """log sum_c exp(am + lm), (B, S + 1, T), without ever forming (B, T, S + 1, C)."""
    am_exp, am_max = _exp_below_max(am)
    lm_exp, lm_max = _exp_below_max(lm)
    total = torch.matmul(lm_exp, am_exp.transpose(1, 2)) + torch.finfo(am.dtype).tiny
    return total.log() + lm_max + am_max.transpose(1, 2)


def _exp_below_max(logits: Tensor) -> tuple[Tensor, Tensor]:
    """exp(logits - max) and the maximum over classes, (B, N, 1), which no gradient needs to pass."""
    peak = logits.detach().max(dim=2, keepdim=True).values
    return flush_tiny((logits - peak).exp()), peak


def _acoustic_only(am: Tensor, lm: Tensor, am_arcs: _Arcs, targets: Tensor, blank_id: int) -> _Arcs:
    """Acoustic scores beside a unigram label model, the mean prediction of `lm`; px (B, S, T), py (B, 1, T)."""
    tiny = torch.finfo(am.dtype).tiny
    unigram = lm.softmax(dim=2).mean(dim=(0, 1)) + tiny
    am_exp, am_max = _exp_below_max(am)
    normalizer = torch.matmul(am_exp, unigram).log().unsqueeze(1) + am_max.transpose(1, 2)
    prior = unigram.log()
    return _Arcs(
        am_arcs.px + prior[targets].unsqueeze(2) - normalizer,
        am_arcs.py + prior[blank_id] - normalizer,
    )
