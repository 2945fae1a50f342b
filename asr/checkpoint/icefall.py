"""Read published icefall checkpoints of Zipformer transducers, without unpickling anything but tensors."""

from __future__ import annotations

import contextlib
import pathlib
import pickle
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.errors import CheckpointError

STACK = re.compile(r"encoder\.encoders\.(\d+)\.(?:encoder\.)?")
OUR_STACK = re.compile(r"encoder\.stacks\.(\d+)\.")
PREFIXES = (
    ("encoder_embed.", "encoder.embed."),
    ("decoder.", "predictor."),
    ("joiner.decoder_proj.", "joiner.predictor_proj."),
    ("ctc_output.1.", "ctc_head.linear."),
)

# Channels that random feature masking spares in training leave no trace in the weights; these are the published ones.
PUBLISHED_UNMASKED: dict[tuple[int, ...], tuple[int, ...]] = {
    (192, 256, 256, 256, 256, 256): (192, 192, 192, 192, 192, 192),
    (192, 256, 384, 512, 384, 256): (192, 192, 256, 256, 256, 192),
    (192, 256, 512, 768, 512, 256): (192, 192, 256, 320, 256, 192),
}


class PublishedModel(NamedTuple):
    """A published checkpoint in our terms."""

    model: dict[str, Tensor]  # by our names
    average: dict[str, Tensor]  # running mean by our names, float64; {} where the file has none
    config: dict[str, Any]  # see infer_config
    names: list[str]  # published names, in their order


def read_published(path: Path, **hints: Any) -> PublishedModel:
    """Read a published .pt file: a pretrained model, or a whole training checkpoint.

    Args:
        path: the file.
        hints: what shapes do not show; passed to `infer_config`.
    Raises:
        CheckpointError: the file is missing, damaged, holds more than tensors and plain data, or is of another model.
    """
    content = _load(Path(path))
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no model state; give a checkpoint with an entry called model")
    average = content.get("model_avg") or {}
    return PublishedModel(
        model=to_rill_state(state),
        average={name: value.double() for name, value in to_rill_state(average).items()},
        config=infer_config(state, **hints),
        names=list(state),
    )


# -- names


def to_rill_name(name: str) -> str:
    """Our name of a published parameter."""
    stack = STACK.match(name)
    if stack:
        return f"encoder.stacks.{stack.group(1)}.{name[stack.end() :]}"
    for theirs, ours in PREFIXES:
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    return name


def to_published_name(name: str, *, downsampled: Collection[int]) -> str:
    """The published name of one of our parameters.

    Args:
        name: ours.
        downsampled: indices of the stacks that run at a reduced frame rate; their layers lie one level deeper there.
    """
    stack = OUR_STACK.match(name)
    if stack:
        index, rest = int(stack.group(1)), name[stack.end() :]
        inner = "encoder." if index in downsampled and rest.startswith("layers.") else ""
        return f"encoder.encoders.{index}.{inner}{rest}"
    for theirs, ours in PREFIXES:
        if name.startswith(ours):
            return theirs + name[len(ours) :]
    return name


def downsampled_stacks(names: Iterable[str]) -> set[int]:
    """Which stacks, by our names, run at a reduced frame rate."""
    matches = (re.fullmatch(r"encoder\.stacks\.(\d+)\.downsample\.bias", name) for name in names)
    return {int(match.group(1)) for match in matches if match}


def to_rill_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under our names; data-parallel prefixes are dropped."""
    return {to_rill_name(name.removeprefix("module.")): value for name, value in state.items()}


# -- configuration


def infer_config(
    state: Mapping[str, Tensor],
    *,
    query_head_dim: int = 32,
    pos_head_dim: int = 4,
    value_head_dim: int = 12,
    feature_dim: int = 80,
    unmasked_dims: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Read a model's configuration off the shapes of its published state.

    The widths of an attention projection are products of the number of heads and a head's dimension, so the
    latter must be told (or be the published ones); so must `unmasked_dims` (published ones where the model is of a
    published size, else nothing is masked) and the feature dimension, which leaves remainders.

    Returns:
        Plain data: num_layers, downsampling_factors, encoder_dims, unmasked_dims, feedforward_dims, num_heads,
        cnn_kernels (lists, one entry per stack), query_head_dim, value_head_dim, pos_head_dim, pos_dim, causal,
        embed_channels, vocab_size, context_size, predictor_dim, joiner_dim, feature_dim.
    Raises:
        CheckpointError: a tensor is missing, or the head dimensions contradict the shapes.
    """
    ours = _Shapes(to_rill_state(state))
    dims = [ours.of(f"encoder.stacks.{i}.layers.0.norm.bias")[0] for i in ours.stacks]
    heads = [_num_heads(ours, i, query_head_dim, pos_head_dim, value_head_dim) for i in ours.stacks]
    vocab_size, predictor_dim = ours.of("predictor.embedding.weight")
    return {
        "num_layers": [ours.num_layers(i) for i in ours.stacks],
        "downsampling_factors": [(ours.get(f"encoder.stacks.{i}.downsample.bias") or (1,))[0] for i in ours.stacks],
        "encoder_dims": dims,
        "unmasked_dims": list(unmasked_dims or PUBLISHED_UNMASKED.get(tuple(dims)) or dims),
        # the second of three feed-forward modules has the nominal width, the others 3/4 and 5/4 of it
        "feedforward_dims": [
            ours.of(f"encoder.stacks.{i}.layers.0.feed_forward2.in_proj.weight")[0] for i in ours.stacks
        ],
        "num_heads": heads,
        "cnn_kernels": [_kernel(ours, i) for i in ours.stacks],
        "query_head_dim": query_head_dim,
        "value_head_dim": value_head_dim,
        "pos_head_dim": pos_head_dim,
        "pos_dim": ours.of("encoder.stacks.0.layers.0.self_attn_weights.linear_pos.weight")[1],
        "causal": any(".causal_conv." in name for name in ours.shapes),
        "embed_channels": [ours.of(f"encoder.embed.conv.{i}.weight")[0] for i in (0, 4, 7)],
        "vocab_size": vocab_size,
        "context_size": (ours.get("predictor.conv.weight") or (1,))[-1],
        "predictor_dim": predictor_dim,
        "joiner_dim": ours.of("joiner.encoder_proj.weight")[0],
        "feature_dim": _checked_feature_dim(ours, feature_dim),
    }


class _Shapes:
    """Shapes by our names, with a helpful complaint about absent ones."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.shapes = {name: tuple(value.shape) for name, value in state.items()}
        matches = [match for match in map(OUR_STACK.match, self.shapes) if match]
        self.stacks = sorted({int(match.group(1)) for match in matches})
        if not self.stacks:
            raise CheckpointError("the checkpoint holds no Zipformer encoder; give one of a zipformer recipe")

    def get(self, name: str) -> tuple[int, ...] | None:
        return self.shapes.get(name)

    def of(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise CheckpointError(f"the checkpoint has no {name} (our name); give one of a Zipformer transducer")
        return self.shapes[name]

    def num_layers(self, stack: int) -> int:
        found = (re.match(rf"encoder\.stacks\.{stack}\.layers\.(\d+)\.", name) for name in self.shapes)
        return 1 + max(int(match.group(1)) for match in found if match)


def _num_heads(ours: _Shapes, stack: int, query: int, pos: int, value: int) -> int:
    """Heads of one stack, if the three projections agree on them: widths H·v, H·p and H·(2q + p)."""
    layer = f"encoder.stacks.{stack}.layers.0."
    widths = (
        ours.of(layer + "self_attn1.in_proj.weight")[0],
        ours.of(layer + "self_attn_weights.linear_pos.weight")[0],
        ours.of(layer + "self_attn_weights.in_proj.weight")[0],
    )
    heads = widths[0] // value
    if widths != (heads * value, heads * pos, heads * (2 * query + pos)):
        raise CheckpointError(
            f"attention widths {widths} of stack {stack} do not fit query_head_dim={query}, pos_head_dim={pos}, "
            f"value_head_dim={value}; tell the head dimensions this model was trained with"
        )
    return heads


def _kernel(ours: _Shapes, stack: int) -> int:
    conv = f"encoder.stacks.{stack}.layers.0.conv_module1.depthwise_conv."
    return (ours.get(conv + "chunkwise_conv.weight") or ours.of(conv + "weight"))[-1]


def _checked_feature_dim(ours: _Shapes, feature_dim: int) -> int:
    channels = ours.of("encoder.embed.conv.7.weight")[0]
    width = ours.of("encoder.embed.out.weight")[1]
    if width != channels * (((feature_dim - 1) // 2 - 1) // 2):
        raise CheckpointError(
            f"the front end's width {width} does not fit feature_dim={feature_dim}; tell the number of mel bins"
        )
    return feature_dim


# -- reading


def _load(path: Path) -> dict[str, Any]:
    """What a .pt file holds, by torch's restricted loader: tensors, containers, numbers, text, paths."""
    try:
        with _allow_paths():
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}; check the path") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or holds Python objects besides tensors, which are never loaded; "
            "where you trust it, save its model entry alone to a new file"
        ) from error
    except Exception as error:  # a damaged file trips the loader in a dozen ways
        raise CheckpointError(f"{path} is damaged or no PyTorch checkpoint; download it again") from error


@contextlib.contextmanager
def _allow_paths() -> Iterator[None]:
    """Training checkpoints note their folder as a path object, which is harmless; torch before 2.5 refuses it."""
    allow = getattr(torch.serialization, "safe_globals", None)
    if allow is None:
        yield
        return
    with allow([pathlib.PosixPath, pathlib.PurePosixPath]):
        yield
