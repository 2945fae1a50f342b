"""The transducer losses as k2 computes them; `asr.losses.simple` and `asr.losses.pruned` say what they are.

Source: "Pruned RNN-T for fast, memory-efficient ASR training", arXiv 2206.13236, by k2's authors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from asr.kernels.k2 import load_k2
from asr.losses.full import next_symbols
from asr.losses.lattice import Topology
from asr.losses.precision import full_precision


def smoothed_loss(
    am: Tensor,
    lm: Tensor,
    symbols: Tensor,
    symbol_lens: Tensor,
    frame_lens: Tensor,
    *,
    blank_id: int,
    lm_scale: float,
    am_scale: float,
    delay_penalty: float,
    topology: Topology,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss (B,) and occupations, (B, S, T) and (B, S + 1, T), of `smoothed_transducer_loss`."""
    loss, (px_grad, py_grad) = load_k2().rnnt_loss_smoothed(
        lm,
        am,
        _targets(symbols, symbol_lens, blank_id),
        blank_id,
        lm_only_scale=lm_scale,
        am_only_scale=am_scale,
        boundary=_boundary(symbol_lens, frame_lens, am.device),
        rnnt_type=topology.value,
        delay_penalty=delay_penalty,
        reduction="none",
        return_grad=True,
    )
    # Where a symbol consumes no frame k2 has one more column, after the last frame, in which nothing can happen.
    return loss, px_grad[:, :, : am.shape[1]].detach(), py_grad.detach()


def pruned_loss(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    symbol_lens: Tensor,
    frame_lens: Tensor,
    blank_id: int,
    delay_penalty: float,
    topology: Topology,
) -> Tensor:
    """Loss (B,) of `pruned_transducer_loss`."""
    return load_k2().rnnt_loss_pruned(
        full_precision(logits),
        _targets(symbols, symbol_lens, blank_id),
        ranges,
        blank_id,
        boundary=_boundary(symbol_lens, frame_lens, logits.device),
        rnnt_type=topology.value,
        delay_penalty=delay_penalty,
        reduction="none",
    )


def joiner_logits(
    encoder_proj: Tensor, predictor_proj: Tensor, output_weight: Tensor, output_bias: Tensor, ranges: Tensor
) -> Tensor:
    """The joiner at `ranges`, (B, T, r, C), all at once, as k2's loss takes it."""
    am, lm = load_k2().do_rnnt_pruning(full_precision(encoder_proj), full_precision(predictor_proj), ranges)
    return linear(torch.tanh(am + lm), full_precision(output_weight), full_precision(output_bias))


def _targets(symbols: Tensor, symbol_lens: Tensor, blank_id: int) -> Tensor:
    """Symbols with harmless padding, (B, S) int64: k2 looks padding up as well."""
    return next_symbols(symbols, symbol_lens, blank_id)[:, :-1].contiguous()


def _boundary(symbol_lens: Tensor, frame_lens: Tensor, device: torch.device) -> Tensor:
    """(B, 4) int64: first symbol, first frame, number of symbols, number of frames."""
    zeros = torch.zeros_like(symbol_lens)
    return torch.stack([zeros, zeros, symbol_lens, frame_lens.to(zeros)], dim=1).long().to(device)
