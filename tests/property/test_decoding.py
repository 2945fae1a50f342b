"""What must hold of every search, for any division into chunks and any company in the batch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from asr.decoding.config import K2_METHODS, FastBeamConfig, SearchConfig, SearchMethod
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.search import Search, build_search
from asr.decoding.state import concat, select
from asr.kernels.k2 import has_k2
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor

ENCODER_DIM, VOCAB_SIZE = 5, 7
CONFIGS = [
    SearchConfig(),
    SearchConfig(max_symbols_per_frame=2, blank_penalty=0.5),
    SearchConfig(method=SearchMethod.BEAM, beam=3),
    SearchConfig(method=SearchMethod.FAST_BEAM, fast=FastBeamConfig(beam=8.0, max_contexts=3, max_states=5)),
    SearchConfig(method=SearchMethod.CTC_GREEDY),
    SearchConfig(method=SearchMethod.CTC_BEAM, beam=3),
    SearchConfig(method=SearchMethod.K2_FAST_BEAM, fast=FastBeamConfig(beam=8.0, max_contexts=3, max_states=5)),
    SearchConfig(method=SearchMethod.K2_CTC),
]
needs_k2 = pytest.mark.skipif(not has_k2(), reason="no k2 here; make test-k2 runs this")
every_search = pytest.mark.parametrize(
    "cfg",
    [pytest.param(cfg, marks=needs_k2) if cfg.method in K2_METHODS else cfg for cfg in CONFIGS],
    ids=lambda cfg: f"{cfg.method.value}{cfg.max_symbols_per_frame}",
)
several_draws = settings(max_examples=15, deadline=None)


def random_search(cfg: SearchConfig, seed: int) -> Search:
    torch.manual_seed(seed)
    predictor = Predictor(VOCAB_SIZE, 8, context_size=2).eval()
    joiner = Joiner(ENCODER_DIM, 8, 6, VOCAB_SIZE).eval()
    for parameter in [*predictor.parameters(), *joiner.parameters()]:
        nn.init.normal_(parameter)
    nn.init.constant_(joiner.output_linear.bias[:1], 4.0)  # as when trained, blanks are the rule
    ctc_head = nn.Sequential(nn.Linear(ENCODER_DIM, VOCAB_SIZE), nn.LogSoftmax(dim=-1))
    return build_search(
        cfg, SimpleNamespace(predictor=predictor, joiner=joiner, ctc_head=ctc_head, has_transducer=True)
    )


def decode(search: Search, encoder_out: Tensor, lens: Tensor) -> list[Hypothesis]:
    return search.finish(search.advance(encoder_out, lens, search.init(len(lens))))


def assert_same(found: list[Hypothesis], expected: list[Hypothesis]) -> None:
    """Equal tokens and times; scores up to the rounding of differently shaped matrix products."""
    assert [(h.tokens, h.timestamps) for h in found] == [(h.tokens, h.timestamps) for h in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-4)
        assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=1e-4)


@every_search
@several_draws
@given(seed=st.integers(0, 10**6), lens=st.lists(st.integers(0, 20), min_size=1, max_size=4), data=st.data())
def test_any_division_into_chunks_gives_the_same_answer(cfg, seed, lens, data):
    search = random_search(cfg, seed)
    total = max(lens)
    encoder_out = torch.randn(len(lens), total, ENCODER_DIM)
    whole = decode(search, encoder_out, torch.tensor(lens))
    cuts = sorted(data.draw(st.lists(st.integers(0, total), max_size=6)))
    state = search.init(len(lens))
    for start, end in zip([0, *cuts], [*cuts, total], strict=True):
        chunk_lens = (torch.tensor(lens) - start).clamp(0, end - start)
        state = search.advance(encoder_out[:, start:end], chunk_lens, state)
    assert_same(search.finish(state), whole)
    assert state.frames.tolist() == lens


@every_search
@several_draws
@given(seed=st.integers(0, 10**6), lens=st.lists(st.integers(0, 12), min_size=2, max_size=5))
def test_neighbours_and_padding_change_nothing(cfg, seed, lens):
    search = random_search(cfg, seed)
    encoder_out = torch.randn(len(lens), max(lens) + 3, ENCODER_DIM)
    together = decode(search, encoder_out, torch.tensor(lens))
    alone = [decode(search, row[None, :length], torch.tensor([length]))[0] for row, length in zip(encoder_out, lens)]
    assert_same(together, alone)


@every_search
@several_draws
@given(
    seed=st.integers(0, 10**6),
    first=st.lists(st.integers(0, 8), min_size=3, max_size=3),
    then=st.lists(st.integers(0, 8), min_size=3, max_size=3),
    order=st.permutations(range(3)),
)
def test_streams_at_different_positions_share_a_batch(cfg, seed, first, then, order):
    search = random_search(cfg, seed)
    early, late = torch.randn(3, 8, ENCODER_DIM), torch.randn(3, 8, ENCODER_DIM)
    states = [search.advance(early[b : b + 1], torch.tensor([first[b]]), search.init(1)) for b in range(3)]
    rows = torch.tensor(order)
    batch = search.advance(late[rows], torch.tensor(then)[rows], select(concat(states), rows))
    expected = [search.finish(search.advance(late[b : b + 1], torch.tensor([then[b]]), states[b]))[0] for b in order]
    assert_same(search.finish(batch), expected)
    split = [select(batch, torch.tensor([i])) for i in range(3)]
    assert_same([search.finish(state)[0] for state in split], expected)


@every_search
def test_partial_answers_grow_into_the_final_one(cfg):
    search = random_search(cfg, seed=3)
    encoder_out = torch.randn(1, 30, ENCODER_DIM)
    state = search.init(1)
    assert search.partial(state) == [Hypothesis()]
    for t in range(30):
        state = search.advance(encoder_out[:, t : t + 1], torch.tensor([1]), state)
        partial = search.partial(state)[0]
        assert len(partial.tokens) == len(partial.timestamps) == len(partial.token_log_probs)
        assert all(time <= t for time in partial.timestamps)
    assert search.finish(state)[0] == partial
    assert partial.tokens
