"""The CTC loss, one number per utterance."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from asr.losses.precision import flush_tiny_grad, full_precision, no_autocast


def ctc_loss(log_probs: Tensor, lens: Tensor, symbols: Tensor, symbol_lens: Tensor, *, blank_id: int = 0) -> Tensor:
    """Negative log-probability of each transcript under CTC, (B,), summed over its frames and not normalised.

    An utterance with too few frames for its transcript (repeated symbols need a blank between) has an infinite loss.

    Args:
        log_probs: normalised over V, (B, T, V).
        lens: number of frames, (B,).
        symbols: transcripts, (B, S) int64; anything beyond symbol_lens.
        symbol_lens: (B,).
    Source: Graves et al., "Connectionist temporal classification", ICML 2006.
    """
    with no_autocast(log_probs.device):
        time_first = flush_tiny_grad(full_precision(log_probs)).transpose(0, 1)
        return F.ctc_loss(time_first, symbols, lens, symbol_lens, blank=blank_id, reduction="none")
