"""Searches over automata against plain torch, stored answers, and every alignment written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.decoding.config import FastBeamConfig, GraphConfig, HotwordConfig, LatticeConfig
from asr.decoding.hotwords import ROOT, build_hotwords
from asr.errors import ConfigError
from asr.text import CharTokenizer
from tests.k2 import brute
from tests.parity.test_decoding import compare_answers, find_groups, load_model, parse_options

SEEDS = st.integers(0, 10**6)
WIDE = FastBeamConfig(beam=1e3, max_contexts=500, max_states=5000)
TOKENIZER = CharTokenizer(["<blk>", "<sos/eos>", "<unk>", "a", "b", "c"], word_boundary=False)
SPELLED = brute.LEXICON.pronunciations
several_draws = settings(max_examples=8, deadline=None)


def answers(cfg: SearchConfig, model, encoder_out, lens, tokenizer=None):
    search = build_search(cfg, model, tokenizer)
    return search.finish(search.advance(encoder_out, lens, search.init(len(lens))))


def test_stored_answers(golden):
    """The trivial graph, best path and score, complete and partial."""
    arrays = golden("decoding.npz")
    cases = find_groups(list(arrays), r"(\w+/offline/fast_beam_search[^/]+)/")
    if not cases:
        pytest.skip("no fast beam search in this file")
    for case in cases:
        model_name, _, options = case.split("/")
        cfg, model = replace(parse_options(options), method=SearchMethod.K2_FAST_BEAM), load_model(golden, model_name)
        inputs = (torch.from_numpy(arrays[f"{model_name}/{name}"]) for name in ("encoder_out", "encoder_out_lens"))
        encoder_out, lens = inputs
        stable = arrays[f"{case}/stable_under_noise"]
        found = answers(cfg, model, encoder_out, lens)
        compare_answers(found, arrays, case, stable)
        scores = [hypothesis.log_prob for hypothesis in found]
        np.testing.assert_allclose(scores, arrays[f"{case}/best_path_score"], atol=1e-3)
        cfg = replace(cfg, fast=replace(cfg.fast, allow_partial=True))
        compare_answers(answers(cfg, model, encoder_out, lens), arrays, f"{case}/allow_partial", stable)


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    lens=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    beam=st.sampled_from([1.0, 4.0, 20.0]),
    max_contexts=st.integers(1, 6),
    max_states=st.integers(1, 12),
)
def test_plain_torch_equals_k2(seed, lens, beam, max_contexts, max_states):
    """Which answers are complete, what they say and what they cost; partial ones k2 does not score to their end."""
    model = brute.random_model(seed, vocab_size=7)
    fast = FastBeamConfig(beam=beam, max_contexts=max_contexts, max_states=max_states, allow_partial=False)
    encoder_out, lens = torch.randn(len(lens), max(lens), brute.ENCODER_DIM), torch.tensor(lens)
    ours, theirs = (
        answers(SearchConfig(method=method, fast=fast), model, encoder_out, lens)
        for method in (SearchMethod.FAST_BEAM, SearchMethod.K2_FAST_BEAM)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert (one.tokens, one.timestamps) == (other.tokens, other.timestamps)
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-4)
        assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=1e-4)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A lexicon and a bigram model as files."""
    folder = tmp_path_factory.mktemp("words")
    lines = [f"{word} {' '.join(TOKENIZER.symbols[token] for token in tokens)}" for word, tokens in SPELLED]
    (folder / "words.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "lm.arpa").write_text(brute.ARPA, encoding="utf-8")
    return {"lexicon": str(folder / "words.txt"), "lm": str(folder / "lm.arpa")}


def one_utterance(seed: int, num_frames: int):
    model = brute.random_model(seed)
    return model, torch.randn(1, num_frames, brute.ENCODER_DIM), torch.tensor([num_frames])


def lexicon_search(method: SearchMethod, words: dict[str, str], *, lm: bool, model, **lattice):
    """A search that prunes nothing, with or without the bigram model at its full weight."""
    graph = GraphConfig(lexicon=words["lexicon"], lm=words["lm"] if lm else None, lm_scale=1.0)
    lattice = LatticeConfig(search_beam=1e3, output_beam=1e3, **lattice)
    cfg = SearchConfig(method=method, fast=WIDE, graph=graph, lattice=lattice)
    return build_search(cfg, model, TOKENIZER)


def of_all_frames(model, frames):
    """With a lexicon the last frame counts; it is another one that only ends alignments."""
    return brute.transducer_alignments(model, torch.cat([frames, frames[-1:]]))


ALIGNMENTS = {SearchMethod.K2_FAST_BEAM: of_all_frames, SearchMethod.K2_CTC: brute.ctc_alignments}
both_methods = pytest.mark.parametrize("method", ALIGNMENTS, ids=lambda method: method.value)


@both_methods
@several_draws
@given(seed=SEEDS, lm=st.booleans())
def test_words_of_a_lexicon(words, method, seed, lm):
    """The best alignment that says words, its score with the n-gram model, and its spelling."""
    model, encoder_out, lens = one_utterance(seed, num_frames=4)
    search = lexicon_search(method, words, lm=lm, model=model)
    answer = search.finish(search.advance(encoder_out, lens, search.init(1)))[0]
    expected = brute.by_words(ALIGNMENTS[method](model, encoder_out[0]), brute.bigram if lm else lambda words: 0.0)
    best = max(max(scores) for scores in expected.values())
    assert answer.log_prob == pytest.approx(best, abs=1e-3)
    assert max(expected[tuple(answer.words)]) == pytest.approx(best, abs=1e-3)
    assert brute.spelled(answer.words) == answer.tokens
    assert answer.timestamps == sorted(answer.timestamps)


@both_methods
@several_draws
@given(seed=SEEDS)
def test_the_most_probable_words(words, method, seed):
    """N-best lists add up all alignments of a sequence, and the answer leads them."""
    model, encoder_out, lens = one_utterance(seed, num_frames=4)
    search = lexicon_search(method, words, lm=False, model=model, nbest=True, num_paths=2000, nbest_scale=0.3)
    state = search.advance(encoder_out, lens, search.init(1))
    ranked = search.nbest(state)[0]
    expected = brute.by_words(ALIGNMENTS[method](model, encoder_out[0]), lambda words: 0.0)
    expected = {words: scores for words, scores in expected.items() if "see" not in words}  # "c" sounds the same
    for hypothesis in ranked:
        hypothesis = replace(hypothesis, words=["c" if word == "see" else word for word in hypothesis.words])
        assert hypothesis.log_prob == pytest.approx(brute.log_sum(expected[tuple(hypothesis.words)]), abs=1e-3)
    log_probs = [hypothesis.log_prob for hypothesis in ranked]
    assert log_probs == sorted(log_probs, reverse=True)
    assert len({tuple(hypothesis.words) for hypothesis in ranked}) == len(ranked)
    most_probable = max(expected.values(), key=brute.log_sum)
    assert log_probs[0] == pytest.approx(brute.log_sum(most_probable), abs=1e-3)
    assert search.finish(state)[0] == ranked[0]


@both_methods
@several_draws
@given(seed=SEEDS)
def test_rescoring_puts_another_model_in_the_place_of_the_first(words, method, seed):
    """Every alignment of a sequence is scored anew, backing off anywhere."""
    model, encoder_out, lens = one_utterance(seed, num_frames=4)
    search = lexicon_search(method, words, lm=False, model=model, rescore_lm=words["lm"], rescore_scale=0.7)
    answer = search.finish(search.advance(encoder_out, lens, search.init(1)))[0]
    alignments = ALIGNMENTS[method](model, encoder_out[0])
    expected = brute.by_words(alignments, lambda words: 0.7 * brute.bigram(words))
    # Of words that sound alike the graph, for which they are equal, keeps one.
    expected = {words: scores for words, scores in expected.items() if not {"c", "see"} & set(words)}
    if not {"c", "see"} & set(answer.words):
        best = max(max(scores) for scores in expected.values())
        assert answer.log_prob == pytest.approx(best, abs=1e-3)
        assert max(expected[tuple(answer.words)]) == pytest.approx(best, abs=1e-3)


@several_draws
@given(seed=SEEDS)
def test_nbest_without_a_lexicon_tells_token_sequences_apart(seed):
    model, encoder_out, lens = one_utterance(seed, num_frames=4)
    cfg = SearchConfig(
        method=SearchMethod.K2_FAST_BEAM, fast=WIDE, lattice=LatticeConfig(nbest=True, num_paths=2000, nbest_scale=0.3)
    )
    search = build_search(cfg, model)
    ranked = search.nbest(search.advance(encoder_out, lens, search.init(1)))[0]
    expected: dict[tuple[int, ...], list[float]] = {}
    for tokens, score in brute.transducer_alignments(model, encoder_out[0]):
        expected.setdefault(tokens, []).append(score)
    assert len(ranked) > 3
    for hypothesis in ranked:
        assert hypothesis.log_prob == pytest.approx(brute.log_sum(expected[tuple(hypothesis.tokens)]), abs=1e-3)


@several_draws
@given(seed=SEEDS)
def test_hot_words(seed):
    """The graph pays what the automaton pays, finished or not."""
    model, encoder_out, lens = one_utterance(seed, num_frames=5)
    hotwords = HotwordConfig(phrases=["ab", "ca", "abc :2"], score=1.5)
    cfg = SearchConfig(method=SearchMethod.K2_FAST_BEAM, fast=WIDE, hotwords=hotwords)
    answer = answers(cfg, model, encoder_out, lens, TOKENIZER)[0]
    graph = build_hotwords(hotwords, TOKENIZER)

    def bonus(tokens: tuple[int, ...]) -> float:
        state, earned = torch.tensor(ROOT), 0.0
        for token in tokens:
            state, pay = graph.step(state, torch.tensor(token))
            earned += float(pay)
        return earned - float(graph.pending(state))

    expected = {}
    for tokens, score in brute.transducer_alignments(model, encoder_out[0]):
        expected[tokens] = max(expected.get(tokens, -1e9), score + bonus(tokens))
    assert answer.log_prob == pytest.approx(max(expected.values()), abs=1e-3)
    assert expected[tuple(answer.tokens)] == pytest.approx(max(expected.values()), abs=1e-3)


def project_beforehand(model, method, encoder_out):
    """Take the one product over whole chunks out of the search: in other shapes it rounds otherwise.

    Which paths are drawn for an n-best list may hang on the last bit of a score.
    """
    owner, name = (model, "ctc_head") if method is SearchMethod.K2_CTC else (model.joiner, "encoder_proj")
    projected = getattr(owner, name)(encoder_out).detach()
    setattr(owner, name, torch.nn.Identity())
    return projected


@both_methods
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, lens=st.lists(st.integers(0, 30), min_size=1, max_size=3), data=st.data())
def test_nothing_outside_the_grammar_can_be_said(words, method, seed, lens, data):
    """Whatever the model, however narrow the beam and wherever the audio stops or is divided, even within a word."""
    model = brute.random_model(seed)
    fast = FastBeamConfig(beam=data.draw(st.sampled_from([2.0, 8.0])), max_contexts=2, max_states=8)
    lattice = LatticeConfig(nbest=data.draw(st.booleans()), num_paths=10, search_beam=4.0)
    cfg = SearchConfig(method=method, fast=fast, graph=GraphConfig(lexicon=words["lexicon"]), lattice=lattice)
    encoder_out = project_beforehand(model, method, torch.randn(len(lens), max(lens), brute.ENCODER_DIM))
    search = build_search(cfg, model, TOKENIZER)
    state = search.init(len(lens))
    middle = data.draw(st.integers(0, max(lens)))
    for start, end in ((0, middle), (middle, max(lens))):
        state = search.advance(encoder_out[:, start:end], (torch.tensor(lens) - start).clamp(0, end - start), state)
        for hypothesis in search.partial(state):
            assert brute.spelled(hypothesis.words or []) == hypothesis.tokens
    at_once = search.finish(search.advance(encoder_out, torch.tensor(lens), search.init(len(lens))))
    for one, other in zip(at_once, search.finish(state), strict=True):
        assert (one.words, one.tokens) == (other.words, other.tokens)


def test_files_that_cannot_be_used(words, tmp_path):
    model = brute.random_model(0)

    def build(**graph):
        return build_search(
            SearchConfig(method=SearchMethod.K2_FAST_BEAM, graph=GraphConfig(**graph)), model, TOKENIZER
        )

    with pytest.raises(ConfigError, match="no n-gram model at nowhere.arpa"):
        build(lexicon=words["lexicon"], lm="nowhere.arpa")
    (tmp_path / "bad.arpa").write_text("no model", encoding="utf-8")
    with pytest.raises(ConfigError, match="bad.arpa cannot be read as an n-gram model"):
        build(lexicon=words["lexicon"], lm=str(tmp_path / "bad.arpa"))
