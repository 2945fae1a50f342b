"""Notices steps that went wrong, and what to do when they do not stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from statistics import median, quantiles
from typing import Any

from asr.errors import ConfigError
from asr.training.precision import Precision

_LEAST_SIZE = 0.01  # loss per frame


class Trouble(Enum):
    """What can be wrong with a step."""

    LOSS = "the loss is not finite"
    """Makes no optimizer call."""
    GRADIENT = "a gradient is not finite"
    """All gradients count as zero."""
    EXPLOSION = "the loss is many times what it usually is"
    """Is counted only: clipping bounds what it can do."""


@dataclass(kw_only=True)
class GuardConfig:
    """When training that goes wrong is helped, and when it is given up."""

    patience: int = 20
    """Bad steps in a row after which the run falls back to its last good checkpoint, in float32 or at a lower rate."""
    explosion: float | None = 20.0
    """A loss per frame this many times the recent median counts as bad; above 1; null: only one that is not finite.
    Losses that a penalty on delay may take below 0: see `usual_size`."""
    rate_factor: float = 0.5
    """What the learning rate is multiplied by for the rest of the run when it falls back; between 0 and 1."""
    max_fallbacks: int = 3
    """Fallbacks after which the run gives up; 0 or more."""
    keep_batches: int = 3
    """Batches of bad steps that are kept, each with the model it met, for `asr train debug-batch`; 0 or more."""

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ConfigError(f"training.guard.patience={self.patience} must be at least 1")
        if self.explosion is not None and not self.explosion > 1:
            raise ConfigError(f"training.guard.explosion={self.explosion} must be above 1; null switches it off")
        if not 0 < self.rate_factor < 1:
            raise ConfigError(f"training.guard.rate_factor={self.rate_factor} must lie between 0 and 1")
        for name in ("max_fallbacks", "keep_batches"):
            if getattr(self, name) < 0:
                raise ConfigError(f"training.guard.{name}={getattr(self, name)} must be 0 or more")


@dataclass
class GuardState:
    """in_a_row: bad steps up to now; recent: losses per frame of the last good steps; the others say it themselves."""

    in_a_row: int = 0
    exploded: int = 0
    fallbacks: int = 0
    rate_factor: float = 1.0
    precision: Precision = Precision.FP32
    recent: list[float] = field(default_factory=list)


class Guard:
    """Judges every step; all processes of a run come to the same judgement."""

    MEMORY, ENOUGH = 50, 20  # good steps the median is taken of, and how many it takes

    def __init__(self, config: GuardConfig, precision: Precision = Precision.FP32):
        self.config = config
        self.state = GuardState(precision=precision)

    def judge(self, is_finite: bool, per_frame: float) -> Trouble | None:
        """What is wrong with a loss."""
        if not is_finite:
            return Trouble.LOSS
        recent, limit = self.state.recent, self.config.explosion
        if limit is None or len(recent) < self.ENOUGH:
            return None
        is_explosion = per_frame - median(recent) > (limit - 1) * usual_size(recent)
        return Trouble.EXPLOSION if is_explosion else None

    def note(self, trouble: Trouble | None, per_frame: float) -> bool:
        """Remember how a step went; returns whether patience is at an end."""
        state = self.state
        state.in_a_row = state.in_a_row + 1 if trouble else 0
        state.exploded += trouble is Trouble.EXPLOSION
        if trouble is None:
            state.recent = [*state.recent[1 - self.MEMORY :], per_frame]
        return state.in_a_row >= self.config.patience

    @property
    def is_at_its_end(self) -> bool:
        """Whether everything has been tried."""
        return self.state.fallbacks >= self.config.max_fallbacks

    def eased(self) -> GuardState:
        """The state to fall back with: a safer precision where there is one, else a lower rate."""
        state = self.state
        eased = GuardState(fallbacks=state.fallbacks + 1, exploded=state.exploded, precision=state.precision)
        if state.precision is not state.precision.safer:
            eased.rate_factor, eased.precision = state.rate_factor, state.precision.safer
        else:
            eased.rate_factor = state.rate_factor * self.config.rate_factor
        return eased

    def to_state(self) -> dict[str, Any]:
        return {**asdict(self.state), "precision": self.state.precision.value}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `to_state`; the precision is the run's own setting until a fallback has changed it."""
        precision = Precision(state["precision"]) if state["fallbacks"] else self.state.precision
        self.state = GuardState(**{**state, "precision": precision})


def usual_size(losses: Sequence[float]) -> float:
    """What an excess over the median of losses per frame is measured by: that median, where losses are above 0.

    A penalty on delay may take them to 0 and below. There, it is no less than the median's own size, the distance
    between their quartiles, and a small fixed number, so that a median that happens to be 0 explodes nothing.
    """
    middle = median(losses)
    if min(losses) > 0:
        return middle
    lower, _, upper = quantiles(losses, n=4)
    return max(abs(middle), upper - lower, _LEAST_SIZE)
