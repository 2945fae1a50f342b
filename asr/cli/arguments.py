"""What stands on a command line: names first, `key=value` and flags anywhere."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr.errors import ConfigError

_OVERRIDE = re.compile(r"^(~[\w@/.]+|\+{0,2}[A-Za-z_][\w@/.]*=.*)$", re.DOTALL)


@dataclass(kw_only=True)
class Arguments:
    """positional: names and files; overrides: `key=value`; flags: those of `--name` that were given."""

    positional: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)


def parse(
    argv: Sequence[str], *, usage: str, flags: Sequence[str] = (), at_least: int = 0, at_most: int = 0
) -> Arguments:
    """Sort a command line into its parts.

    `--help` prints `usage` and ends the process. Two options are known everywhere: `--cfg` shows the configuration, and
    `--config-dir=FOLDER` adds a folder of one's own beside conf/, with `recipe/*.yaml` or `model/*.yaml` in it.

    Args:
        flags: options without value that the command knows, such as "--verify".
        at_least, at_most: how many names or files the command takes; at_most -1 is any number.
    Raises:
        ConfigError: an unknown option, or too few or many names.
    """
    found = Arguments()
    known = {"--cfg", *flags}
    for argument in argv:
        if argument in ("-h", "--help"):
            print(usage.strip())
            sys.exit(0)
        if argument.startswith("--config-dir="):
            found.overrides.append(_search_path(argument.split("=", 1)[1]))
        elif argument.startswith("-") and argument != "-":
            if argument not in known:
                raise ConfigError(f"unknown option {argument}; settings are given as key=value, see --help")
            found.flags.add(argument)
        elif _OVERRIDE.match(argument):
            found.overrides.append(argument)
        else:
            found.positional.append(argument)
    count = len(found.positional)
    if count < at_least:
        raise ConfigError(f"something is missing: {usage.strip().splitlines()[0]}")
    if at_most >= 0 and count > at_most:
        raise ConfigError(f"{found.positional[at_most]!r} is one argument too many; settings are given as key=value")
    return found


def _search_path(folder: str) -> str:
    """The override with which Hydra looks into a further folder."""
    path = Path(folder).resolve()
    if not path.is_dir():
        raise ConfigError(f"--config-dir={folder} is no folder; check the path")
    return f"hydra.searchpath=[{json.dumps(f'file://{path}')}]"
