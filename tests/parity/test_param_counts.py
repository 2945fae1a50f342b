"""Sizes, parameter names and streaming states of the published models."""

from __future__ import annotations

import csv
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.checkpoint.icefall import infer_config, to_published_name, to_rill_name
from asr.models.transducer import Transducer, TransducerConfig, count_parameters
from asr.models.zipformer import ZipformerConfig
from asr.nn.chunks import ChunkContext
from tests.parity.published import state_as_published, tiny_model

Shapes = dict[str, tuple[int, ...]]


def table(folder: Path, name: str) -> list[dict[str, str]]:
    path = folder / name
    if not path.exists():
        pytest.skip(f"no reference numbers at {path}")
    with open(path) as file:
        return list(csv.DictReader(file))


def shape(text: str) -> tuple[int, ...]:
    return () if text == "scalar" else tuple(int(size) for size in text.split("x"))


def published_shapes(folder: Path) -> dict[str, Shapes]:
    """Parameter shapes by model and published name, in the order of a checkpoint."""
    rows = table(folder, "state_dict_keys.csv")
    models = [name for name in rows[0] if name != "name"]
    return {model: {row["name"]: shape(row[model]) for row in rows if row[model]} for model in models}


_built: dict[str, Transducer] = {}


def build(config: TransducerConfig) -> Transducer:
    """A model without memory behind it, where torch can do that; built once."""
    key = repr(config)
    if key not in _built:
        with torch.device("meta") if hasattr(torch.device, "__enter__") else nullcontext():
            _built[key] = Transducer(config)
    return _built[key]


def from_shapes(shapes: Shapes) -> TransducerConfig:
    """The model whose published parameters have these shapes, with the published widths of an attention head."""
    state = {name: torch.empty(size, device="meta") for name, size in shapes.items()}
    values = infer_config(state)
    outer = {name: values.pop(name) for name in ("vocab_size", "context_size", "predictor_dim", "joiner_dim")}
    return TransducerConfig(encoder=ZipformerConfig(**values), **outer)


def told(row: dict[str, str]) -> dict[str, Any]:
    """What a row of param_counts.csv tells of the encoder."""
    columns = {"num_layers": "num_encoder_layers", "feedforward_dims": "feedforward_dim", "encoder_dims": "encoder_dim"}
    lists = {ours: [int(value) for value in row[theirs].split(",")] for ours, theirs in columns.items()}
    return lists | {"causal": row["causal"] == "1"}


def from_row(row: dict[str, str]) -> TransducerConfig:
    """The model of a row; what the row does not tell is as published."""
    unmasked = [int(value) for value in row["encoder_unmasked_dim"].split(",")]
    encoder = ZipformerConfig(unmasked_dims=unmasked, **told(row))
    return TransducerConfig(encoder=encoder, vocab_size=int(row["vocab_size"]), context_size=int(row["context_size"]))


def test_counts(golden_dir):
    for row in table(golden_dir, "param_counts.csv"):
        model = build(from_row(row))
        parts = {
            "total": model,
            "encoder_embed": model.encoder.embed,
            "decoder": model.predictor,
            "joiner": model.joiner,
            "simple_am_proj": model.simple_am_proj,
            "simple_lm_proj": model.simple_lm_proj,
        }
        for part, module in parts.items():
            assert count_parameters(module) == int(row[part]), f"{row['config']} {part}"
        stacks = count_parameters(model.encoder) - count_parameters(model.encoder.embed)
        assert stacks == int(row["encoder"]), f"{row['config']} encoder"
        assert len(list(model.parameters())) == int(row["num_tensors"]), row["config"]


def test_names_and_shapes(golden_dir):
    for model_name, shapes in published_shapes(golden_dir).items():
        model = build(from_shapes(shapes))
        ours = {name: tuple(value.shape) for name, value in model.named_parameters()}
        assert ours == {to_rill_name(name): size for name, size in shapes.items()}, model_name


def test_names_map_back(golden_dir):
    for model_name, shapes in published_shapes(golden_dir).items():
        slow = {i for i, factor in enumerate(from_shapes(shapes).encoder.downsampling_factors) if factor > 1}
        for name in shapes:
            assert to_published_name(to_rill_name(name), downsampled=slow) == name, model_name


def test_shapes_tell_the_configuration(golden_dir):
    shapes = published_shapes(golden_dir)
    for row in table(golden_dir, "param_counts.csv"):
        if row["config"] not in shapes:
            continue
        config = from_shapes(shapes[row["config"]])
        inferred = {name: getattr(config.encoder, name) for name in told(row)}
        assert inferred == told(row), row["config"]
        assert (config.vocab_size, config.context_size) == (int(row["vocab_size"]), int(row["context_size"]))


def streaming_model(folder: Path, name: str) -> Transducer:
    if name.startswith("tiny_"):
        return tiny_model(folder, name.removeprefix("tiny_"))
    return build(from_shapes(published_shapes(folder)[name]))


def test_streaming_states(golden_dir):
    cases: dict[tuple[str, int, int, int], list[dict[str, str]]] = {}
    for row in table(golden_dir, "streaming_states.csv"):
        key = (row["model"], int(row["chunk_size"]), int(row["left_context_frames"]), int(row["batch"]))
        cases.setdefault(key, []).append(row)
    models = {name: streaming_model(golden_dir, name) for name, *_ in cases}
    for (name, chunk_size, left_context, batch), rows in cases.items():
        context = ChunkContext(chunk_size=chunk_size, left_context=left_context)
        rows.sort(key=lambda row: int(row["index"]))
        ours = state_as_published(models[name].init_state(batch, context))
        expected = [shape(row["shape"]) for row in rows]
        assert [tuple(leaf.shape) for leaf in ours] == expected, f"{name} {context}"
        floats = [row["dtype"].startswith("float") for row in rows]
        assert [leaf.is_floating_point() for leaf in ours] == floats, f"{name} {context}"
