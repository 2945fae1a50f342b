"""Learning rates as pure functions of how far training has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch

from asr.errors import ConfigError


class Schedule(Protocol):
    """Gives the rate for the step numbered `step`, counted from 1, in `epoch`, counted from 0."""

    def rate(self, step: int, epoch: float = 0.0) -> float: ...


class ScheduleKind(Enum):
    """The shape of the learning rate over time."""

    EDEN = "eden"
    EDEN2 = "eden2"
    CONSTANT_THEN_LINEAR = "constant_then_linear"


@dataclass(kw_only=True)
class ScheduleConfig:
    """How the learning rate changes; the base rate belongs to the optimizer."""

    kind: ScheduleKind = ScheduleKind.EDEN
    """Which of the shapes below."""
    warmup_steps: int = 500
    """Steps until the full rate is reached; 0: at once."""
    warmup_start: float = 0.1
    """Share of the rate at step 0; in [0, 1]."""
    lr_batches: float = 7500.0
    """eden, eden2: number of steps around which decay sets in; > 0."""
    lr_epochs: float = 3.5
    """eden: number of epochs around which decay sets in; > 0."""
    decay_part: float = 0.5
    """constant_then_linear: the last part of all steps, over which the rate falls; in (0, 1]."""
    final_fraction: float = 0.02
    """constant_then_linear: share of the base rate left at the end; in [0, 1]."""

    def __post_init__(self) -> None:
        for key in ("lr_batches", "lr_epochs"):
            if getattr(self, key) <= 0:
                raise ConfigError(f"schedule.{key}={getattr(self, key)} must be > 0")
        for key in ("warmup_start", "final_fraction"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"schedule.{key}={getattr(self, key)} must lie in [0, 1]")
        if not 0 < self.decay_part <= 1:
            raise ConfigError(f"schedule.decay_part={self.decay_part} must lie in (0, 1]")
        if self.warmup_steps < 0:
            raise ConfigError(f"schedule.warmup_steps={self.warmup_steps} must be >= 0; 0 starts at the full rate")


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """A straight line from `start` at step 0 to 1 at step `steps`."""

    steps: float = 500.0
    start: float = 0.1

    def factor(self, step: int) -> float:
        return self.start + (1 - self.start) * step / self.steps if step < self.steps else 1.0


@dataclass(frozen=True, kw_only=True)
class Eden:
    """base · ((n² + A²)/A²)^-¼ · ((e² + E²)/E²)^-¼ · warm(n); Yao et al., "Zipformer",
    ICLR 2024, section "Optimizer".

    n steps, e epochs, A `lr_batches`, E `lr_epochs`. The paper starts warming up at 0.5.
    """

    base_lr: float
    lr_batches: float = 7500.0
    lr_epochs: float = 3.5
    warmup: Warmup = Warmup()

    def rate(self, step: int, epoch: float = 0.0) -> float:
        steps = (1 + (step / self.lr_batches) ** 2) ** -0.25
        epochs = (1 + (epoch / self.lr_epochs) ** 2) ** -0.25
        return self.base_lr * steps * epochs * self.warmup.factor(step)


@dataclass(frozen=True, kw_only=True)
class Eden2:
    """base · ((n² + A²)/A²)^-½ · warm(n): Eden without epochs, for endless data."""

    base_lr: float
    lr_batches: float = 7500.0
    warmup: Warmup = Warmup()

    def rate(self, step: int, epoch: float = 0.0) -> float:
        return self.base_lr * (1 + (step / self.lr_batches) ** 2) ** -0.5 * self.warmup.factor(step)


@dataclass(frozen=True, kw_only=True)
class ConstantThenLinear:
    """Warm up, stay, and fall in a straight line to `final_fraction` of the base at step `num_steps`."""

    base_lr: float
    num_steps: int
    decay_part: float = 0.5
    final_fraction: float = 0.02
    warmup: Warmup = Warmup()

    def rate(self, step: int, epoch: float = 0.0) -> float:
        left = (self.num_steps - step) / (self.decay_part * self.num_steps)
        fall = self.final_fraction + (1 - self.final_fraction) * min(max(left, 0.0), 1.0)
        return self.base_lr * fall * self.warmup.factor(step)


def build_schedule(config: ScheduleConfig, *, base_lr: float, num_steps: int | None = None) -> Schedule:
    """Make the schedule a config asks for.

    Args:
        config: its settings.
        base_lr: rate that all factors multiply.
        num_steps: length of the whole training; only constant_then_linear needs it.
    Raises:
        ConfigError: constant_then_linear without a positive number of steps.
    """
    warmup = Warmup(steps=config.warmup_steps, start=config.warmup_start)
    match config.kind:
        case ScheduleKind.EDEN:
            return Eden(base_lr=base_lr, lr_batches=config.lr_batches, lr_epochs=config.lr_epochs, warmup=warmup)
        case ScheduleKind.EDEN2:
            return Eden2(base_lr=base_lr, lr_batches=config.lr_batches, warmup=warmup)
    if num_steps is None or num_steps < 1:
        raise ConfigError(
            f"schedule.kind=constant_then_linear needs the number of training steps, not {num_steps}; "
            "set training.num_steps, or use eden"
        )
    return ConstantThenLinear(
        base_lr=base_lr,
        num_steps=num_steps,
        decay_part=config.decay_part,
        final_fraction=config.final_fraction,
        warmup=warmup,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group this rate times its `lr_scale`; call between backward and the optimizer's step."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
