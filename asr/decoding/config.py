"""Which search to run, and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from asr.errors import ConfigError


class SearchMethod(Enum):
    """How tokens are found from encoder frames."""

    GREEDY = "greedy"
    """Transducer, the best symbol at each step."""
    BEAM = "beam"
    """Transducer, the best few token sequences, one symbol per frame."""
    CTC_GREEDY = "ctc_greedy"
    """The CTC head alone: best symbol per frame, repeats collapsed."""


@dataclass(kw_only=True)
class SearchConfig:
    """Settings of a search; the defaults give plain greedy search."""

    method: SearchMethod = SearchMethod.GREEDY
    """Kind of search."""
    beam: int = 4
    """Token sequences kept per stream in beam search; 1 or more. Other methods keep one."""
    blank_penalty: float = 0.0
    """Taken from the blank's logit before anything else, in nats; above 0 trades deletions for insertions."""
    temperature: float = 1.0
    """Divides the logits, after the penalty; above 0. Above 1 scores get flatter; greedy choices stay the same."""
    max_symbols_per_frame: int = 1
    """Greedy transducer search only: most tokens one encoder frame (0.04 s) may emit; 1 or more."""

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise ConfigError(f"search.beam={self.beam} keeps nothing; use 1 or more (4 is usual)")
        if not self.temperature > 0:
            raise ConfigError(f"search.temperature={self.temperature} must be above 0; 1 leaves scores as they are")
        if self.max_symbols_per_frame < 1:
            raise ConfigError(f"search.max_symbols_per_frame={self.max_symbols_per_frame} must be 1 or more")
        if self.max_symbols_per_frame > 1 and self.method is not SearchMethod.GREEDY:
            raise ConfigError(
                f"search.max_symbols_per_frame={self.max_symbols_per_frame} has no meaning for "
                f"search.method={self.method.value}; use 1, or the greedy method"
            )
