"""From a command line to the command's configuration."""

from __future__ import annotations

import json
import sys
from typing import Any

from asr.cli.arguments import Arguments


def settings(root: str, arguments: Arguments, *, checkpoint: str | None = None) -> Any:
    """The dataclass for `root`; with `--cfg`, prints it as YAML instead and ends the process."""
    from omegaconf import OmegaConf

    from asr.config.compose import compose_tree, to_dataclass

    overrides = list(arguments.overrides)
    if checkpoint is not None:
        overrides.insert(0, f"checkpoint={json.dumps(checkpoint)}")
    tree = compose_tree(root, overrides)
    config = to_dataclass(tree)
    if "--cfg" in arguments.flags:
        print(OmegaConf.to_yaml(tree), end="")
        sys.exit(0)
    return config
