"""The streaming contract on generated lengths, chunk sizes, contexts and partitions."""

from __future__ import annotations

import random

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asr.nn.cache import extend_left
from asr.nn.chunks import ChunkContext
from tests.streaming.contract import (
    Batch,
    check_masked_equals_stepped,
    check_neighbours,
    check_padding,
    check_positions,
    num_chunks,
    random_split,
)
from tests.streaming.subjects import Whole
from tests.streaming.tiny import tiny_transducer

MODEL = Whole(tiny_transducer(seed=3))
QUICK = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

contexts = st.builds(
    ChunkContext, chunk_size=st.sampled_from([8, 16, 24, 32, 64]), left_context=st.integers(min_value=1, max_value=96)
)
feature_lens = st.lists(st.integers(min_value=0, max_value=260), min_size=1, max_size=3)
seeds = st.integers(min_value=0, max_value=2**16)


def batch_of(lens: list[int], seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(len(lens), max(lens), MODEL.input_dim, generator=generator), torch.tensor(lens))


@QUICK
@given(lens=feature_lens, context=contexts, seed=seeds)
def test_any_partition_of_any_lengths(lens, context, seed):
    batch = batch_of(lens, seed)
    split = random_split(num_chunks(MODEL, batch.lens, context), random.Random(seed))
    check_masked_equals_stepped(MODEL, batch, context, split)


@QUICK
@given(lens=feature_lens, context=contexts, seed=seeds)
def test_streams_at_any_positions(lens, context, seed):
    check_positions(MODEL, batch_of(lens, seed), context, random.Random(seed))


@QUICK
@given(lens=feature_lens, context=contexts, seed=seeds)
def test_neighbours_of_any_lengths(lens, context, seed):
    check_neighbours(MODEL, batch_of(lens, seed), context, random.Random(seed))


@QUICK
@given(lens=feature_lens.filter(lambda lens: max(lens) >= 9), context=contexts, seed=seeds)
def test_padding_of_any_lengths(lens, context, seed):
    check_padding(MODEL, batch_of(lens, seed), context, random.Random(seed))


@given(pieces=st.lists(st.integers(0, 5), min_size=1, max_size=6), cache_frames=st.integers(0, 7))
def test_the_cache_remembers_the_last_frames(pieces, cache_frames):
    x = torch.arange(sum(pieces), dtype=torch.float32).reshape(1, -1, 1) + 1
    history = torch.cat([torch.zeros(1, cache_frames, 1), x], dim=1)
    cache, start = history[:, :cache_frames], 0
    for frames in pieces:
        extended, cache = extend_left(x[:, start : start + frames], cache)
        start += frames
        assert torch.equal(extended, history[:, start - frames : start + cache_frames])
        assert torch.equal(cache, history[:, start : start + cache_frames])
