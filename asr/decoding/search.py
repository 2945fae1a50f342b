"""The one interface of all searches, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from asr.decoding.beam import BeamSearch
from asr.decoding.config import CTC_METHODS, SearchConfig, SearchMethod
from asr.decoding.ctc import CtcGreedySearch
from asr.decoding.ctc_beam import CtcBeamSearch
from asr.decoding.fast_beam import FastBeamSearch
from asr.decoding.greedy import GreedySearch
from asr.decoding.hotwords import build_hotwords
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.scorer import TransducerModel
from asr.decoding.word_list import build_word_list
from asr.errors import ConfigError
from asr.text import Tokenizer

BLANK_ID = 0
"""Of every vocabulary."""


class Search(Protocol):
    """Turns encoder frames into tokens, for a batch of streams, as the frames arrive.

    Decoding a whole utterance is one `advance`; any division into several gives the same answer. The state is a
    `SearchState`, never changed in place: `asr.decoding.state.select` and `concat` take batches apart and put them
    together, and what a stream answers does not depend on the others in its batch.
    """

    def init(self, batch_size: int, device: torch.device | str = "cpu") -> Any:
        """Streams that have heard nothing."""

    def advance(self, encoder_out: Tensor, lens: Tensor, state: Any) -> Any:
        """Decode the next frames: `encoder_out` (B, T, C) at 25 Hz, of which row b brings `lens[b]`, in 0..T."""

    def partial(self, state: Any) -> list[Hypothesis]:
        """The best guess of each stream so far; the state lives on."""

    def finish(self, state: Any) -> list[Hypothesis]:
        """The answer of each stream, once all its frames are in."""


class NbestSearch(Search, Protocol):
    """A search that keeps more than its answer: `NBEST_METHODS`."""

    def nbest(self, state: Any) -> list[list[Hypothesis]]:
        """Different sequences for each stream, the most probable first."""


class SearchableModel(TransducerModel, Protocol):
    """What `build_search` asks of a model."""

    @property
    def has_transducer(self) -> bool: ...

    @property
    def ctc_head(self) -> Callable[[Tensor], Tensor] | None: ...


def build_search(cfg: SearchConfig, model: SearchableModel, tokenizer: Tokenizer | None = None) -> Search:
    """The search `cfg` asks for, on `model.predictor` and `model.joiner`, or on `model.ctc_head` for CTC.

    Greedy search, which is what everyone gets who asks for nothing, is that of the CTC head where it is all there is.

    Args:
        tokenizer: the model's own; only where `cfg` speaks of words.
    Raises:
        ConfigError: CTC search is asked of a model without a CTC head, or words are not what the tokenizer knows.
    """
    if not model.has_transducer and cfg.method not in (SearchMethod.GREEDY, *CTC_METHODS):
        raise ConfigError(
            f"search.method={cfg.method.value} needs a transducer, which this model is not; use ctc_greedy"
        )
    match cfg.method:
        case SearchMethod.GREEDY if model.has_transducer:
            return GreedySearch(model, cfg)
        case SearchMethod.BEAM:
            return BeamSearch(model, cfg, build_hotwords(cfg.hotwords, tokenizer))
        case SearchMethod.FAST_BEAM:
            return FastBeamSearch(model, cfg)
        case SearchMethod.GREEDY | SearchMethod.CTC_GREEDY:
            return CtcGreedySearch(_ctc_head(cfg, model), BLANK_ID, cfg)
        case SearchMethod.CTC_BEAM:
            return CtcBeamSearch(_ctc_head(cfg, model), BLANK_ID, cfg, build_word_list(cfg.graph, tokenizer))
        case SearchMethod.K2_FAST_BEAM:
            return _k2_fast_beam(cfg, model, tokenizer)
        case SearchMethod.K2_CTC:
            return _k2_ctc(cfg, model, tokenizer)


def _ctc_head(cfg: SearchConfig, model: SearchableModel) -> Callable[[Tensor], Tensor]:
    if model.ctc_head is None:
        raise ConfigError(
            f"search.method={cfg.method.value} needs a model trained with a CTC head, which this one is not; "
            "use greedy or beam"
        )
    return model.ctc_head


def _k2_fast_beam(cfg: SearchConfig, model: SearchableModel, tokenizer: Tokenizer | None) -> Search:
    from asr.decoding.k2.graphs import Grammar, hotword_graph, trivial_graph
    from asr.decoding.k2.transducer import K2FastBeamSearch

    vocab_size = model.predictor.vocab_size
    grammar = _grammar(cfg, vocab_size, tokenizer)
    if grammar is None:
        hotwords = build_hotwords(cfg.hotwords, tokenizer)
        graph = trivial_graph(vocab_size) if hotwords is None else hotword_graph(hotwords, vocab_size)
        grammar = Grammar(graph, lexicon=None)
    return K2FastBeamSearch(model, cfg, grammar)


def _k2_ctc(cfg: SearchConfig, model: SearchableModel, tokenizer: Tokenizer | None) -> Search:
    from asr.decoding.k2.ctc import K2CtcSearch

    vocab_size = model.predictor.vocab_size if tokenizer is None else tokenizer.vocab_size
    return K2CtcSearch(_ctc_head(cfg, model), BLANK_ID, cfg, _grammar(cfg, vocab_size, tokenizer), vocab_size)


def _grammar(cfg: SearchConfig, vocab_size: int, tokenizer: Tokenizer | None) -> Any:
    from asr.decoding.k2.graphs import build_grammar

    if cfg.graph.lexicon is None:
        return None
    if tokenizer is None:
        raise ConfigError("search.graph.lexicon needs the model's tokenizer; pass it to build_search")
    published = 0.6 if cfg.method is SearchMethod.K2_CTC else 0.01
    return build_grammar(cfg.graph, tokenizer, lm_scale=published, vocab_size=vocab_size)
