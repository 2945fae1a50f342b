"""The recipes there are, and their resolved configurations as text."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from omegaconf import OmegaConf

import asr.conf
from asr.config.compose import compose
from asr.training.run_config import RunConfig

CONF = Path(asr.conf.__file__).parent
SNAPSHOTS = Path(__file__).with_name("snapshots")


def choices(group: str) -> list[str]:
    """The names that a group of conf/ offers."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def composed(recipe: str) -> RunConfig:
    """What `asr train recipe=NAME` runs with; not to be changed."""
    return compose("train", [f"recipe={recipe}"])


def resolved(recipe: str) -> str:
    """The same as text, every value spelled out."""
    return OmegaConf.to_yaml(OmegaConf.structured(composed(recipe)))
