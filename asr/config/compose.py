"""From YAML and `key=value` to plain dataclasses; nothing of Hydra gets past this file."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

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
from asr.config.sentences import no_choice, unknown_key, why_meaningless, why_refused
from asr.errors import ConfigError, RillError
from asr.models.encoders import KINDS
from asr.recipes.aishell.config import AishellConfig
from asr.recipes.demo.config import DemoConfig
from asr.recipes.digits.config import DigitsConfig
from asr.recipes.librispeech.config import LibriSpeechConfig
from asr.training.run_config import RunConfig

logger = logging.getLogger(__name__)


def register() -> None:
    """Tell Hydra every schema; done once per process, by importing this module's functions."""
    store = ConfigStore.instance()
    run = OmegaConf.structured(RunConfig)
    run.model.encoder = MISSING  # for the group `encoder` to fill in; values over another encoder's would mix with them
    for name, schema in {
        "run_schema": run,
        "decode_schema": DecodeConfig,
        "adaptive_schema": AdaptiveRootConfig,
        "equality_schema": EqualityConfig,
        "latency_curve_schema": LatencyCurveConfig,
        "endurance_schema": EnduranceConfig,
        "average_schema": AverageConfig,
        "stream_schema": StreamRootConfig,
        "serve_schema": ServeRootConfig,
        "export_schema": ExportRootConfig,
    }.items():
        store.store(name=name, node=schema)
    for kind, schema in KINDS.items():
        store.store(group="encoder", name=f"{kind}_schema", node=schema, package="model.encoder")
    for name, schema in {
        "aishell": AishellConfig,
        "demo": DemoConfig,
        "digits": DigitsConfig,
        "librispeech": LibriSpeechConfig,
    }.items():
        store.store(group="corpus", name=f"{name}_schema", node=schema)


def compose(root: str, overrides: Sequence[str]) -> Any:
    """The configuration of a command, checked.

    Args:
        root: name of a file in conf/, such as "train".
        overrides: `key=value`, `+key=value`, `~key`, as Hydra takes them.
    Returns:
        an instance of the root's dataclass.
    Raises:
        ConfigError: an unknown key, a wrong type, or a value without meaning.
    """
    return to_dataclass(compose_tree(root, overrides))


def compose_tree(root: str, overrides: Sequence[str]) -> DictConfig:
    """The same before it becomes a dataclass: for printing and snapshots."""
    register()
    GlobalHydra.instance().clear()
    for override in overrides:
        if override.startswith("~"):
            raise ConfigError(f"{override} would delete what the command needs; set {override[1:]}=... instead")
    try:
        with initialize_config_module("asr.conf", version_base="1.3"):
            return _compose(root, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(why_refused(error)) from error


def _compose(root: str, overrides: list[str]) -> DictConfig:
    """Hydra's composition, in which augment.noise.prob=0.3 or augment.noise={} also switch a null on."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    for item in parsed:
        if not item.is_sweep_override():  # which Hydra refuses by itself
            _check_choice(item.key_or_group, item.value())
    try:
        tree = hydra_compose(root, overrides=overrides)
        for key, value in {item.key_or_group: item.value() for item in parsed}.items():
            for empty in _empty_groups(key, value):  # which Hydra merges into a null as nothing
                _switch_on(tree, empty)
        return tree
    except (AssertionError, AttributeError):  # Hydra's way to say that it cannot go below a null
        ours = [item for item in parsed if not item.key_or_group.startswith("hydra.")]
        nested = [item for item in ours if "." in item.key_or_group or isinstance(item.value(), dict)]
        tree = hydra_compose(root, overrides=[str(item.input_line) for item in parsed if item not in nested])
    for item in nested:
        key = item.key_or_group
        for end in (match.start() for match in re.finditer(r"\.|$", key)):
            _switch_on(tree, key[:end])
        OmegaConf.update(tree, key, item.value(), merge=True)
        for empty in _empty_groups(key, item.value()):
            _switch_on(tree, empty)
    return tree


def _check_choice(group: str, value: object) -> None:
    """Refuse what cannot be the name of a file in conf/GROUP: Hydra has no sentence for numbers, nulls and lists.

    A dictionary is a choice of values.
    """
    files = resources.files("asr.conf").joinpath(group)
    if not isinstance(value, (str, dict)) and group.isidentifier() and files.is_dir():
        offered = [Path(file.name).stem for file in files.iterdir() if file.name.endswith(".yaml")]
        raise ConfigError(no_choice(group, "null" if value is None else str(value), offered))


def _empty_groups(key: str, value: object) -> Iterator[str]:
    """The full keys that `key=value` sets to {}: `augment.noise` for augment.noise={} and for augment={noise:{}}."""
    if isinstance(value, dict):
        if not value:
            yield key
        for name, below in value.items():
            yield from _empty_groups(f"{key}.{name}", below)


def _switch_on(tree: DictConfig, key: str) -> None:
    """Replace a null that stands for a group of settings by the group's defaults."""
    above, _, name = key.rpartition(".")
    parent = OmegaConf.select(tree, above) if above else tree
    if isinstance(parent, DictConfig) and name in parent and parent[name] is None:
        schemas = get_args(get_type_hints(OmegaConf.get_type(parent)).get(name))
        if schemas and is_dataclass(schemas[0]):
            parent[name] = OmegaConf.structured(schemas[0])


def to_dataclass(tree: DictConfig) -> Any:
    """Resolve and check."""
    try:
        _check_leaves(tree, "")
        return OmegaConf.to_object(tree)
    except RillError as error:
        raise type(error)(why_meaningless(error, tree)) from error
    except OmegaConfBaseException as error:
        cause = error.__cause__
        raise ConfigError(
            why_meaningless(cause, tree) if isinstance(cause, RillError) else why_refused(error)
        ) from error


def _check_leaves(node: DictConfig, path: str) -> None:
    """Refuse what schemas let through: keys added with `+`, and numbers that are none."""
    schema = OmegaConf.get_type(node)
    for key in map(str, node):
        full_key = f"{path}.{key}" if path else key
        if is_dataclass(schema) and key not in {field.name for field in fields(schema)}:
            raise ConfigError(unknown_key(full_key, OmegaConf.structured(schema)))
        value = None if OmegaConf.is_missing(node, key) else node[key]
        if isinstance(value, DictConfig):
            _check_leaves(value, full_key)
        elif isinstance(value, float) and math.isnan(value):
            raise ConfigError(f"{full_key}={value} must be a number")


def save_config(config: Any, path: Path) -> None:
    """Write a checked configuration as YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OmegaConf.to_yaml(OmegaConf.structured(config)), encoding="utf-8")
