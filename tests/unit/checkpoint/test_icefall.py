"""Names and configurations of published checkpoints, and reading them without unpickling."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.checkpoint.icefall import downsampled_stacks, infer_config, read_published, to_published_name, to_rill_name
from asr.errors import CheckpointError

RENAMED = {
    "num_encoder_layers": "num_layers",
    "downsampling_factor": "downsampling_factors",
    "encoder_dim": "encoder_dims",
    "encoder_unmasked_dim": "unmasked_dims",
    "feedforward_dim": "feedforward_dims",
    "cnn_module_kernel": "cnn_kernels",
    "decoder_dim": "predictor_dim",
}


def _shape(text):
    return () if text == "scalar" else tuple(int(size) for size in text.split("x"))


@pytest.fixture(scope="module")
def published(golden_dir):
    """Shapes by name of every published model, on no device."""
    path = golden_dir / "state_dict_keys.csv"
    if not path.exists():
        pytest.skip(f"no list of published names at {path}")
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    models = [column for column in rows[0] if column != "name"]
    return {
        model: {row["name"]: torch.empty(_shape(row[model]), device="meta") for row in rows if row[model]}
        for model in models
    }


def test_names_round_trip_and_stay_unique(published):
    for names in published.values():
        ours = [to_rill_name(name) for name in names]
        assert len(set(ours)) == len(names)
        stacks = downsampled_stacks(ours)
        assert [to_published_name(name, downsampled=stacks) for name in ours] == list(names)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("encoder_embed.convnext.depthwise_conv.weight", "encoder.embed.convnext.depthwise_conv.weight"),
        ("encoder.encoders.0.layers.1.norm.bias", "encoder.stacks.0.layers.1.norm.bias"),
        ("encoder.encoders.3.encoder.layers.12.bypass.bypass_scale", "encoder.stacks.3.layers.12.bypass.bypass_scale"),
        ("encoder.encoders.1.downsample.bias", "encoder.stacks.1.downsample.bias"),
        ("encoder.encoders.1.out_combiner.bypass_scale", "encoder.stacks.1.out_combiner.bypass_scale"),
        ("encoder.downsample_output.bias", "encoder.downsample_output.bias"),
        ("decoder.embedding.weight", "predictor.embedding.weight"),
        ("joiner.decoder_proj.bias", "joiner.predictor_proj.bias"),
        ("joiner.output_linear.bias", "joiner.output_linear.bias"),
        ("simple_am_proj.bias", "simple_am_proj.bias"),
        ("ctc_output.1.weight", "ctc_head.linear.weight"),
    ],
)
def test_names(theirs, ours):
    assert to_rill_name(theirs) == ours
    assert to_published_name(ours, downsampled={1, 3}) == theirs


def _expected(text):
    numbers = [int(part) for part in text.split(",")]
    return numbers if len(numbers) > 1 else numbers[0]


def _listed(value):
    return value if isinstance(value, list) else [value]


def test_configurations_of_published_models(published, golden_dir):
    columns = {
        "num_encoder_layers": "num_layers",
        "feedforward_dim": "feedforward_dims",
        "encoder_dim": "encoder_dims",
        "encoder_unmasked_dim": "unmasked_dims",
        "vocab_size": "vocab_size",
        "context_size": "context_size",
    }
    with open(golden_dir / "param_counts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        found = infer_config(published[row["config"]])
        for theirs, ours in columns.items():
            assert found[ours] == _expected(row[theirs]), (row["config"], ours)
        assert found["causal"] == (row["causal"] == "1")
        if row["config"] == "medium":
            assert found["num_heads"] == [4, 4, 4, 8, 4, 4]
            assert found["cnn_kernels"] == [31, 31, 15, 15, 15, 31]
            assert found["downsampling_factors"] == [1, 2, 4, 8, 4, 2]
            assert (found["pos_dim"], found["predictor_dim"], found["joiner_dim"]) == (48, 512, 512)
            assert found["embed_channels"] == [8, 32, 128]


def _tiny(golden_dir, kind):
    archive, table = golden_dir / f"tiny_{kind}_state_dict.npz", golden_dir / f"tiny_{kind}_config.csv"
    if not (archive.exists() and table.exists()):
        pytest.skip(f"no tiny {kind} model in {golden_dir}")
    with open(table, newline="") as file:
        settings = {row["name"]: _expected(row["value"]) for row in csv.DictReader(file)}
    with np.load(archive, allow_pickle=False) as arrays:
        return settings, {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.mark.parametrize("kind", ["causal", "noncausal"])
def test_configurations_of_tiny_models(golden_dir, kind):
    settings, state = _tiny(golden_dir, kind)
    told = {key: settings[key] for key in ("query_head_dim", "pos_head_dim", "value_head_dim", "feature_dim")}
    found = infer_config(state, **told, unmasked_dims=_listed(settings["encoder_unmasked_dim"]))
    for theirs, value in settings.items():
        ours = RENAMED.get(theirs, theirs)
        if ours in found:
            assert found[ours] == (_listed(value) if isinstance(found[ours], list) else value), theirs
    with pytest.raises(CheckpointError, match="head dimensions"):
        infer_config(state, **{**told, "value_head_dim": settings["value_head_dim"] + 1})
    with pytest.raises(CheckpointError, match="feature_dim=40"):
        infer_config(state, **{**told, "feature_dim": 40})
    with pytest.raises(CheckpointError, match=r"predictor\.embedding\.weight"):
        infer_config({name: value for name, value in state.items() if not name.startswith("decoder.")}, **told)


def test_reading_a_training_checkpoint(golden_dir, tmp_path):
    settings, state = _tiny(golden_dir, "causal")
    path = tmp_path / "epoch-3.pt"
    extras = {"exp_dir": Path("zipformer/exp"), "batch_idx_train": 40, "best": float("inf"), "sampler": {"epoch": 3}}
    if not hasattr(torch.serialization, "safe_globals"):
        del extras["exp_dir"], extras["best"]  # torch before 2.5 refuses paths, 1.13 even fractions
    torch.save({"model": state, "model_avg": {k: v.double() for k, v in state.items()}, **extras}, path)
    told = {key: settings[key] for key in ("query_head_dim", "pos_head_dim", "value_head_dim")}
    found = read_published(path, **told)
    assert found.names == list(state)
    assert torch.equal(found.model["predictor.embedding.weight"], state["decoder.embedding.weight"])
    assert found.average.keys() == found.model.keys()
    assert found.average["predictor.embedding.weight"].dtype == torch.float64
    assert found.config["causal"]


class _Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (self.target,))


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    target, path = tmp_path / "attacked", tmp_path / "pretrained.pt"
    torch.save({"model": {"w": torch.ones(1)}, "exp_dir": _Attack(str(target))}, path)
    with pytest.raises(CheckpointError, match="never loaded"):
        read_published(path)
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_refused(tmp_path, zipped):
    path = tmp_path / "x.pt"
    torch.save({"model": {"a": torch.randn(3, 4)}}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for size in range(0, len(content) - 1, 7):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="damaged"):
            read_published(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.pt"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_published(path)
    for content in (b"", b"garbage", b"PK\3\4" + bytes(50)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged"):
            read_published(path)
    for content, words in (({"model": [1]}, "no model state"), ({"model": {"w": torch.ones(1)}}, "no Zipformer")):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=words):
            read_published(path)
