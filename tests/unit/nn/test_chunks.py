"""What each frame may see."""

from __future__ import annotations

import pytest
import torch

from asr.errors import ConfigError
from asr.nn.chunks import ChunkContext, visible_frames


def visible(context: ChunkContext, processed: list[int], lens: list[int], num_frames: int, cache_frames: int = 0):
    return visible_frames(
        context,
        processed=torch.tensor(processed),
        lens=torch.tensor(lens),
        num_frames=num_frames,
        cache_frames=cache_frames,
    )


@pytest.mark.parametrize("field", ["chunk_size", "left_context"])
@pytest.mark.parametrize("value", [0, -1])
def test_impossible_contexts_are_named(field, value):
    with pytest.raises(ConfigError, match=f"{field}={value}"):
        ChunkContext(**{field: value})


@pytest.mark.parametrize(
    "chunk, left, frames", [(16, 64, 64), (16, 70, 64), (16, 8, 16), (None, 64, None), (16, None, None)]
)
def test_left_context_is_whole_chunks_and_at_least_one(chunk, left, frames):
    assert ChunkContext(chunk_size=chunk, left_context=left).left_frames == frames


def test_without_chunks_a_row_sees_all_of_itself():
    mask = visible(ChunkContext(), [0, 0], [3, 5], 5)
    assert mask.tolist() == [[[True] * 3 + [False] * 2], [[True] * 5]]


def test_chunks_see_themselves_and_the_left_context():
    mask = visible(ChunkContext(chunk_size=2, left_context=2), [0], [6], 6)[0].int().tolist()
    assert mask == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
    ]


def test_steps_see_what_the_whole_mask_shows():
    context = ChunkContext(chunk_size=4, left_context=8)
    whole = visible(context, [0], [20], 20)[0]
    for start in range(0, 20, 4):
        step = visible(context, [start], [20 - start], 4, cache_frames=8)[0]
        padded = torch.cat([torch.zeros(20, 8, dtype=torch.bool), whole], dim=1)
        assert torch.equal(step, padded[start : start + 4, start : start + 12])


def test_each_row_has_its_own_clock():
    context = ChunkContext(chunk_size=2, left_context=4)
    together = visible(context, [0, 2, 8], [2, 1, 2], 2, cache_frames=4)
    for row, (processed, length) in enumerate([(0, 2), (2, 1), (8, 2)]):
        assert torch.equal(together[row : row + 1], visible(context, [processed], [length], 2, cache_frames=4))
    assert together[:, 0].int().tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]


def test_a_row_that_has_ended_may_see_nothing():
    assert not visible(ChunkContext(chunk_size=2, left_context=2), [0], [0], 2, cache_frames=2).any()
