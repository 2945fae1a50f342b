"""Where a run stands. Everything that must continue after a stop follows from these three numbers and the seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Position:
    """step: optimizer steps attempted; epoch: passes finished; consumed: batches used up in the present pass.

    utterances and audio_s are those of all processes, cpu_s and wall_s the time that this one spent on training them.
    """

    step: int = 0
    epoch: int = 0
    consumed: int = 0
    utterances: int = 0
    audio_s: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    bad_losses: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load(self, values: dict[str, Any]) -> None:
        """Continue from `to_dict`; what older checkpoints do not know stays as it is."""
        for key in self.to_dict():
            setattr(self, key, values.get(key, getattr(self, key)))
