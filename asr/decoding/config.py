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
    CTC_BEAM = "ctc_beam"
    """The CTC head alone: the best few token sequences, or of words of a lexicon, each with all its alignments."""
    K2_FAST_BEAM = "k2_fast_beam"
    """Fast beam search with k2, over a graph: any sequence, one with hot words, or words of a lexicon."""
    K2_CTC = "k2_ctc"
    """The CTC head with k2: any sequence, or words of a lexicon."""


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
class GraphConfig:
    """Which words may be said, in `CTC_BEAM` and the searches of k2; without a lexicon anything."""

    lexicon: str | None = None
    """A text file: on each line a word, spelled by the tokenizer, or a word and its tokens."""
    lm: str | None = None
    """Searches of k2: an n-gram model of these words (ARPA); null: all sequences of them are equal."""
    lm_scale: float | None = None
    """Weight of the n-gram model; null: as published, 0.01 for the transducer and 0.6 for CTC."""

    def __post_init__(self) -> None:
        if self.lm and not self.lexicon:
            raise ConfigError("search.graph.lm scores words and needs search.graph.lexicon; name a file of words")


@dataclass(kw_only=True)
class LatticeConfig:
    """What the searches of k2 make of the lattice of all that survived."""

    nbest: bool = False
    """Answer with the sequence whose paths are the most probable together; false: with that of the best path."""
    num_paths: int = 200
    """Paths drawn from the lattice for n-best lists, 1 or more."""
    nbest_scale: float = 0.5
    """Flattens the scores paths are drawn by, in (0, 1]; smaller gives more different sequences."""
    rescore_lm: str | None = None
    """An n-gram model (ARPA) that takes the place of `search.graph.lm` at the end; null: none."""
    rescore_scale: float = 0.3
    """Its weight."""
    search_beam: float = 20.0
    """CTC: how far below the best a state may be while searching, in nats; above 0."""
    output_beam: float = 8.0
    """CTC: how far below the best a path may be to stay in the lattice, in nats; above 0."""
    min_active_states: int = 30
    """CTC: states kept on a frame, whatever the beam."""
    max_active_states: int = 10000
    """CTC: most states on a frame."""

    def __post_init__(self) -> None:
        for name in ("num_paths", "nbest_scale", "search_beam", "output_beam", "max_active_states"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"search.lattice.{name}={getattr(self, name)} must be above 0")


K2_METHODS = (SearchMethod.K2_FAST_BEAM, SearchMethod.K2_CTC)
NBEST_METHODS = (SearchMethod.BEAM, SearchMethod.CTC_BEAM, *K2_METHODS)
CTC_METHODS = (SearchMethod.CTC_GREEDY, SearchMethod.CTC_BEAM, SearchMethod.K2_CTC)
LEXICON_METHODS = (SearchMethod.CTC_BEAM, *K2_METHODS)


@dataclass(kw_only=True)
class SearchConfig:
    """Settings of a search; the defaults give plain greedy search."""

    method: SearchMethod = SearchMethod.GREEDY
    """Kind of search."""
    beam: int = 4
    """Token sequences kept per stream in the beam searches of transducer and CTC; 1 or more. Other methods keep one."""
    blank_penalty: float = 0.0
    """Taken from the blank's logit before anything else, in nats; above 0 trades deletions for insertions."""
    temperature: float = 1.0
    """Divides the logits, after the penalty; above 0. Above 1 scores get flatter; greedy choices stay the same."""
    max_symbols_per_frame: int = 1
    """Greedy transducer search only: most tokens one encoder frame (0.04 s) may emit; 1 or more."""
    fast: FastBeamConfig = field(default_factory=FastBeamConfig)
    """Fast beam search, with and without k2."""
    hotwords: HotwordConfig = field(default_factory=HotwordConfig)
    """Beam search, and fast beam search with k2."""
    graph: GraphConfig = field(default_factory=GraphConfig)
    """Beam search of CTC, and the searches of k2."""
    lattice: LatticeConfig = field(default_factory=LatticeConfig)
    """Searches of k2."""

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
        self._check_words()

    @property
    def label(self) -> str:
        """The method and what steers it, for names of files."""
        steers = {
            "hotwords": self.hotwords.phrases or self.hotwords.file,
            "lexicon": self.graph.lexicon,
            "lm": self.graph.lm or self.lattice.rescore_lm,
        }
        return "-".join([self.method.value, *(name for name, given in steers.items() if given)])

    def _check_words(self) -> None:
        hotwords = self.hotwords.phrases or self.hotwords.file
        if hotwords and self.method not in (SearchMethod.BEAM, SearchMethod.K2_FAST_BEAM):
            raise ConfigError(
                f"search.hotwords has no meaning for search.method={self.method.value}; use beam or k2_fast_beam"
            )
        if self.graph.lexicon and self.method not in LEXICON_METHODS:
            raise ConfigError(
                f"search.graph.lexicon has no meaning for search.method={self.method.value}; "
                "use ctc_beam, k2_fast_beam or k2_ctc"
            )
        for name, lm in {"graph.lm": self.graph.lm, "lattice.rescore_lm": self.lattice.rescore_lm}.items():
            if lm and self.graph.lexicon and self.method not in K2_METHODS:
                raise ConfigError(
                    f"search.{name} has no meaning for search.method={self.method.value}; use k2_fast_beam or k2_ctc"
                )
        if self.graph.lexicon and hotwords:
            raise ConfigError("search.hotwords and search.graph.lexicon do not go together; leave one out")
        if self.lattice.rescore_lm and not self.graph.lexicon:
            raise ConfigError("search.lattice.rescore_lm scores words and needs search.graph.lexicon")
