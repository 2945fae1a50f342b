"""The transducer loss on all of (B, T, U): the yardstick for everything cheaper."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.losses.lattice import Topology, transducer_score
from asr.losses.precision import flush_tiny_grad, full_precision, no_autocast
from asr.tensors import pad_mask


def full_transducer_loss(
    logits: Tensor,
    symbols: Tensor,
    symbol_lens: Tensor,
    frame_lens: Tensor,
    *,
    blank_id: int = 0,
    delay_penalty: float = 0.0,
    topology: Topology = Topology.REGULAR,
) -> Tensor:
    """Negative log-probability of each transcript, (B,); inf where no alignment exists.

    Args:
        logits: unnormalised joiner output, (B, T, U, C) with C classes and U = S + 1.
        symbols: transcripts, (B, S) int64; anything beyond symbol_lens.
        symbol_lens, frame_lens: (B,).
    """
    with no_autocast(logits.device):
        targets = next_symbols(symbols, symbol_lens, blank_id).unsqueeze(1).expand(logits.shape[:3])
        symbol, blank = arc_log_probs(logits, targets, blank_id)
        px, py = symbol[:, :, :-1].transpose(1, 2), blank.transpose(1, 2)
        return -transducer_score(px, py, symbol_lens, frame_lens, topology=topology, delay_penalty=delay_penalty).score


def next_symbols(symbols: Tensor, symbol_lens: Tensor, blank_id: int) -> Tensor:
    """The symbol to come after s others, (B, S) to (B, S + 1): padding and the end read as blank."""
    padding = pad_mask(symbol_lens.to(symbols.device), symbols.shape[1])
    return F.pad(symbols.masked_fill(padding, blank_id), (0, 1), value=blank_id)


def arc_log_probs(logits: Tensor, targets: Tensor, blank_id: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the target, and of blank: logits (..., C), targets (...) int64 to two of (...)."""
    logits = flush_tiny_grad(full_precision(logits))
    normalizer = torch.logsumexp(logits, dim=-1)
    symbol = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return symbol - normalizer, logits[..., blank_id] - normalizer
