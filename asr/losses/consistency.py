"""Two views of one utterance should agree: consistency regularisation of CTC."""

from __future__ import annotations

import torch
from torch import Tensor

from asr.losses.precision import full_precision, no_autocast
from asr.tensors import pad_mask


def consistency_loss(log_probs: Tensor, lens: Tensor, *, delay: int = 0) -> Tensor:
    """KL(other copy || this copy) of every row, (2B,), summed over its frames; the other copy is a constant target.

    Args:
        log_probs: normalised over V, (2B, T, V): two copies of B utterances, the second copies behind the first ones.
        lens: number of frames, (2B,).
        delay: frames before the second copies begin, which are compared with nothing; `lens` count them.
    Source: Yao et al., "CR-CTC", arXiv 2410.05101, equation 2; both directions are counted, each through one side.
    """
    with no_autocast(log_probs.device):
        log_probs = full_precision(log_probs)
        if delay:
            first, second = log_probs.chunk(2)
            log_probs = torch.cat([first[:, : first.shape[1] - delay], second[:, delay:]])
            lens = lens[: len(first)].repeat(2)
        target = log_probs.detach().roll(len(log_probs) // 2, dims=0)
        divergence = (target.exp() * (target - log_probs)).sum(dim=-1)
        return divergence.masked_fill(pad_mask(lens, log_probs.shape[1]), 0.0).sum(dim=1)
