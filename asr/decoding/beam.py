"""Beam search for a transducer, one symbol per frame: keep the few most probable token sequences."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.backtrace import Extension, remember
from asr.decoding.config import SearchConfig
from asr.decoding.hotwords import ROOT, HotwordGraph
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import TransducerModel, TransducerScorer
from asr.decoding.state import History, empty_history, gather_sequences, to_hypotheses

NEVER = float("-inf")


class Beam(NamedTuple):
    """N sequences per stream, in rank order; a score of -inf marks a slot that holds none."""

    score: Tensor  # (B, N) float32, log-probability less that of the stream's best sequence
    key: Tensor  # (B, N) int64, hash of the tokens: equal for equal sequences
    context: Tensor  # (B, N, context_size) int64
    prediction: Tensor  # (B, N, J), the predictor's answer to `context`, projected
    hotword: Tensor  # (B, N) int64, how far into which hot word; states of a `HotwordGraph`


class BeamState(NamedTuple):
    """The sequences being followed, what they say, and how probable the best of them is."""

    history: History
    frames: Tensor  # (B,) int64, encoder frames consumed, 25 Hz
    best: Tensor  # (B,) float64, log-probability of the best sequence; apart, so that long streams keep their precision
    beam: Beam


class BeamSearch:
    """At each frame extend every sequence by every symbol, keep the N best, and add up those that say the same.

    Of equal sequences the better one's emission times survive. The answer is the sequence with the best
    log-probability per token, counting the start context as tokens. Equally good extensions rank by slot, then by
    symbol, so results do not depend on the device. Hot words pay after the N best are chosen, and take back what they
    paid for a beginning where the answer stops there.

    Source: Kang et al. 2022, "Fast and parallel decoding for transducer", for one symbol per frame; merging adds
    probabilities as in Graves 2012, "Sequence transduction with recurrent neural networks".
    """

    def __init__(self, model: TransducerModel, cfg: SearchConfig, hotwords: HotwordGraph | None = None):
        self._scorer = TransducerScorer(model, cfg)
        self._size = cfg.beam
        self._hotwords = hotwords

    @torch.no_grad()
    def init(self, batch_size: int, device: torch.device | str = "cpu") -> BeamState:
        """Streams that have heard nothing: one empty sequence each."""
        shape = (batch_size, self._size)
        context, prediction = (
            part.unsqueeze(1).repeat(1, self._size, 1) for part in self._scorer.start(batch_size, device)
        )
        score = torch.full(shape, NEVER, device=device)
        score[:, 0] = 0.0
        key = torch.zeros(shape, dtype=torch.int64, device=device)
        frames = torch.zeros(batch_size, dtype=torch.int64, device=device)
        beam = Beam(score, key, context, prediction, torch.full_like(key, ROOT))
        return BeamState(empty_history(*shape, device), frames, frames.double(), beam)

    @torch.no_grad()
    def advance(self, encoder_out: Tensor, lens: Tensor, state: BeamState) -> BeamState:
        """Decode the next frames of every stream: `encoder_out` is (B, T, C), `lens` (B,) in 0..T."""
        projected = self._scorer.project_frames(encoder_out)
        beam, best = state.beam, state.best
        extensions: list[Extension] = []
        for t in range(encoder_out.shape[1]):
            beam, gain, extension = self._step(projected[:, t], lens > t, beam)
            best = best + gain
            extensions.append(extension)
        history = remember(state.history, state.frames, extensions, self._scorer.blank_id)
        return BeamState(history, state.frames + lens, best, beam)

    def partial(self, state: BeamState) -> list[Hypothesis]:
        """The sequence each stream would answer now; it may yet change altogether."""
        log_prob = self._log_prob(state)
        history = state.history
        per_token = log_prob / (history.num_settled + history.num_tokens + self._scorer.context_size)
        slot = per_token.argmax(1, keepdim=True)
        chosen = to_hypotheses(gather_sequences(history, slot), log_prob.gather(1, slot))
        return [sequences[0] for sequences in chosen]

    def finish(self, state: BeamState) -> list[Hypothesis]:
        """What each stream has said, now that it is over."""
        return self.partial(state)

    def nbest(self, state: BeamState) -> list[list[Hypothesis]]:
        """All sequences of each stream, the most probable first; `finish` may prefer another, for its length."""
        log_prob = self._log_prob(state)
        order = log_prob.sort(dim=1, descending=True, stable=True).indices
        ranked = to_hypotheses(gather_sequences(state.history, order), log_prob.gather(1, order))
        return [[sequence for sequence in stream if sequence.log_prob > NEVER] for stream in ranked]

    def _log_prob(self, state: BeamState) -> Tensor:
        score = state.beam.score
        if self._hotwords is not None:
            score = score - self._hotwords.pending(state.beam.hotword)
        return state.best.unsqueeze(1) + score

    def _step(self, frame: Tensor, active: Tensor, beam: Beam) -> tuple[Beam, Tensor, Extension]:
        """One frame (B, J) for the streams that are `active`, (B,); also how much the best log-probability changed."""
        log_probs = self._scorer.log_probs(frame.unsqueeze(1), beam.prediction)
        score, chosen = top_candidates((beam.score.unsqueeze(-1) + log_probs).flatten(1), self._size)
        extension = split_candidates(chosen, log_probs, active, self._scorer.blank_id)
        parents = extension.parent
        emitted = extension.symbol != self._scorer.blank_id
        key = beam.key.gather(1, parents)
        key = torch.where(emitted, extend_key(key, extension.symbol), key)
        hotword, bonus = self._advance_hotwords(beam.hotword.gather(1, parents), extension.symbol, emitted)
        score = merge_equal(torch.where(active.unsqueeze(1), score + bonus, beam.score), key)
        gain = score.amax(1)
        context, prediction = self._contexts(beam, extension, emitted & (score > NEVER))
        return Beam(score - gain.unsqueeze(1), key, context, prediction, hotword), gain, extension

    def _advance_hotwords(self, state: Tensor, symbol: Tensor, emitted: Tensor) -> tuple[Tensor, Tensor]:
        """The next states, (B, N), and what they pay."""
        if self._hotwords is None:
            return state, torch.zeros(state.shape, device=state.device)
        onward, bonus = self._hotwords.step(state, symbol)
        return torch.where(emitted, onward, state), bonus * emitted

    def _contexts(self, beam: Beam, extension: Extension, emitted: Tensor) -> tuple[Tensor, Tensor]:
        context, prediction = (
            part.gather(1, extension.parent.unsqueeze(-1).expand_as(part)).flatten(0, 1)
            for part in (beam.context, beam.prediction)
        )
        context, prediction = self._scorer.advance_context(
            context, prediction, extension.symbol.flatten(), emitted.flatten()
        )
        return context.reshape(beam.context.shape), prediction.reshape(beam.prediction.shape)


def top_candidates(scores: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The `num` best of (B, M) float32 scores and their indices, best first; equal scores rank by index.

    `topk` alone leaves the order, and even the choice, among equal scores open. Here score and index make one integer.
    """
    bits = scores.view(torch.int32)
    # As integers, negative floats grow the wrong way round; flipping all bits but the sign puts them right.
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    index = torch.arange(scores.shape[1], device=scores.device)
    keys = ordered * 2**32 + (2**32 - 1 - index)
    chosen = 2**32 - 1 - (keys.topk(num, dim=1).values & (2**32 - 1))
    return scores.gather(1, chosen), chosen


def merge_equal(score: Tensor, key: Tensor) -> Tensor:
    """Give the first of equal sequences their summed probability and the others none; both arguments are (B, N)."""
    alive = score > NEVER
    same = (key.unsqueeze(2) == key.unsqueeze(1)) & alive.unsqueeze(2) & alive.unsqueeze(1)
    total = torch.where(same, score.unsqueeze(1), torch.full_like(score, NEVER).unsqueeze(1)).logsumexp(2)
    repeated = same.tril(-1).any(2)  # some earlier slot says the same
    return torch.where(same.sum(2) > 1, total, score).masked_fill(repeated, NEVER)


def extend_key(key: Tensor, symbol: Tensor) -> Tensor:
    """Hash of a sequence one symbol longer, int64; any two of a million sequences collide with odds below 1e-7."""
    mixed = (key ^ ((symbol + 1) * -7046029254386353131)) * -4658895280553007687  # odd numbers: no bit is lost
    return mixed ^ (mixed >> 32)


def split_candidates(chosen: Tensor, log_probs: Tensor, active: Tensor, blank_id: int) -> Extension:
    """Split candidate indices (B, N) into slot and symbol; streams that are not `active` stay as they are."""
    vocab_size = log_probs.shape[-1]
    stay = torch.arange(chosen.shape[1], device=chosen.device).expand_as(chosen)
    active = active.unsqueeze(1)
    parent = torch.where(active, torch.div(chosen, vocab_size, rounding_mode="floor"), stay)
    symbol = torch.where(active, chosen % vocab_size, torch.full_like(chosen, blank_id))
    return Extension(parent, symbol, log_probs.flatten(1).gather(1, chosen))
