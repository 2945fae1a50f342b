"""Beam search with the CTC head: the few most probable token sequences, each with all its alignments."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.backtrace import Extension, remember
from asr.decoding.beam import NEVER, extend_key, split_candidates, top_candidates
from asr.decoding.config import SearchConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import normalise
from asr.decoding.state import History, empty_history, gather_sequences, to_hypotheses
from asr.decoding.word_list import NOWHERE, START, WordList


class Prefixes(NamedTuple):
    """N different sequences per stream, in rank order; a slot where both scores are -inf holds none.

    Scores are log-probabilities less that of the stream's best sequence.
    """

    blank: Tensor  # (B, N) float32, of the alignments that end in blank
    token: Tensor  # (B, N) float32, of those that end in the last token
    last: Tensor  # (B, N) int64, that token; blank where there is none
    key: Tensor  # (B, N) int64, hash of the tokens
    word: Tensor  # (B, N) int64, states of a `WordList`

    @property
    def score(self) -> Tensor:
        """(B, N): of all alignments."""
        return torch.logaddexp(self.blank, self.token)


class CtcBeamState(NamedTuple):
    """The sequences being followed, what they say, and how probable the best of them is."""

    history: History
    frames: Tensor  # (B,) int64, encoder frames consumed, 25 Hz
    best: Tensor  # (B,) float64, log-probability of the best sequence; apart, so that long streams keep their precision
    prefixes: Prefixes


class CtcBeamSearch:
    """At each frame extend every sequence by every token, or by none, and keep the N best.

    A sequence that is reached again by adding its last token to another takes that probability in, and is dated anew
    where this is the greater part. Equally good candidates rank by slot, then by symbol. Where there is a list of words
    nothing else is followed, and the answer ends with a word if any sequence does. All symbols of a frame are tried,
    where published recipes only try as many as they keep sequences.

    Source: Hannun et al. 2014, "First-pass large vocabulary continuous speech recognition using bi-directional
    recurrent DNNs", algorithm 1, without language model.
    """

    def __init__(
        self,
        ctc_head: Callable[[Tensor], Tensor],
        blank_id: int,
        cfg: SearchConfig,
        words: WordList | None = None,
    ):
        """`ctc_head` maps encoder frames (B, T, C) to log-probabilities (B, T, V)."""
        self._ctc_head = ctc_head
        self._blank_id = blank_id
        self._cfg = cfg
        self._words = words

    @torch.no_grad()
    def init(self, batch_size: int, device: torch.device | str = "cpu") -> CtcBeamState:
        """Streams that have heard nothing: one empty sequence each."""
        shape = (batch_size, self._cfg.beam)
        never = torch.full(shape, NEVER, device=device)
        ids = torch.zeros(shape, dtype=torch.int64, device=device)
        blank = never.clone()
        blank[:, 0] = 0.0
        frames = torch.zeros(batch_size, dtype=torch.int64, device=device)
        prefixes = Prefixes(blank, never, torch.full_like(ids, self._blank_id), ids, torch.full_like(ids, START))
        return CtcBeamState(empty_history(*shape, device), frames, frames.double(), prefixes)

    @torch.no_grad()
    def advance(self, encoder_out: Tensor, lens: Tensor, state: CtcBeamState) -> CtcBeamState:
        """Decode the next frames of every stream: `encoder_out` is (B, T, C), `lens` (B,) in 0..T."""
        log_probs = normalise(self._ctc_head(encoder_out), self._blank_id, self._cfg)
        prefixes, best = state.prefixes, state.best
        extensions: list[Extension] = []
        for t in range(encoder_out.shape[1]):
            prefixes, gain, extension = self._step(log_probs[:, t], lens > t, prefixes)
            best = best + gain
            extensions.append(extension)
        history = remember(state.history, state.frames, extensions, self._blank_id)
        return CtcBeamState(history, state.frames + lens, best, prefixes)

    def partial(self, state: CtcBeamState) -> list[Hypothesis]:
        """The most probable sequence of each stream; it may yet change altogether."""
        return [sequences[0] for sequences in self._ranked(state, most=1)]

    def finish(self, state: CtcBeamState) -> list[Hypothesis]:
        """What each stream has said, now that it is over."""
        return self.partial(state)

    def nbest(self, state: CtcBeamState) -> list[list[Hypothesis]]:
        """All sequences of each stream, the most probable first."""
        ranked = self._ranked(state, most=self._cfg.beam)
        return [[sequence for sequence in stream if sequence.log_prob > NEVER] for stream in ranked]

    def _ranked(self, state: CtcBeamState, most: int) -> list[list[Hypothesis]]:
        """The `most` best slots of each stream; those that hold none have a log-probability of -inf."""
        score = state.prefixes.score
        if self._words is not None:
            whole = self._words.is_end(state.prefixes.word) & (score > NEVER)
            score = score.masked_fill(~whole & whole.any(1, keepdim=True), NEVER)
        score, slot = (part[:, :most] for part in score.sort(dim=1, descending=True, stable=True))
        return to_hypotheses(gather_sequences(state.history, slot), state.best.unsqueeze(1) + score)

    def _step(self, log_probs: Tensor, active: Tensor, old: Prefixes) -> tuple[Prefixes, Tensor, Extension]:
        """One frame (B, V) for the streams that are `active`, (B,); also how much the best log-probability changed."""
        blank, token, word = self._candidates(log_probs, old)
        _, chosen = top_candidates(torch.logaddexp(blank, token).flatten(1), self._cfg.beam)
        every = log_probs.unsqueeze(1).expand_as(blank)
        extension = split_candidates(chosen, every, active, self._blank_id)
        emitted, parent = extension.symbol != self._blank_id, extension.parent
        key = old.key.gather(1, parent)
        new = Prefixes(
            blank.flatten(1).gather(1, chosen),
            token.flatten(1).gather(1, chosen),
            torch.where(emitted, extension.symbol, old.last.gather(1, parent)),
            torch.where(emitted, extend_key(key, extension.symbol), key),
            old.word if word is None else word.flatten(1).gather(1, chosen),
        )
        new = Prefixes(*(torch.where(active.unsqueeze(1), after, before) for after, before in zip(new, old)))
        gain = new.score.amax(1)
        level = gain.unsqueeze(1)
        return new._replace(blank=new.blank - level, token=new.token - level), gain, extension

    def _candidates(self, log_probs: Tensor, old: Prefixes) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores of alignments ending in blank and in a token, and word states, (B, N, V); at blank: not extended."""
        score, last = old.score, old.last.unsqueeze(2)
        extended = score.unsqueeze(2) + log_probs.unsqueeze(1)
        again = log_probs.gather(1, old.last)
        # The last token once more is a new one only after a blank.
        extended = extended.scatter(2, last, (old.blank + again).unsqueeze(2))
        word = None
        if self._words is not None:
            symbol = torch.arange(log_probs.shape[1], device=last.device).expand_as(extended)
            word = self._words.step(old.word.unsqueeze(2).expand_as(extended), symbol)
            extended = extended.masked_fill(word == NOWHERE, NEVER)
            word[..., self._blank_id] = old.word
        stay_blank, stay_token = score + log_probs[:, self._blank_id, None], old.token + again
        extended[..., self._blank_id] = stay_token
        blank = torch.full_like(extended, NEVER)
        blank[..., self._blank_id] = stay_blank
        return *self._merge(blank, extended, old), word

    def _merge(self, blank: Tensor, token: Tensor, old: Prefixes) -> tuple[Tensor, Tensor]:
        """Where a sequence j is another one, i, and its own last token: the probabilities of both in one place.

        That is j's own, where it stays as it is (`here`), or i's extension (`there`), where more comes in anew.
        """
        vocab_size = token.shape[2]
        alive = old.score > NEVER
        same = extend_key(old.key.unsqueeze(2), old.last.unsqueeze(1)) == old.key.unsqueeze(1)
        same &= alive.unsqueeze(2) & (alive & (old.last != self._blank_id)).unsqueeze(1)
        found, shorter = same.any(1), same.int().argmax(1)
        slot = torch.arange(alive.shape[1], device=alive.device).expand_as(shorter)
        here = slot * vocab_size + self._blank_id
        # Sequences that are no other's extension write to one more column, which is then cut off.
        there = torch.where(found, shorter * vocab_size + old.last, torch.full_like(here, vocab_size * len(slot[0])))
        blank, token = (_with_column(part.flatten(1)) for part in (blank, token))
        stays, comes = blank.gather(1, here), token.gather(1, there)
        total = torch.logaddexp(token.gather(1, here), comes)
        anew = found & (comes > torch.logaddexp(stays, token.gather(1, here)))
        for part, merged in ((blank, stays), (token, total)):
            part.scatter_(1, there, merged.masked_fill(~anew, NEVER)).scatter_(1, here, merged.masked_fill(anew, NEVER))
        blank, token = (part[:, :-1].reshape(*alive.shape, vocab_size) for part in (blank, token))
        return blank, token


def _with_column(part: Tensor) -> Tensor:
    return torch.cat([part, torch.full_like(part[:, :1], NEVER)], dim=1)
