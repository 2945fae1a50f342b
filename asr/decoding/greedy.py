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
    """What every stream did at one step."""

    emitted: Tensor  # (B,) bool, False for a blank or past the stream's end
    symbol: Tensor  # (B,) int64
    log_prob: Tensor  # (B,) float32, of the symbol


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
        for t in range(encoder_out.shape[1]):
            active = lens > t
            for _ in range(self._symbols_per_frame):
                step = self._step(projected[:, t], prediction, active)
                context, prediction = self._scorer.advance_context(context, prediction, step.symbol, step.emitted)
                log_prob = log_prob + step.log_prob.masked_fill(~active, 0.0)
                emissions.append(step)
                active = step.emitted  # the others saw a blank, and wait for the next frame
        history = self._remember(state, emissions)
        return GreedyState(history, state.frames + lens, log_prob, context, prediction)

    def partial(self, state: GreedyState) -> list[Hypothesis]:
        """What each stream has said so far."""
        return [sequences[0] for sequences in to_hypotheses(state.history, state.log_prob.unsqueeze(1))]

    def finish(self, state: GreedyState) -> list[Hypothesis]:
        """What each stream has said, now that it is over."""
        return self.partial(state)

    def _step(self, frame: Tensor, prediction: Tensor, active: Tensor) -> Emission:
        log_probs = self._scorer.log_probs(frame, prediction)
        symbol = log_probs.argmax(-1)
        best = log_probs.gather(-1, symbol.unsqueeze(-1)).squeeze(-1)
        return Emission(active & (symbol != self._scorer.blank_id), symbol, best)

    def _remember(self, state: GreedyState, emissions: list[Emission]) -> History:
        if not emissions:
            return state.history
        steps = Emission(*(torch.stack(column, dim=-1).unsqueeze(1) for column in zip(*emissions, strict=True)))
        step = torch.arange(len(emissions), device=state.frames.device)
        frame = state.frames.reshape(-1, 1, 1) + torch.div(step, self._symbols_per_frame, rounding_mode="floor")
        return append(state.history, steps.emitted, steps.symbol, frame, steps.log_prob)
