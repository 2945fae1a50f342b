"""The recipes there are, and their resolved configurations as text."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

import asr.conf
from asr.config.compose import compose

CONF = Path(asr.conf.__file__).parent
SNAPSHOTS = Path(__file__).with_name("snapshots")


def choices(group: str) -> list[str]:
    """The names that a group of conf/ offers."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def resolved(recipe: str) -> str:
    """What `asr train recipe=NAME` runs with, every value spelled out."""
    return OmegaConf.to_yaml(OmegaConf.structured(compose("train", [f"recipe={recipe}"])))
