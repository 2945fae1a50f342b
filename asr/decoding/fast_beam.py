"""Fast beam search in plain torch: the few best contexts of the predictor, one symbol per frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.backtrace import Extension, remember
from asr.decoding.beam import NEVER, extend_key
from asr.decoding.config import SearchConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import TransducerModel, TransducerScorer
from asr.decoding.state import History, empty_history, gather_sequences, to_hypotheses


class Contexts(NamedTuple):
    """The N contexts that are followed in each stream; a score of -inf marks a slot that holds none."""

    score: Tensor  # (B, N) float64, log-probability of the best sequence with this context
    context: Tensor  # (B, N, context_size) int64
    prediction: Tensor  # (B, N, J), the predictor's answer to `context`, projected


class FastBeamState(NamedTuple):
    """The contexts, the best sequence of each, and the best one that was ready to end at the last frame."""

    history: History  # N + 1 sequences; the last one is the ended one
    frames: Tensor  # (B,) int64, encoder frames consumed, 25 Hz
    contexts: Contexts
    ended: Tensor  # (B,) float64, log-probability of the ended sequence; -inf where there is none


class FastBeamSearch:
    """Keep one sequence, the best, for each context of the predictor, and the best few contexts.

    Of sequences that the predictor cannot tell apart only the best can win, so nothing is lost by forgetting the
    others (Viterbi). This is the search of k2 over the graph that allows any sequence, and gives its answers: it starts
    from a context of blanks, an answer ends with the last frame, which can emit nothing, and it must survive the
    pruning to do so. With `allow_partial` a stream where none did answers with the best sequence there is.

    Source: Kang et al. 2022, "Fast and parallel decoding for transducer".
    """

    def __init__(self, model: TransducerModel, cfg: SearchConfig):
        self._scorer = TransducerScorer(model, cfg)
        self._cfg = cfg.fast

    @torch.no_grad()
    def init(self, batch_size: int, device: torch.device | str = "cpu") -> FastBeamState:
        """Streams that have heard nothing: one context, of blanks."""
        size, width = self._cfg.max_contexts, self._scorer.context_size
        shape = (batch_size, size, width)
        context = torch.full(shape, self._scorer.blank_id, dtype=torch.int64, device=device)
        prediction = self._scorer.predict(context[:, 0]).unsqueeze(1).repeat(1, size, 1)
        score = torch.full(shape[:2], NEVER, dtype=torch.float64, device=device)
        score[:, 0] = 0.0
        frames = torch.zeros(batch_size, dtype=torch.int64, device=device)
        ended = torch.full_like(score[:, 0], NEVER)
        return FastBeamState(
            empty_history(batch_size, size + 1, device), frames, Contexts(score, context, prediction), ended
        )

    @torch.no_grad()
    def advance(self, encoder_out: Tensor, lens: Tensor, state: FastBeamState) -> FastBeamState:
        """Decode the next frames of every stream: `encoder_out` is (B, T, C), `lens` (B,) in 0..T."""
        projected = self._scorer.project_frames(encoder_out)
        contexts, ended = state.contexts, state.ended
        extensions: list[Extension] = []
        for t in range(encoder_out.shape[1]):
            active = lens > t
            moved, moved_end, extension = self._step(projected[:, t], contexts)
            contexts = _where(active, moved, contexts)
            ended = torch.where(active, moved_end, ended)
            extensions.append(self._or_stay(active, extension))
        history = remember(state.history, state.frames, extensions, self._scorer.blank_id)
        return FastBeamState(history, state.frames + lens, contexts, ended)

    def partial(self, state: FastBeamState) -> list[Hypothesis]:
        """What each stream would answer now; it may yet change altogether."""
        ended, score = state.ended.unsqueeze(1), state.contexts.score
        best, slot = score.max(1, keepdim=True)
        is_ended = ended > NEVER
        slot = torch.where(is_ended, torch.full_like(slot, score.shape[1]), slot)
        log_prob = torch.where(is_ended, ended, best)
        answers = [sequences[0] for sequences in to_hypotheses(gather_sequences(state.history, slot), log_prob)]
        if self._cfg.allow_partial:
            return answers
        return [
            answer if complete else Hypothesis(log_prob=NEVER)
            for answer, complete in zip(answers, is_ended.squeeze(1).tolist(), strict=True)
        ]

    def finish(self, state: FastBeamState) -> list[Hypothesis]:
        """What each stream has said, now that it is over."""
        return self.partial(state)

    def _step(self, frame: Tensor, contexts: Contexts) -> tuple[Contexts, Tensor, Extension]:
        """One frame (B, J): the next contexts, the best score (B,) of what may end with it, and where all came from."""
        log_probs = self._scorer.log_probs(frame.unsqueeze(1), contexts.prediction)
        arcs = contexts.score.unsqueeze(-1) + log_probs
        blank = arcs[..., self._scorer.blank_id].clone()  # to end costs as much as a blank
        # What falls out of the beam within this one frame is gone, even where all else falls too, but for blanks.
        arcs = arcs.masked_fill(arcs < contexts.score.amax(1).reshape(-1, 1, 1) - self._cfg.beam, NEVER)
        arcs[..., self._scorer.blank_id] = blank
        score, chosen = self._distinct(arcs, contexts.context)
        score, ends = self._prune(score, blank)
        score, rank = score.topk(contexts.score.shape[1], dim=1)
        # A slot that holds nothing repeats the best one, so that it never keeps an old sequence alive.
        chosen = chosen.gather(1, torch.where(score > NEVER, rank, rank[:, :1]))
        parent, symbol = torch.div(chosen, arcs.shape[-1], rounding_mode="floor"), chosen % arcs.shape[-1]
        moved = self._move(contexts, score, parent, symbol)
        ends = ends & _among(self._key(contexts.context), self._key(moved.context), score > NEVER)
        # The frame itself is not scored on the way out: an ended sequence keeps what it had before.
        ended, last = contexts.score.masked_fill(~ends, NEVER).max(1, keepdim=True)
        parent = torch.cat([parent, last], dim=1)
        symbol = torch.cat([symbol, torch.full_like(last, self._scorer.blank_id)], dim=1)
        at = torch.cat([chosen, last * arcs.shape[-1] + self._scorer.blank_id], dim=1)
        return moved, ended.squeeze(1), Extension(parent, symbol, log_probs.flatten(1).gather(1, at))

    def _distinct(self, arcs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The best arcs (B, N, V), best first: scores (B, M) and indices into N * V; -inf where a better arc leads to
        the same context. M is enough to hold the best `max_states` contexts, for at most N arcs lead to each."""
        num_slots, vocab_size = arcs.shape[1:]
        num = min(num_slots * vocab_size, num_slots * self._cfg.max_states)
        score, chosen = arcs.flatten(1).topk(num, dim=1)
        slot, symbol = torch.div(chosen, vocab_size, rounding_mode="floor"), chosen % vocab_size
        key = self._key(self._push(context, slot, symbol))
        ordered, order = key.sort(dim=1, stable=True)
        repeated = torch.zeros_like(ordered, dtype=torch.bool)
        repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
        return score.masked_fill(repeated.scatter(1, order, repeated), NEVER), chosen

    def _prune(self, score: Tensor, blank: Tensor) -> tuple[Tensor, Tensor]:
        """Drop what lies outside the beam or beyond the best `max_states`; which of the N sequences may end, (B, N)."""
        everything = torch.cat([score, blank], dim=1)
        kept = everything.topk(min(self._cfg.max_states, everything.shape[1]), dim=1).values
        floor = torch.maximum(kept[:, :1] - self._cfg.beam, kept[:, -1:])
        # What may end comes after what goes on with the same score, which is what a blank leads to.
        better = (score.unsqueeze(1) >= blank.unsqueeze(2)).sum(2) + (blank.unsqueeze(1) > blank.unsqueeze(2)).sum(2)
        ends = (blank >= floor) & (blank > NEVER) & (better < self._cfg.max_states)
        return score.masked_fill(score < floor, NEVER), ends

    def _move(self, contexts: Contexts, score: Tensor, parent: Tensor, symbol: Tensor) -> Contexts:
        context, prediction = (
            part.gather(1, parent.unsqueeze(-1).expand(*parent.shape, part.shape[-1])).flatten(0, 1)
            for part in contexts[1:]
        )
        emitted = (symbol != self._scorer.blank_id) & (score > NEVER)
        context, prediction = self._scorer.advance_context(context, prediction, symbol.flatten(), emitted.flatten())
        shape = (*parent.shape, -1)
        return Contexts(score, context.reshape(shape), prediction.reshape(shape))

    def _push(self, context: Tensor, slot: Tensor, symbol: Tensor) -> Tensor:
        """Contexts (B, M, context_size) after `symbol`, (B, M), was said in `slot`, (B, M)."""
        old = context.gather(1, slot.unsqueeze(-1).expand(*slot.shape, context.shape[-1]))
        new = torch.cat([old[..., 1:], symbol.unsqueeze(-1)], dim=-1)
        return torch.where((symbol == self._scorer.blank_id).unsqueeze(-1), old, new)

    def _key(self, context: Tensor) -> Tensor:
        """Hash of contexts (..., context_size): equal for equal ones."""
        key = torch.zeros_like(context[..., 0])
        for token in context.unbind(-1):
            key = extend_key(key, token)
        return key

    def _or_stay(self, active: Tensor, extension: Extension) -> Extension:
        parent, symbol, log_prob = extension
        stay = torch.arange(parent.shape[1], device=parent.device).expand_as(parent)
        active = active.unsqueeze(1)
        blank = torch.full_like(symbol, self._scorer.blank_id)
        return Extension(torch.where(active, parent, stay), torch.where(active, symbol, blank), log_prob)


def _among(key: Tensor, others: Tensor, valid: Tensor) -> Tensor:
    """(B, N), True where a key is one of the `others`, (B, N'), that are `valid`."""
    return ((key.unsqueeze(2) == others.unsqueeze(1)) & valid.unsqueeze(1)).any(2)


def _where(active: Tensor, new: Contexts, old: Contexts) -> Contexts:
    return Contexts(
        *(torch.where(active.reshape(-1, *[1] * (one.dim() - 1)), one, other) for one, other in zip(new, old))
    )
