"""Everything that streams keeps the streaming contract."""

from __future__ import annotations

import random

import pytest
import torch

from asr.nn.chunks import ChunkContext
from tests.streaming.contract import (
    check_contract,
    check_masked_equals_stepped,
    make_batch,
    num_chunks,
    random_split,
)
from tests.streaming.subjects import all_subjects
from tests.streaming.tiny import tiny_transducer

MODEL = tiny_transducer()
SUBJECTS = {subject.name: subject for subject in all_subjects(MODEL)}


@pytest.mark.parametrize("chunk_size, left_context", [(8, 16), (16, 40)])
@pytest.mark.parametrize("name", SUBJECTS)
def test_contract(name, chunk_size, left_context):
    context = ChunkContext(chunk_size=chunk_size, left_context=left_context)
    check_contract(SUBJECTS[name], context, seed=chunk_size)


@pytest.mark.parametrize("chunk_size, lookahead", [(8, 8), (16, 8), (8, 16)])
def test_contract_with_lookahead(chunk_size, lookahead):
    """Each chunk is computed with the frames that follow it, in every layer, and still nothing beyond them shows."""
    context = ChunkContext(chunk_size=chunk_size, left_context=16, lookahead=lookahead)
    check_contract(SUBJECTS["Whole"], context, seed=chunk_size)


@pytest.mark.parametrize("left_context", [64, 128, 256])
@pytest.mark.parametrize("chunk_size", [8, 16, 32, 64])
def test_model_masked_equals_stepped(chunk_size, left_context):
    context, rng = ChunkContext(chunk_size=chunk_size, left_context=left_context), random.Random(left_context)
    frames = [left_context + 2 * chunk_size + rng.randrange(chunk_size), 3 * chunk_size - 1, 5]
    batch = make_batch(SUBJECTS["Whole"], frames, torch.Generator().manual_seed(chunk_size))
    for split in ([1] * num_chunks(SUBJECTS["Whole"], batch.lens, context), None):
        split = split or random_split(num_chunks(SUBJECTS["Whole"], batch.lens, context), rng)
        check_masked_equals_stepped(SUBJECTS["Whole"], batch, context, split)
