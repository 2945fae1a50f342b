"""The files that a client loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asr.export.config import ExportMode


@dataclass(frozen=True, kw_only=True)
class ClientFiles:
    """Paths of one exported model, and how it listens."""

    mode: ExportMode
    encoder: Path
    decoder: Path
    joiner: Path
    tokens: Path
