"""Hot words: what a phrase earns, and what beam search makes of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.decoding.beam import BeamSearch
from asr.decoding.config import HotwordConfig
from asr.decoding.hotwords import ROOT, HotwordGraph, build_hotwords
from asr.errors import ConfigError
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor
from asr.text import CharTokenizer

TOKENS = st.integers(1, 3)
PHRASES = st.lists(st.lists(TOKENS, min_size=1, max_size=4), min_size=1, max_size=4)


def total(graph: HotwordGraph, tokens: list[int]) -> float:
    """All that a sequence earns, once it is over."""
    state, earned = torch.tensor(ROOT), 0.0
    for token in tokens:
        state, bonus = graph.step(state, torch.tensor(token))
        earned += float(bonus)
    return earned - float(graph.pending(state))


@settings(max_examples=60, deadline=None)
@given(PHRASES, st.lists(TOKENS, max_size=12))
def test_strict_matching_pays_for_every_occurrence(phrases, tokens):
    """Whatever was paid for beginnings is taken back, so that in the end whole phrases alone have counted."""
    ends = [
        len(phrase)
        for phrase in {tuple(phrase) for phrase in phrases}
        for end in range(len(tokens) + 1)
        if end >= len(phrase) and tuple(tokens[end - len(phrase) : end]) == phrase
    ]
    assert total(HotwordGraph(phrases, 0.5, strict=True), tokens) == pytest.approx(0.5 * sum(ends))


@settings(max_examples=60, deadline=None)
@given(PHRASES, st.lists(TOKENS, max_size=12))
def test_otherwise_no_token_pays_twice(phrases, tokens):
    earned = total(HotwordGraph(phrases, 1.0), tokens)
    assert 0 <= earned <= len(tokens)
    found = any(tokens[start : start + len(p)] == p for p in phrases for start in range(len(tokens)))
    assert found or earned == 0


def test_tokens_beyond_the_phrases_end_them():
    graph = HotwordGraph([[1, 2]], 1.0)
    state, bonus = graph.step(torch.tensor([ROOT, ROOT]), torch.tensor([1, 900]))
    assert bonus.tolist() == [1.0, 0.0]
    state, bonus = graph.step(state, torch.tensor([900, 1]))
    assert bonus.tolist() == [-1.0, 1.0]
    assert graph.depth(state).tolist() == [0, 1]


def random_model() -> SimpleNamespace:
    predictor, joiner = Predictor(6, 8, 2).eval(), Joiner(5, 8, 7, 6).eval()
    for parameter in [*predictor.parameters(), *joiner.parameters()]:
        nn.init.normal_(parameter, std=0.7)
    nn.init.constant_(joiner.output_linear.bias[:1], 4.0)
    return SimpleNamespace(predictor=predictor, joiner=joiner, ctc_head=None, has_transducer=True)


def test_log_probs_of_a_wide_beam_differ_by_the_bonus():
    """With a beam wide enough for everything, hot words add to each sequence exactly what it earns."""
    model, phrases, encoder_out = random_model(), [[3, 4], [5]], torch.randn(1, 3, 5)
    cfg = SearchConfig(method=SearchMethod.BEAM, beam=216)
    answers = []
    for graph in (None, HotwordGraph(phrases, 0.7)):
        search = BeamSearch(model, cfg, graph)
        ranked = search.nbest(search.advance(encoder_out, torch.tensor([3]), search.init(1)))[0]
        answers.append({tuple(hypothesis.tokens): hypothesis.log_prob for hypothesis in ranked})
    plain, biased = answers
    graph = HotwordGraph(phrases, 0.7)
    assert biased.keys() == plain.keys() and (3, 4) in plain
    for tokens, log_prob in plain.items():
        assert biased[tokens] == pytest.approx(log_prob + total(graph, list(tokens)), abs=1e-4)


def test_phrases_come_from_settings_and_a_file(tmp_path):
    tokenizer = CharTokenizer.train(["one two"])
    (tmp_path / "words.txt").write_text("two\n\none two :3.5\n", encoding="utf-8")
    cfg = HotwordConfig(phrases=["one"], file=str(tmp_path / "words.txt"), score=1.0)
    graph = build_hotwords(cfg, tokenizer)
    assert graph is build_hotwords(cfg, tokenizer), "streams with equal settings share the automaton"
    assert total(graph, tokenizer.encode("two")) == pytest.approx(3.5 + 3.0), "all share the boundary"
    assert build_hotwords(HotwordConfig(), tokenizer) is None


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (HotwordConfig(phrases=["one zebra"]), "'one zebra' cannot be used: 'z'"),
        (HotwordConfig(phrases=["one :much"]), "'one :much' cannot be used"),
        (HotwordConfig(phrases=[" "]), "empty"),
        (HotwordConfig(file="nowhere.txt"), "search.hotwords.file=nowhere.txt cannot be read"),
    ],
)
def test_what_cannot_be_a_hot_word(cfg, message):
    with pytest.raises(ConfigError, match=message):
        build_hotwords(cfg, CharTokenizer.train(["one two"]))


def test_hot_words_need_a_tokenizer_and_beam_search():
    hotwords = HotwordConfig(phrases=["one"])
    with pytest.raises(ConfigError, match="needs the model's tokenizer"):
        build_search(SearchConfig(method=SearchMethod.BEAM, hotwords=hotwords), random_model())
    with pytest.raises(ConfigError, match="search.hotwords has no meaning"):
        SearchConfig(hotwords=hotwords)
