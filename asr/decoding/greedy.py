"""Greedy transducer search: take the best symbol, again and again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.config import SearchConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import TransducerModel, TransducerScorer
from asr.decoding.state import History, append, empty_history, to_hypotheses


class GreedyState(NamedTuple):
    """One sequence per stream."""

    history: History  # N = 1
    frames: Tensor  # (B,) int64, encoder frames consumed, 25 Hz
    log_prob: Tensor  # (B,) float64
    context: Tensor  # (B, context_size) int64
    prediction: Tensor  # (B, J), the predictor's answer to `context`, projected


class Emission(NamedTuple):
    """What every stream did in one look at its next frames."""

    emitted: Tensor  # (B,) bool, False where all were blank or past the stream's end
    symbol: Tensor  # (B,) int64
    frame: Tensor  # (B,) int64, counted from the first of this call
    log_prob: Tensor  # (B,) float32, of the symbol


_LOOK_AHEAD = 8
"""Frames scored at once. Tokens are a few frames apart, and the prediction stays as it is until the next."""


class GreedySearch:
    """Best symbol per step, for a batch of streams; a stream's answer depends on its own frames alone."""

    def __init__(self, model: TransducerModel, cfg: SearchConfig):
        self._scorer = TransducerScorer(model, cfg)
        self._symbols_per_frame = cfg.max_symbols_per_frame

    @torch.no_grad()
    def init(self, batch_size: int, device: torch.device | str = "cpu") -> GreedyState:
        """Streams that have heard nothing."""
        context, prediction = self._scorer.start(batch_size, device)
        zeros = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return GreedyState(empty_history(batch_size, 1, device), zeros, zeros.double(), context, prediction)

    @torch.no_grad()
    def advance(self, encoder_out: Tensor, lens: Tensor, state: GreedyState) -> GreedyState:
        """Decode the next frames of every stream: `encoder_out` is (B, T, C), `lens` (B,) in 0..T."""
        projected = self._scorer.project_frames(encoder_out)
        emissions: list[Emission] = []
        log_prob, context, prediction = state.log_prob, state.context, state.prediction
        cursor, said = torch.zeros_like(lens), torch.zeros_like(lens)  # next frame; tokens it has emitted already
        while bool((cursor < lens).any()):
            look, gained, blanks = self._look(projected, prediction, cursor, lens)
            context, prediction = self._scorer.advance_context(context, prediction, look.symbol, look.emitted)
            log_prob = log_prob + gained
            said = torch.where(blanks > 0, 0, said) + look.emitted.long()
            done = look.emitted & (said >= self._symbols_per_frame)
            cursor = cursor + blanks + done.long()
            said = said.masked_fill(done, 0)
            emissions.append(look)
        history = self._remember(state, emissions)
        return GreedyState(history, state.frames + lens, log_prob, context, prediction)

    def partial(self, state: GreedyState) -> list[Hypothesis]:
        """What each stream has said so far."""
        return [sequences[0] for sequences in to_hypotheses(state.history, state.log_prob.unsqueeze(1))]

    def finish(self, state: GreedyState) -> list[Hypothesis]:
        """What each stream has said, now that it is over."""
        return self.partial(state)

    def _look(
        self, projected: Tensor, prediction: Tensor, cursor: Tensor, lens: Tensor
    ) -> tuple[Emission, Tensor, Tensor]:
        """Go on to the next token of every stream, or over a few frames of blanks.

        Returns what was emitted, the log-probability gained, (B,) float64, and how many frames were blank, (B,).
        """
        ahead = torch.arange(min(_LOOK_AHEAD, projected.shape[1]), device=cursor.device)
        frame = cursor.unsqueeze(1) + ahead
        at = frame.clamp(max=projected.shape[1] - 1).unsqueeze(2).expand(-1, -1, projected.shape[2])
        log_probs = self._scorer.log_probs(projected.gather(1, at), prediction.unsqueeze(1))
        best, symbol = log_probs.max(dim=-1)
        inside = frame < lens.unsqueeze(1)
        speaks = inside & (symbol != self._scorer.blank_id)
        blanks = (inside & (speaks.cumsum(1) == 0)).sum(1)
        chosen = blanks.clamp(max=len(ahead) - 1).unsqueeze(1)
        gained = best.double().masked_fill(~inside | (ahead > blanks.unsqueeze(1)), 0.0).sum(1)
        picked = (x.gather(1, chosen).squeeze(1) for x in (symbol, frame, best))
        return Emission(speaks.any(1), *picked), gained, blanks

    def _remember(self, state: GreedyState, emissions: list[Emission]) -> History:
        if not emissions:
            return state.history
        steps = Emission(*(torch.stack(column, dim=-1).unsqueeze(1) for column in zip(*emissions, strict=True)))
        frame = state.frames.reshape(-1, 1, 1) + steps.frame
        return append(state.history, steps.emitted, steps.symbol, frame, steps.log_prob)
