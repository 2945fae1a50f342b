"""From YAML and `key=value` to plain dataclasses; nothing of Hydra gets past this file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from asr.config.decode_config import AverageConfig, DecodeConfig, ExportRootConfig, StreamRootConfig
from asr.errors import ConfigError, RillError
from asr.recipes.demo.config import DemoConfig
from asr.recipes.digits.config import DigitsConfig
from asr.training.run_config import RunConfig

logger = logging.getLogger(__name__)


def register() -> None:
    """Tell Hydra every schema; done once per process, by importing this module's functions."""
    store = ConfigStore.instance()
    for name, schema in {
        "run_schema": RunConfig,
        "decode_schema": DecodeConfig,
        "average_schema": AverageConfig,
        "stream_schema": StreamRootConfig,
        "export_schema": ExportRootConfig,
    }.items():
        store.store(name=name, node=schema)
    store.store(group="corpus", name="digits_schema", node=DigitsConfig)
    store.store(group="corpus", name="demo_schema", node=DemoConfig)


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
    try:
        with initialize_config_module("asr.conf", version_base="1.3"):
            return hydra_compose(root, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_sentence(error)) from error


def to_dataclass(tree: DictConfig) -> Any:
    """Resolve and check."""
    try:
        return OmegaConf.to_object(tree)
    except RillError:
        raise
    except OmegaConfBaseException as error:
        cause = error.__cause__
        if isinstance(cause, RillError):
            raise cause from error
        raise ConfigError(_one_sentence(error)) from error


def save_config(tree: DictConfig, path: Path) -> None:
    """Write the resolved configuration as YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OmegaConf.to_yaml(tree, resolve=True), encoding="utf-8")


def _one_sentence(error: BaseException) -> str:
    """What went wrong, without the parts of OmegaConf's report that only its authors can use."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [
        line for line in lines if not line.startswith(("object_type", "reference_type", "Set the env", "To append"))
    ]
    key = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    words = [line for line in kept if not line.startswith("full_key:")]
    cause = error.__cause__
    if cause is not None and words and words[0].startswith(("Could not override", "Error merging")):
        inner = [line.strip() for line in str(cause).splitlines() if line.strip()]
        words += inner[:1]
        key = key or next((line.removeprefix("full_key:").strip() for line in inner if line.startswith("full_key")), "")
    text = "; ".join(dict.fromkeys(word.rstrip(".") for word in words)) or type(error).__name__
    hint = "see `--cfg` for every key and its value"
    return f"{text}{f' (key {key})' if key and key not in text else ''}; {hint}"
