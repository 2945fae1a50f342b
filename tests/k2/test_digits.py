"""The digits recipe's grammar, any sequence of its words, with its trained model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from asr.checkpoint.model import load_model
from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.decoding.config import GraphConfig, LatticeConfig
from asr.decoding.run import decode_by_steps, decode_whole, nbest_whole
from asr.evaluation.oracle import fewest_errors
from asr.evaluation.wer import Transcript, Unit, score
from asr.features import Fbank
from asr.nn.chunks import ChunkContext
from asr.recipes.digits.prepare import list_path
from tests.models.digits import digits_model
from tests.models.strings import digit_strings

WORDS = list_path("test").with_name("words.txt")
CONTEXT = ChunkContext(chunk_size=32, left_context=128)
METHODS = [SearchMethod.K2_FAST_BEAM, SearchMethod.K2_CTC]


@pytest.fixture(scope="module")
def digits():
    return load_model(digits_model())


def grammar_search(digits, method: SearchMethod):
    lattice = LatticeConfig(search_beam=60.0, output_beam=60.0, nbest_scale=0.05)  # the CTC head has few doubts
    cfg = SearchConfig(method=method, graph=GraphConfig(lexicon=str(WORDS)), lattice=lattice)
    return build_search(cfg, digits.model, digits.tokenizer)


@pytest.fixture(scope="module")
def spoken(data_dir):
    return digit_strings(data_dir, count=8)


@pytest.fixture(scope="module")
def heard(spoken):
    samples = [one.samples for one in spoken]
    return Fbank()(pad_sequence(samples, batch_first=True), torch.tensor([len(x) for x in samples]))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.value)
def test_the_grammar_costs_no_errors(digits, spoken, heard, method):
    """Greedy search, the grammar, the best of its n-best lists: no more errors from one to the next."""

    def errors(texts: list[str]) -> int:
        pairs = zip(spoken, texts, strict=True)
        return score(Transcript(str(i), one.text, text) for i, (one, text) in enumerate(pairs)).counts.errors

    def texts(search, decode=decode_whole) -> list[str]:
        return [answer.text(digits.tokenizer) for answer in decode(digits.model, search, *heard, CONTEXT)]

    search = grammar_search(digits, method)
    found = texts(search)
    assert errors(found) <= errors(texts(build_search(SearchConfig(), digits.model)))
    assert texts(search, decode_by_steps) == found
    lists = nbest_whole(digits.model, search, *heard, CONTEXT)
    ranked = [[answer.text(digits.tokenizer) for answer in answers] for answers in lists]
    assert any(len(answers) > 1 for answers in ranked)
    best = [fewest_errors(one.text, row, unit=Unit.WORD) for one, row in zip(spoken, ranked, strict=True)]
    assert errors(best) <= errors(found)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.value)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.5, 3.0, 10.0]), length=st.integers(20, 150))
def test_noise_is_heard_as_digits_or_as_nothing(digits, method, seed, spread, length):
    search = grammar_search(digits, method)
    features = -8 + spread * torch.randn(1, length, 80, generator=torch.Generator().manual_seed(seed))
    (answer,) = decode_whole(digits.model, search, features, torch.tensor([length]), CONTEXT)
    assert set(answer.words) <= set(WORDS.read_text(encoding="utf-8").split())
    assert answer.tokens == digits.tokenizer.encode(" ".join(answer.words))
