"""Settings to plain data for a file's metadata, and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """A dataclass as JSON-able data, with dataclasses inside it; choices by their value."""
    if is_dataclass(value):
        return {item.name: to_plain(getattr(value, item.name)) for item in fields(value)}
    return value.value if isinstance(value, Enum) else value


def from_plain(schema: type[T], values: dict[str, Any]) -> T:
    """What `to_plain` was given; settings that this version does not know are passed over."""
    hints = get_type_hints(schema)
    known = [item.name for item in fields(schema) if item.name in values]  # type: ignore[arg-type]
    return schema(**{name: _revive(hints[name], values[name]) for name in known})


def _revive(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    for kind in (hint, *get_args(hint)):  # the type itself, or one of those that may stand there
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(value)
        if is_dataclass(kind):
            return from_plain(kind, value)  # type: ignore[arg-type]
    return value
