"""Search settings: what is refused, and with which words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from asr.decoding.config import FastBeamConfig, GraphConfig, HotwordConfig, LatticeConfig, SearchConfig, SearchMethod
from asr.decoding.search import build_search
from asr.errors import ConfigError
from asr.text import CharTokenizer


@pytest.mark.parametrize(
    "settings",
    [{"beam": 0}, {"temperature": 0.0}, {"temperature": float("nan")}, {"max_symbols_per_frame": 0}],
)
def test_meaningless_values_are_refused_by_name(settings):
    with pytest.raises(ConfigError, match=f"search.{next(iter(settings))}="):
        SearchConfig(**settings)


@pytest.mark.parametrize("name", ["beam", "max_contexts", "max_states"])
def test_fast_beam_search_must_keep_something(name):
    with pytest.raises(ConfigError, match=f"search.fast.{name}=0"):
        FastBeamConfig(**{name: 0})


@pytest.mark.parametrize("method", [SearchMethod.BEAM, SearchMethod.CTC_GREEDY])
def test_a_setting_that_would_be_ignored_is_refused(method):
    with pytest.raises(ConfigError, match="max_symbols_per_frame=2 has no meaning"):
        SearchConfig(method=method, max_symbols_per_frame=2)


def test_ctc_search_needs_a_ctc_head():
    with pytest.raises(ConfigError, match="CTC head"):
        build_search(SearchConfig(method=SearchMethod.CTC_GREEDY), SimpleNamespace(ctc_head=None, has_transducer=True))


def test_rescoring_words_needs_k2():
    words, lattice = GraphConfig(lexicon="words.txt"), LatticeConfig(rescore_lm="words.arpa")
    with pytest.raises(ConfigError, match="search.lattice.rescore_lm has no meaning for search.method=ctc_beam"):
        SearchConfig(method=SearchMethod.CTC_BEAM, graph=words, lattice=lattice)
    SearchConfig(method=SearchMethod.K2_CTC, graph=words, lattice=lattice)


@pytest.mark.parametrize(
    ("method", "graph", "instead"),
    [
        (SearchMethod.CTC_GREEDY, {"lexicon": "words.txt"}, "search.graph.lexicon has no meaning .* use ctc_beam"),
        (SearchMethod.CTC_BEAM, {"lexicon": "words.txt", "lm": "words.arpa"}, "search.graph.lm has no meaning"),
    ],
    ids=["words in greedy search", "n-grams without k2"],
)
def test_words_go_where_they_are_heeded(method, graph, instead):
    with pytest.raises(ConfigError, match=instead):
        SearchConfig(method=method, graph=GraphConfig(**graph))


def test_words_are_answered_as_their_tokens_spell_them(tmp_path):
    (tmp_path / "words.txt").write_text("ab\nba b a\n")
    cfg = SearchConfig(method=SearchMethod.CTC_BEAM, graph=GraphConfig(lexicon=str(tmp_path / "words.txt")))
    model = SimpleNamespace(ctc_head=lambda frames: frames, has_transducer=False)
    with pytest.raises(ConfigError, match="the tokens of ba are not its spelling"):
        build_search(cfg, model, CharTokenizer.train(["ab ba"]))


def test_results_of_one_method_over_different_words_have_different_names():
    method = SearchMethod.K2_FAST_BEAM
    words, hot = GraphConfig(lexicon="words.txt"), HotwordConfig(phrases=["seven"])
    language = GraphConfig(lexicon="words.txt", lm="words.arpa")
    found = [SearchConfig(method=method, **steer).label for steer in ({}, {"graph": words}, {"graph": language})]
    assert found == ["k2_fast_beam", "k2_fast_beam-lexicon", "k2_fast_beam-lexicon-lm"]
    assert SearchConfig(method=SearchMethod.BEAM, hotwords=hot).label == "beam-hotwords"
