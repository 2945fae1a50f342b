"""Greedy CTC search: the best symbol of each frame, repeats collapsed, blanks dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.config import SearchConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import normalise
from asr.decoding.state import History, append, empty_history, to_hypotheses


class CtcState(NamedTuple):
    """One sequence per stream, and the last frame's symbol, with which the next may collapse."""

    history: History  # N = 1
    frames: Tensor  # (B,) int64, encoder frames consumed, 25 Hz
    log_prob: Tensor  # (B,) float64
    last: Tensor  # (B,) int64


class CtcGreedySearch:
    """Needs a model's CTC head alone; a token is dated by the first frame of its run.

    Source: Graves et al. 2006, "Connectionist temporal classification", there called best path decoding.
    """

    def __init__(self, ctc_head: Callable[[Tensor], Tensor], blank_id: int, cfg: SearchConfig):
        """`ctc_head` maps encoder frames (B, T, C) to log-probabilities (B, T, V)."""
        self._ctc_head = ctc_head
        self._blank_id = blank_id
        self._cfg = cfg

    def init(self, batch_size: int, device: torch.device | str = "cpu") -> CtcState:
        """Streams that have heard nothing."""
        zeros = torch.zeros(batch_size, dtype=torch.int64, device=device)
        last = torch.full_like(zeros, self._blank_id)
        return CtcState(empty_history(batch_size, 1, device), zeros, zeros.double(), last)

    @torch.no_grad()
    def advance(self, encoder_out: Tensor, lens: Tensor, state: CtcState) -> CtcState:
        """Decode the next frames of every stream: `encoder_out` is (B, T, C), `lens` (B,) in 0..T."""
        log_probs = normalise(self._ctc_head(encoder_out), self._blank_id, self._cfg)
        symbol = log_probs.argmax(-1)
        best = log_probs.gather(-1, symbol.unsqueeze(-1)).squeeze(-1)
        at = torch.arange(encoder_out.shape[1], device=lens.device)
        valid = at < lens.unsqueeze(1)
        # Column t + 1 is frame t, so column `lens` is each row's last valid frame, or the old one if there was none.
        run = torch.cat([state.last.unsqueeze(1), symbol], dim=1)
        emitted = valid & (symbol != self._blank_id) & (symbol != run[:, :-1])
        frame = state.frames.unsqueeze(1) + at
        steps = (column.unsqueeze(1) for column in (emitted, symbol, frame, best))
        return CtcState(
            append(state.history, *steps),
            state.frames + lens,
            state.log_prob + best.masked_fill(~valid, 0.0).double().sum(-1),
            run.gather(1, lens.unsqueeze(1)).squeeze(1),
        )

    def partial(self, state: CtcState) -> list[Hypothesis]:
        """What each stream has said so far."""
        return [sequences[0] for sequences in to_hypotheses(state.history, state.log_prob.unsqueeze(1))]

    def finish(self, state: CtcState) -> list[Hypothesis]:
        """What each stream has said, now that it is over."""
        return self.partial(state)
