"""Every recipe and every model of conf/ is what it was when someone last looked."""

from __future__ import annotations

import ast
import fnmatch
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from asr.config.compose import compose, compose_tree
from asr.config.decode_config import (
    AdaptiveRootConfig,
    AverageConfig,
    DecodeConfig,
    EnduranceConfig,
    EqualityConfig,
    ExportRootConfig,
    LatencyCurveConfig,
    ServeRootConfig,
    StreamRootConfig,
)
from asr.models.encoders import KINDS, kind_of
from asr.models.transducer import Transducer, count_parameters
from asr.training.run_config import RunConfig
from tests.conf.recipes import CONF, SNAPSHOTS, choices, composed, resolved
from tests.conftest import REPO

# Parameters with 500 units, as published with each model of these sizes.
PUBLISHED = {
    "zipformer_small": 23_285_615,
    "zipformer_small_streaming": 23_627_887,
    "zipformer_medium": 65_549_011,
    "zipformer_medium_streaming": 66_110_931,
    "zipformer_large": 148_439_574,
    "zipformer_large_streaming": 149_281_046,
}
ROOTS = {
    "train": RunConfig,
    "decode": DecodeConfig,
    "latency_curve": LatencyCurveConfig,
    "endurance": EnduranceConfig,
    "average": AverageConfig,
    "stream": StreamRootConfig,
    "export": ExportRootConfig,
    "adaptive": AdaptiveRootConfig,
    "equality": EqualityConfig,
    "serve": ServeRootConfig,
}


@pytest.mark.parametrize("recipe", choices("recipe"))
def test_recipe_is_as_its_snapshot(recipe):
    path = SNAPSHOTS / f"{recipe}.yaml"
    assert path.exists(), "a recipe without snapshot; run `make snapshots`"
    assert resolved(recipe) == path.read_text(encoding="utf-8"), "run `make snapshots` if this change is meant"


def test_no_snapshot_without_recipe():
    assert sorted(path.stem for path in SNAPSHOTS.iterdir()) == choices("recipe")


@pytest.mark.parametrize("recipe", choices("recipe"))
def test_recipe_becomes_plain_data(recipe):
    config = composed(recipe)
    assert isinstance(config, RunConfig)
    assert config.name == recipe and config.run_dir == f"exp/{recipe}"
    assert config.data.folder == config.corpus.out
    for where, value in walk(config, ""):
        assert not isinstance(value, (DictConfig, dict)), f"{where} is no dataclass"


def walk(value: object, where: str) -> Iterator[tuple[str, object]]:
    yield where, value
    if is_dataclass(value):
        for item in fields(value):
            yield from walk(getattr(value, item.name), f"{where}.{item.name}")


@pytest.mark.parametrize("name", choices("model"))
def test_model_builds(name):
    config = compose("train", [f"model={name}"]).model
    with torch.device("meta"):
        model = Transducer(config)
    assert name.endswith("_streaming") == model.encoder.supports_step
    if name in PUBLISHED:
        assert count_parameters(model) == PUBLISHED[name]
    for count in re.findall(r"\d+(?:,\d{3})+", (CONF / "model" / f"{name}.yaml").read_text()):
        assert count_parameters(model) == int(count.replace(",", ""))


@pytest.mark.parametrize("name", choices("encoder"))
def test_encoder_stands_in_any_recipe(name):
    config = compose("train", ["recipe=digits", f"encoder={name}"]).model
    assert kind_of(config.encoder) == name.partition("_")[0]
    with torch.device("meta"):
        model = Transducer(config)
    assert config.encoder.can_stream == model.encoder.supports_step
    assert config.encoder.output_dim == model.encoder.output_dim


def test_every_kind_of_encoder_is_offered():
    assert {name.partition("_")[0] for name in choices("encoder")} == KINDS.keys()


def test_every_published_size_is_offered():
    assert PUBLISHED.keys() <= set(choices("model"))


def test_every_root_has_its_dataclass():
    assert {path.stem for path in CONF.glob("*.yaml")} == ROOTS.keys()
    for root, schema in ROOTS.items():
        assert OmegaConf.get_type(compose_tree(root, [])) is schema


def test_every_yaml_is_packaged():
    if sys.version_info < (3, 11):
        pytest.skip("reading pyproject.toml needs Python 3.11")
    import tomllib

    setup = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = setup["package-data"]["asr.conf"]
    assert setup["package-dir"]["asr.conf"] == "conf"
    for path in CONF.rglob("*.yaml"):
        name = path.relative_to(CONF).as_posix()
        packed = [pattern for pattern in patterns if fnmatch.fnmatch(name, pattern.replace("**/", "*/"))]
        assert packed, f"{name} would be missing from the wheel"


def schemas() -> set[type]:
    """Every dataclass that a setting can be in."""
    corpora = [importlib.import_module(f"asr.recipes.{name}.config") for name in choices("corpus")]
    todo = [
        *ROOTS.values(),
        *KINDS.values(),
        *(value for module in corpora for value in vars(module).values() if is_dataclass(value)),
    ]
    found: set[type] = set()
    while todo:
        schema = todo.pop()
        if schema not in found:
            found.add(schema)
            hints = [hint for kind in get_type_hints(schema).values() for hint in (kind, *get_args(kind))]
            todo.extend(hint for hint in hints if is_dataclass(hint) and isinstance(hint, type))
    return found


@pytest.mark.parametrize("schema", sorted(schemas(), key=lambda schema: schema.__name__), ids=lambda s: s.__name__)
def test_every_setting_is_explained(schema):
    """A line of text under each field, and a dataclass that takes its values by name."""
    assert schema.__dataclass_params__.eq and inspect.getdoc(schema)
    assert all(item.kw_only for item in fields(schema))
    tree = ast.parse(Path(inspect.getfile(schema)).read_text(encoding="utf-8"))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == schema.__name__)
    for node, behind in zip(body, [*body[1:], None]):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = behind.value.value if isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant) else ""
            assert isinstance(text, str) and text.strip(), f"{schema.__name__}.{node.target.id} has no explanation"
