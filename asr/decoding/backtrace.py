"""Following surviving sequences back through the frames of one advance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.state import History, append, gather_sequences


class Extension(NamedTuple):
    """Where the sequences after one frame came from."""

    parent: Tensor  # (B, N) int64, slot before the frame
    symbol: Tensor  # (B, N) int64, blank where the parent was kept as it was
    log_prob: Tensor  # (B, N) float32, of the symbol


def remember(history: History, frames: Tensor, extensions: Sequence[Extension], blank_id: int) -> History:
    """Add what survived an advance to its history, just once.

    Args:
        history: before the advance.
        frames: encoder frames consumed before it, (B,).
        extensions: one per frame of the advance.
    """
    if not extensions:
        return history
    slot = torch.arange(history.num_tokens.shape[1], device=frames.device).expand_as(history.num_tokens)
    steps = []
    for extension in reversed(extensions):
        steps.append((extension.symbol.gather(1, slot), extension.log_prob.gather(1, slot)))
        slot = extension.parent.gather(1, slot)
    symbol, log_prob = (torch.stack(column[::-1], dim=-1) for column in zip(*steps, strict=True))
    frame = frames.reshape(-1, 1, 1) + torch.arange(len(extensions), device=slot.device)
    emitted = symbol != blank_id
    return append(gather_sequences(history, slot), emitted, symbol, frame.expand_as(symbol), log_prob)
