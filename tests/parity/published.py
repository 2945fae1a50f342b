"""Reading the reference numbers: groups by name, their layouts in ours, the tiny models."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.checkpoint.icefall import to_rill_state
from asr.models.transducer import Transducer, TransducerConfig, copy_weights
from asr.models.zipformer import EncoderState, LayerState, ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.tensors import tree_leaves

MODULE_TOLERANCE = 1e-5
ENCODER_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-4  # of a tensor's norm
SILENCE = -23.02585  # log(1e-10), which pads the reference's features

Group = dict[str, Tensor]


def groups(arrays: dict[str, np.ndarray], pattern: str) -> dict[str, Group]:
    """Arrays by the leading path that matches `pattern`; skips, saying so, where there is none."""
    found: dict[str, Group] = {}
    for name, array in arrays.items():
        match = re.match(rf"({pattern})/(.+)", name)
        if match and array.dtype.kind != "U":
            found.setdefault(match[1], {})[match[match.lastindex]] = torch.from_numpy(array)
    if not found:
        pytest.skip(f"no group {pattern} among the reference numbers")
    return found


def parameters(group: Group) -> Group:
    """A group's parameters, by the module's own names."""
    return {name.removeprefix("param/"): value for name, value in group.items() if name.startswith("param/")}


def numbered(group: Group, pattern: str) -> dict[int, Tensor]:
    """Arrays named by a number, e.g. `y_chunk(\\d+)`, in increasing order."""
    matches = ((re.fullmatch(pattern, name), value) for name, value in group.items())
    return dict(sorted((int(match[1]), value) for match, value in matches if match))


def assert_close(actual: Tensor, expected: Tensor, what: str, tolerance: float = MODULE_TOLERANCE) -> None:
    """Equal to `tolerance`, absolutely."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    if expected.numel() == 0:
        return
    error = (actual.detach().double() - expected.double()).abs().max().item()
    assert error <= tolerance, f"{what}: off by {error:.3g}"


def assert_close_to_norm(
    actual: Tensor, expected: Tensor, what: str, tolerance: float = GRADIENT_TOLERANCE, floor: float = 1e-7
) -> None:
    """Equal to `tolerance` times the expected tensor's norm."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, not {tuple(expected.shape)}"
    error = (actual.detach().double() - expected.double()).norm().item()
    norm = expected.double().norm().item()
    assert error <= tolerance * norm + floor, f"{what}: off by {error:.3g} where the norm is {norm:.3g}"


def batch_first(x: Tensor) -> Tensor:
    """(T, B, C) to (B, T, C)."""
    return x.transpose(0, 1)


def lens_of(mask: Tensor) -> Tensor | None:
    """Lengths that a key-padding mask (B, T) stands for; None if it hides more than a row's end."""
    lens = (~mask).sum(dim=1)
    return lens if torch.equal(mask, torch.arange(mask.shape[1]) >= lens.unsqueeze(1)) else None


# -- the tiny models


def tiny_config(folder: Path, kind: str) -> dict[str, str]:
    path = folder / f"tiny_{kind}_config.csv"
    if not path.exists():
        pytest.skip(f"no reference numbers at {path}")
    with open(path) as file:
        return {row["name"]: row["value"] for row in csv.DictReader(file)}


def _per_stack(values: dict[str, str], name: str) -> list[int]:
    return [int(value) for value in values[name].split(",")]


def tiny_state(folder: Path, kind: str) -> Group:
    """The tiny model's parameters by our names."""
    path = folder / f"tiny_{kind}_state_dict.npz"
    if not path.exists():
        pytest.skip(f"no reference numbers at {path}")
    with np.load(path, allow_pickle=False) as archive:
        return to_rill_state({name: torch.from_numpy(archive[name]) for name in archive.files})


def tiny_model(folder: Path, kind: str) -> Transducer:
    """A tiny reference model, in evaluation mode; every size is read off its files."""
    values, state = tiny_config(folder, kind), tiny_state(folder, kind)
    channels = [state[f"encoder.embed.conv.{i}.weight"].shape[0] for i in (0, 4, 7)]
    expansion = state["encoder.embed.convnext.pointwise_conv1.weight"].shape[0] // channels[-1]
    encoder = ZipformerConfig(
        feature_dim=int(values["feature_dim"]),
        embed_channels=channels,
        embed_expansion=expansion,
        downsampling_factors=_per_stack(values, "downsampling_factor"),
        num_layers=_per_stack(values, "num_encoder_layers"),
        encoder_dims=_per_stack(values, "encoder_dim"),
        unmasked_dims=_per_stack(values, "encoder_unmasked_dim"),
        feedforward_dims=_per_stack(values, "feedforward_dim"),
        num_heads=_per_stack(values, "num_heads"),
        cnn_kernels=_per_stack(values, "cnn_module_kernel"),
        query_head_dim=int(values["query_head_dim"]),
        value_head_dim=int(values["value_head_dim"]),
        pos_head_dim=int(values["pos_head_dim"]),
        pos_dim=int(values["pos_dim"]),
        causal=values["causal"] == "1",
    )
    config = TransducerConfig(
        encoder=encoder,
        vocab_size=int(values["vocab_size"]),
        context_size=int(values["context_size"]),
        predictor_dim=int(values["decoder_dim"]),
        joiner_dim=int(values["joiner_dim"]),
    )
    model = Transducer(config).eval()
    copy_weights(model, state)
    return model


# -- chunks and states


def context_of(name: str, num_frames: int) -> ChunkContext:
    """The context that a group's name tells; a chunk longer than the utterance is the utterance."""
    match = re.search(r"chunk(-?\d+)_left(-?\d+)", name)
    if not match:
        return ChunkContext()
    chunk, left = int(match[1]), int(match[2])
    whole = chunk < 0 or chunk > num_frames
    return ChunkContext(chunk_size=None if whole else chunk, left_context=None if left < 0 else left)


def state_as_published(state: EncoderState) -> list[Tensor]:
    """An encoder's state as the list of the published recipe, in its order and its layouts."""
    layers = [layer for stack in state.stacks for layer in stack]
    published = [leaf for layer in layers for leaf in _layer_as_published(layer)]
    return [*published, state.embed.permute(0, 3, 1, 2), state.processed]


def _layer_as_published(layer: LayerState) -> list[Tensor]:
    return [
        layer.key.transpose(0, 1),
        layer.nonlin.unsqueeze(0),
        layer.value1.transpose(0, 1),
        layer.value2.transpose(0, 1),
        layer.conv1.transpose(1, 2),
        layer.conv2.transpose(1, 2),
    ]


def published_batch_axes(state: EncoderState) -> list[int]:
    """Where the batch is in each tensor of `state_as_published`."""
    per_layer = [1, 1, 1, 1, 0, 0]
    return per_layer * ((len(tree_leaves(state)) - 2) // len(per_layer)) + [0, 0]
