"""What a search answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from asr.text import Tokenizer

ENCODER_FRAME_S = 0.04
"""Seconds per encoder output frame: 25 frames each second."""


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One token sequence, with when and how surely each token was emitted."""

    tokens: list[int] = field(default_factory=list)
    """Token ids, without blanks or the empty context."""
    timestamps: list[int] = field(default_factory=list)
    """Per token: the encoder frame (25 Hz, counted from the stream's first) at which it was emitted."""
    token_log_probs: list[float] = field(default_factory=list)
    """Per token: its log-probability at the moment of emission, in nats."""
    log_prob: float = 0.0
    """Log-probability of the whole sequence so far, blanks included, in nats."""

    words: list[str] | None = None
    """The words, where the search knows them; None: they are spelled by the tokens."""

    def text(self, tokenizer: Tokenizer) -> str:
        """What was said; `tokenizer` is the model's own."""
        return tokenizer.decode(self.tokens) if self.words is None else " ".join(self.words)

    def times_s(self) -> list[float]:
        """Emission times in seconds, to the millisecond; not corrected for the model's look-ahead."""
        return [round(frame * ENCODER_FRAME_S, 3) for frame in self.timestamps]
