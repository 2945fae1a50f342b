"""Cross-entropy whose targets are smoothed: for the attention decoder."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from asr.losses.precision import full_precision, no_autocast


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy of every row, (B,), summed over its symbols, against 1 - `smoothing` plus a uniform rest.

    Args:
        logits: (B, U, V).
        targets: (B, U) int64; -1 is passed over.
    Source: Szegedy et al. 2016, "Rethinking the Inception architecture", section 7.
    """
    with no_autocast(logits.device):
        scores = full_precision(logits).transpose(1, 2)
        return cross_entropy(scores, targets, ignore_index=-1, label_smoothing=smoothing, reduction="none").sum(dim=1)
