"""Chunks of varying size: steps equal one masked pass over the same boundaries, whole model, rows of their own."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from asr.errors import ConfigError
from asr.models.transducer import EncoderOutput
from asr.nn.chunks import ChunkContext
from tests.streaming.contract import SAME, TOLERANCE, Batch, Feed, difference, make_batch, valid
from tests.streaming.subjects import Output, Whole
from tests.streaming.tiny import tiny_transducer

SUBJECT = Whole(tiny_transducer())
SIZES, LEFT = (8, 16, 32), 32


def draw_sizes(rng: random.Random) -> list[int]:
    return [rng.choice(SIZES) for _ in range(12)]


@torch.no_grad()
def stepped(batch: Batch, sizes: list[int], lookahead: int) -> Output:
    """One step per chunk, each of its own size, all from one cached state."""
    state = SUBJECT.init_state(len(batch.lens), ChunkContext(chunk_size=8, left_context=LEFT, lookahead=lookahead))
    outs, lens, done = [], torch.zeros_like(batch.lens), 0
    for size in sizes:
        context = ChunkContext(chunk_size=size, left_context=LEFT, lookahead=lookahead)
        # A feed counts in chunks of one size; from `done` on, the next chunk is its first.
        rest = Batch(batch.x[:, SUBJECT.input_rate * done :], batch.lens - SUBJECT.input_rate * done)
        out, out_lens, state = SUBJECT.step(*Feed(SUBJECT, rest, context).window(0, 1), state, context)
        outs.append(out)
        lens, done = lens + out_lens, done + size
    return Output(torch.cat(outs, dim=1), lens, state)


@torch.no_grad()
def masked(batch: Batch, rows: list[list[int]], lookahead: int) -> EncoderOutput:
    context = ChunkContext.varying(rows, left_context=LEFT, lookahead=lookahead)
    return SUBJECT.model.encode(batch.x, batch.lens, context=context)


def ragged(seed: int) -> Batch:
    rng = random.Random(seed)
    frames = [96 + rng.randrange(30), 8 + rng.randrange(80), 5]
    return make_batch(SUBJECT, frames, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lookahead", [0, 8])
@pytest.mark.parametrize("seed", range(3))
def test_steps_of_varying_size_equal_one_masked_pass(seed, lookahead):
    batch, sizes = ragged(seed), draw_sizes(random.Random(seed))
    expected = masked(batch, [sizes], lookahead)
    found = stepped(batch, sizes, lookahead)
    assert torch.equal(expected.lens, found.lens)
    assert difference(valid(expected), valid(found)) <= TOLERANCE


@pytest.mark.parametrize("lookahead", [0, 8])
def test_rows_of_a_batch_have_boundaries_of_their_own(lookahead):
    batch, rng = ragged(7), random.Random(7)
    rows = [draw_sizes(rng) for _ in batch.lens]
    expected = valid(masked(batch, rows, lookahead))
    for row, sizes in enumerate(rows):
        alone = Batch(batch.x[row : row + 1], batch.lens[row : row + 1])
        assert difference(expected[row : row + 1], valid(stepped(alone, sizes, lookahead))) <= TOLERANCE


def test_boundaries_count():
    batch = ragged(3)
    first, second = masked(batch, [[8, 32, 16]], 0), masked(batch, [[16, 32, 8]], 0)
    assert difference(valid(first), valid(second)) > 1e-3


def plain(batch: Batch, context: ChunkContext) -> list[Tensor]:
    with torch.no_grad():
        return valid(SUBJECT.whole(*batch, context))


@pytest.mark.parametrize("left_context", [32, None])
def test_equal_sizes_are_the_plain_mask(left_context):
    batch = ragged(4)
    context = ChunkContext.varying([[16]], left_context=left_context)
    expected = plain(batch, ChunkContext(chunk_size=16, left_context=left_context))
    assert difference(expected, plain(batch, context)) <= SAME


def test_more_lookahead_changes_what_is_heard():
    batch = ragged(5)
    outputs = [plain(batch, ChunkContext(chunk_size=8, left_context=32, lookahead=ahead)) for ahead in (0, 8, 16)]
    assert difference(outputs[0], outputs[1]) > 1e-3 and difference(outputs[1], outputs[2]) > 1e-3


def test_left_context_must_suit_every_size():
    with pytest.raises(ConfigError, match="left_context=40 must be a multiple of every chunk size, also of 16"):
        ChunkContext.varying([[8, 16]], left_context=40)


def test_lookahead_must_suit_the_slowest_stack():
    with pytest.raises(ConfigError, match="lookahead=4 must be 0 or a multiple of 8"):
        SUBJECT.init_state(1, ChunkContext(chunk_size=8, left_context=32, lookahead=4))
    with pytest.raises(ConfigError, match="lookahead=8 needs a chunk size"):
        ChunkContext(lookahead=8)
