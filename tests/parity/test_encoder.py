"""The tiny reference encoders, whole, in masked chunks and step by step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from asr.models.transducer import EncoderOutput, Transducer
from asr.nn.chunks import ChunkContext, visible_frames
from asr.tensors import tree_leaves
from tests.parity.published import (
    ENCODER_TOLERANCE,
    SILENCE,
    Group,
    assert_close,
    context_of,
    groups,
    published_batch_axes,
    state_as_published,
    tiny_model,
)

SIMULATED = r"simulated/chunk-?\d+_left-?\d+"
STREAMING = r"streaming/chunk\d+_left\d+"


class Tiny(NamedTuple):
    model: Transducer
    arrays: dict
    features: Tensor
    lens: Tensor

    @property
    def num_frames(self) -> int:
        """Embed frames of the longest row."""
        return (self.features.shape[1] - 7) // 2


@pytest.fixture
def tiny(golden, golden_dir: Path, tiny_kind: str) -> Tiny:
    arrays = golden(f"tiny_{tiny_kind}_encoder.npz")
    features, lens = (torch.from_numpy(arrays[name]) for name in ("features", "feature_lens"))
    return Tiny(tiny_model(golden_dir, tiny_kind), arrays, features, lens.long())


@torch.no_grad()
def encode_with_stacks(tiny: Tiny, context: ChunkContext) -> tuple[EncoderOutput, dict[str, Tensor]]:
    """Encode whole utterances, and note what the front end and each stack put out."""
    inner: dict[str, Tensor] = {}
    encoder = tiny.model.encoder
    hooks = [encoder.embed.register_forward_hook(lambda _, __, out: inner.update(embed_out=out.out))]
    for index, stack in enumerate(encoder.stacks):
        note = f"stack{index}"
        hooks.append(stack.register_forward_hook(lambda _, __, out, note=note: inner.update({note: out[0]})))
    out = tiny.model.encode(tiny.features, tiny.lens, context=context)
    for hook in hooks:
        hook.remove()
    return out, inner


def comparable_frames(tiny: Tiny, context: ChunkContext, lookahead: int = 3) -> Tensor:
    """Embed frames of each row, (B,), that the reference computes without looking at the batch's padding.

    All of a row as long as the batch; of others the whole chunks before the first frame whose front end sees padding.
    """
    lens = torch.div(tiny.lens - 7, 2, rounding_mode="floor")
    if context.chunk_size is None:
        clean = torch.zeros_like(lens)
    else:
        clean = torch.div(lens - lookahead, context.chunk_size, rounding_mode="floor").clamp(min=0) * context.chunk_size
    return torch.where(lens == tiny.num_frames, lens, clean)


def assert_rows(actual: Tensor, expected: Tensor, frames: Tensor, what: str) -> None:
    """Compare the first frames of each row; (B, T, C), frames (B,)."""
    for row, count in enumerate(frames.tolist()):
        assert_close(actual[row, :count], expected[row, :count], f"{what} row {row}", ENCODER_TOLERANCE)


def check_whole(tiny: Tiny, case: Group, context: ChunkContext, name: str, left_out) -> None:
    out, inner = encode_with_stacks(tiny, context)
    assert torch.equal(out.lens, case["encoder_out_lens"]), name
    frames = comparable_frames(tiny, context)
    out_frames = torch.div(frames + 1, 2, rounding_mode="floor")
    assert_rows(out.out, case["encoder_out"], out_frames, name)
    missing = int((out.lens - out_frames).sum())
    if missing:
        left_out(f"{name}: {missing} of {int(out.lens.sum())} frames, which see padding")
    for what, expected in case.items():
        match = re.fullmatch(r"debug/(embed_out|stack\d+)", what)
        if match:
            batch_first = expected if match[1] == "embed_out" else expected.transpose(0, 1)
            assert_rows(inner[match[1]], batch_first, frames, f"{name} {match[1]}")


def test_whole_utterances(tiny, left_out):
    if "encoder_out" not in tiny.arrays:
        pytest.skip("no results for whole utterances without chunks under the file's top level")
    case = {name: torch.from_numpy(tiny.arrays[name]) for name in tiny.arrays}
    check_whole(tiny, case, ChunkContext(), "whole", left_out)


def test_masked_chunks(tiny, left_out):
    for name, case in groups(tiny.arrays, SIMULATED).items():
        check_whole(tiny, case, context_of(name, tiny.num_frames), name, left_out)


def test_chunk_mask(tiny):
    for name, case in groups(tiny.arrays, SIMULATED).items():
        if "attn_mask" not in case:
            continue
        frames = case["attn_mask"].shape[0]
        visible = visible_frames(
            context_of(name, frames),
            processed=torch.zeros(1, dtype=torch.int64),
            lens=torch.tensor([frames]),
            num_frames=frames,
            cache_frames=0,
        )
        assert torch.equal(visible[0].expand(frames, frames), ~case["attn_mask"]), name


@torch.no_grad()
def test_short_and_single_utterances(tiny):
    for name, case in groups(tiny.arrays, r"single\w*|short\d+").items():
        frames = int(case["num_frames"]) if "num_frames" in case else int(re.sub(r"\D", "", name))
        out = tiny.model.encode(tiny.features[:1, :frames], torch.tensor([frames]), context=ChunkContext())
        assert torch.equal(out.lens, case["encoder_out_lens"]), name
        assert_rows(out.out, case["encoder_out"], out.lens, name)


# -- step by step


def steps_of(tiny: Tiny, chunk_size: int, num_steps: int) -> list[Tensor]:
    """What the reference fed: 2 S + 13 features a step, 2 S further each time, silence beyond each utterance."""
    window = 2 * chunk_size + tiny.model.encoder.lookahead
    total = 2 * chunk_size * (num_steps - 1) + window
    x = torch.full((tiny.features.shape[0], total, tiny.features.shape[2]), SILENCE)
    for row, length in enumerate(tiny.lens.tolist()):
        x[row, :length] = tiny.features[row, :length]
    return [x[:, 2 * chunk_size * step :][:, :window] for step in range(num_steps)]


def check_state(state, case: Group, prefix: str, rows: list[int]) -> None:
    """Compare the listed batch rows of every tensor of the state, in the published order and layouts."""
    expected = {name: value for name, value in case.items() if re.fullmatch(rf"{prefix}/\d+", name)}
    ours = state_as_published(state)
    assert not expected or len(expected) == len(ours), f"{prefix}: {len(ours)} tensors, not {len(expected)}"
    index = torch.tensor(rows, dtype=torch.int64)
    for (name, theirs), mine, axis in zip(sorted(expected.items()), ours, published_batch_axes(state)):
        assert mine.shape == theirs.shape, name
        mine, theirs = mine.index_select(axis, index), theirs.index_select(axis, index)
        assert_close(mine.to(theirs.dtype), theirs, name, ENCODER_TOLERANCE if theirs.is_floating_point() else 0.0)


@torch.no_grad()
def check_steps(tiny: Tiny, case: Group, name: str, left_out) -> None:
    context = context_of(name, num_frames=10**9)
    expected, feature_lens = case["chunk_outputs"], case["chunk_feature_lens"]
    num_steps, batch = feature_lens.shape
    state = tiny.model.init_state(batch, context)
    assert len(tree_leaves(state)) == int(case["num_states"]), name
    full, skipped = torch.ones(batch, dtype=torch.bool), 0
    for step, x in enumerate(steps_of(tiny, context.chunk_size, num_steps)):
        out, out_lens, state = tiny.model.encode(x, feature_lens[step], context=context, state=state)
        # At an end the reference drops the last three frames that ours gives zeros to look at.
        full &= feature_lens[step] == x.shape[1]
        skipped += int(case["chunk_out_lens"][step][~full].sum())
        assert torch.equal(out_lens[full], case["chunk_out_lens"][step][full]), f"{name} step {step}"
        assert_close(out[full], expected[step][full], f"{name} step {step}", ENCODER_TOLERANCE)
        check_state(state, case, f"states_after_chunk{step}", full.nonzero().flatten().tolist())
    check_state(state, case, "states_final", full.nonzero().flatten().tolist())
    assert full.any(), f"{name}: nothing is left to compare"
    if skipped:
        left_out(f"{name}: {skipped} of {int(case['chunk_out_lens'].sum())} frames at the ends of shorter rows")


def test_steps(tiny, left_out):
    for name, case in groups(tiny.arrays, STREAMING).items():
        check_steps(tiny, case, name, left_out)
