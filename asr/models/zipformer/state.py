"""What a streaming encoder remembers between steps. Every leaf has the batch first."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from asr.nn.blocks import BlockPast, Blocks


class LayerState(NamedTuple):
    """L is the left context at the stack's rate, K its convolution kernel, H its heads, C its channels."""

    key: Tensor  # (B, L, H * query_head_dim)
    nonlin: Tensor  # (B, L, 3 C / 4)
    value1: Tensor  # (B, L, H * value_head_dim)
    value2: Tensor  # (B, L, H * value_head_dim)
    conv1: Tensor  # (B, K // 2, C)
    conv2: Tensor  # (B, K // 2, C)


class EncoderState(NamedTuple):
    """stacks: layers per stack; embed: (B, 3, F', C') of the front end; processed: (B,), 50 Hz frames seen."""

    stacks: tuple[tuple[LayerState, ...], ...]
    embed: Tensor
    processed: Tensor


def in_blocks(state: LayerState, blocks: Blocks) -> Any:
    """A layer's state for a call whose chunks are rows of their own: each leaf is what `extend_left` then needs."""
    convolved = {"conv1", "conv2"}  # these remember as far as they see
    pasts: dict[str, Any] = {
        name: BlockPast(leaf, blocks, leaf.shape[1] if name in convolved else blocks.past)
        for name, leaf in state._asdict().items()
    }
    return LayerState(**pasts)
