"""Which search to run, and its settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from asr.errors import ConfigError


class SearchMethod(Enum):
    """How tokens are found from encoder frames."""

    GREEDY = "greedy"
    """Transducer, the best symbol at each step."""
    BEAM = "beam"
    """Transducer, the best few token sequences, one symbol per frame."""
    FAST_BEAM = "fast_beam"
    """Transducer, the best sequence for each of the few best contexts of its predictor, one symbol per frame."""
    CTC_GREEDY = "ctc_greedy"
    """The CTC head alone: best symbol per frame, repeats collapsed."""


@dataclass(kw_only=True)
class FastBeamConfig:
    """Settings of fast beam search; the defaults are those published for whole utterances."""

    beam: float = 20.0
    """How far below the best a state's score may be, in nats; above 0. 4 is usual for live streams."""
    max_contexts: int = 8
    """Contexts of the predictor kept per stream, 1 or more; 4 is usual for live streams."""
    max_states: int = 64
    """States kept per stream, 1 or more; a context has one for each place in the graph, and one where it may end."""
    allow_partial: bool = True
    """Where nothing complete survived: whether to answer with the best incomplete sequence, or with nothing."""

    def __post_init__(self) -> None:
        for name in ("beam", "max_contexts", "max_states"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"search.fast.{name}={getattr(self, name)} keeps nothing; it must be above 0")


@dataclass(kw_only=True)
class HotwordConfig:
    """Phrases to prefer, in beam search."""

    phrases: list[str] = field(default_factory=list)
    """Phrases, as transcripts spell them; `phrase :3.5` has a bonus of its own."""
    file: str | None = None
    """A text file with more of them, one on each line."""
    score: float = 2.0
    """Bonus per token, in nats."""


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
    fast: FastBeamConfig = field(default_factory=FastBeamConfig)
    """Fast beam search only."""
    hotwords: HotwordConfig = field(default_factory=HotwordConfig)
    """Beam search only."""

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
        if (self.hotwords.phrases or self.hotwords.file) and self.method is not SearchMethod.BEAM:
            raise ConfigError(f"search.hotwords has no meaning for search.method={self.method.value}; use beam")
