"""Why a configuration was refused: one sentence that names the full key and says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from asr.errors import RillError

# What OmegaConf says of a value, and what that asks of whoever wrote it.
_WISHES = {
    "converted to Integer": "must be a whole number",
    "converted to Float": "must be a number",
    "not a valid bool": "must be true or false",
    "not a ListConfig": "must be a list, in square brackets",
    "is not Optional": "must not be null",
}


def _some_of(offered: list[str], wanted: str, most: int = 12) -> str:
    """The choices there are; of very many, those that look like what was wanted."""
    shown = sorted(offered)
    if len(shown) > most:
        shown = get_close_matches(wanted, shown, n=most, cutoff=0.4) or [name for name in shown if "_" not in name]
    rest = f" and {len(offered) - len(shown)} more" if len(shown) < len(offered) else ""
    return ", ".join(shown) + rest


def why_refused(error: BaseException) -> str:
    """For what Hydra and OmegaConf raise, whose own reports run over several lines."""
    for cause in _causes(error):
        match cause:
            case MissingConfigException(missing_cfg_file=str(name), options=list(options)):
                offered = [option for option in options if not option.endswith("_schema")]
                group, _, choice = name.rpartition("/")
                return no_choice(group, choice, offered)
            case OverrideParseException(override=override):
                return f"{override!r} cannot be read as key=value; put values with special characters in double quotes"
            case ConfigCompositionException() if found := re.match(r"Could not override '(\w+)'", str(cause)):
                return f"{found.group(1)} is no setting of this command; `--cfg` shows those it has"
            case ConfigKeyError() | ConfigAttributeError():
                return unknown_key(str(cause.full_key or cause.key), cause.parent_node)
            case ValidationError():
                return _wrong_type(cause)
            case MissingMandatoryValue():
                return f"{cause.full_key} is not set; give it a value"
            case InterpolationResolutionError():
                return f"{cause.full_key} cannot be worked out ({_first_line(cause)}); give it a plain value"
    return f"{_first_line(error)}; `--cfg` shows every key and its value"


def no_choice(group: str, choice: str, offered: list[str]) -> str:
    """For a name of none of the files that a group offers."""
    return f"{group}={choice or 'nothing'} is no choice; choose from {_some_of(offered, choice)}"


def unknown_key(key: str, parent: object) -> str:
    """For a key that `parent`, the node above it, does not have."""
    above, _, name = key.rpartition(".")
    known = [str(other) for other in parent] if isinstance(parent, DictConfig) and not parent._is_none() else []
    known = [other for other in known if other != "hydra"]  # its own settings
    if close := get_close_matches(name, known, n=1):
        return f"{key} is no setting; did you mean {above}{'.' if above else ''}{close[0]}?"
    return f"{key} is no setting; {above or 'the command'} has {', '.join(known) or 'none'}"


def why_meaningless(error: RillError, tree: DictConfig) -> str:
    """The message of a check in a dataclass, with its key as it stands in `tree`.

    A dataclass knows its own fields but not under which name a command has it.
    """
    path, node = _refused(tree, "")
    message = str(error).rstrip(".")
    found = re.match(r"[A-Za-z_][\w.]*", message)
    name = found.group().rpartition(".")[2] if found else ""
    if found is None or name not in node:
        return message if path in message else f"{path}: {message}"
    above, prefix, rest = f"{path}." if path else "", found.group().removesuffix(name), message[found.end() :]
    others = "|".join(map(str, node))  # the message may name further settings of the same dataclass
    rest = re.sub(rf"(?<![\w.]){re.escape(prefix)}({others})(?={'' if prefix else '='})", rf"{above}\1", rest)
    return f"{above}{name}{rest}"


def _refused(node: DictConfig, path: str) -> tuple[str, DictConfig]:
    """The innermost node that makes no object, and its full key."""
    for key in map(str, node):
        child = None if OmegaConf.is_missing(node, key) else node[key]
        if isinstance(child, DictConfig) and not _makes_object(child):
            return _refused(child, f"{path}.{key}" if path else key)
    return path, node


def _makes_object(node: DictConfig) -> bool:
    try:
        OmegaConf.to_object(node)
    except RillError:
        return False
    except OmegaConfBaseException as error:
        return not isinstance(error.__cause__, RillError)
    return True


def _wrong_type(error: ValidationError) -> str:
    key, text = str(error.full_key), _first_line(error)
    shown = f"{key}={error.value}" if error.value is not None else key
    if choices := re.search(r"expected one of \[(.*)\]", text):
        return f"{shown} must be one of {choices.group(1)}"
    for words, wish in _WISHES.items():
        if words in text:
            return f"{shown} {wish}"
    if "is not a subclass of" in text:
        return f"{shown} has no meaning: {key} holds further settings; `--cfg` shows them, as {key}.NAME=VALUE"
    return f"{key}: {text}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, the innermost first."""
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)
    yield error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
