"""What a segment has said for good, in little memory."""

from __future__ import annotations

from array import array
from dataclasses import replace

from asr.decoding import Hypothesis


class SettledTokens:
    """Twelve bytes a token, so that a segment of hours weighs little and no step has to carry it along."""

    def __init__(self) -> None:
        self._tokens = array("i")
        self._timestamps = array("i")
        self._log_probs = array("f")

    def __len__(self) -> int:
        return len(self._tokens)

    def append(self, hypothesis: Hypothesis) -> None:
        """Take what comes next."""
        self._tokens.extend(hypothesis.tokens)
        self._timestamps.extend(hypothesis.timestamps)
        self._log_probs.extend(hypothesis.token_log_probs)

    def before(self, hypothesis: Hypothesis) -> Hypothesis:
        """All of it, and `hypothesis` after it."""
        if not self._tokens:
            return hypothesis
        return replace(
            hypothesis,
            tokens=[*self._tokens, *hypothesis.tokens],
            timestamps=[*self._timestamps, *hypothesis.timestamps],
            token_log_probs=[*self._log_probs, *hypothesis.token_log_probs],
        )
