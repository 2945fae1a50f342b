"""Where the schedules of dropout and the like stand."""

from __future__ import annotations

from dataclasses import dataclass

PERIOD = 10  # steps between moves, as published


@dataclass(frozen=True)
class RegularisationClock:
    """start: position at the first step; per_step: how far it moves each step; one unit stands for 600 s of audio."""

    start: float
    per_step: float

    def at(self, step: int) -> float:
        """The position in force at a step, counted from 1."""
        return self.start + (step - 1) // PERIOD * PERIOD * self.per_step
