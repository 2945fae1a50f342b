"""Which learning rates train: the rate grows from step to step, and the loss tells.

Source: Smith, "Cyclical learning rates for training neural networks", arXiv 1506.01186, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asr.data import Batch
from asr.errors import ConfigError
from asr.training.stepper import Stepper
from asr.training.trainer import TrainingData

_SMOOTHING = 0.8  # weight of the past
_DIVERGED = 3.0  # times the lowest smoothed loss


@dataclass(kw_only=True)
class LrRangeConfig:
    """The range that `asr train lr-range` tries."""

    low: float = 0.001
    """Rate of the first step; above 0."""
    high: float = 1.0
    """Rate of the last step; above `low`."""
    steps: int = 100
    """Steps; the rate grows by the same factor each time; 10 or more."""

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ConfigError(f"lr_range.low={self.low} and lr_range.high={self.high} must be above 0 and rise")
        if self.steps < 10:
            raise ConfigError(f"lr_range.steps={self.steps} must be at least 10")


@dataclass(frozen=True)
class GrowingRate:
    """A schedule: low · (high / low)^((step − 1) / (steps − 1))."""

    config: LrRangeConfig

    def rate(self, step: int, epoch: float = 0.0) -> float:
        progress = (step - 1) / (self.config.steps - 1)
        return self.config.low * (self.config.high / self.config.low) ** progress


class Try(NamedTuple):
    """One step: its rate, its loss per frame, and the running mean of that."""

    rate: float
    loss: float
    smooth: float


class LrRange(NamedTuple):
    """tries: in order; suggested: the rate at which the loss fell fastest; diverged: where it rose again, if it did."""

    tries: list[Try]
    suggested: float
    diverged: float | None


def try_rates(stepper: Stepper, data: TrainingData, config: LrRangeConfig) -> LrRange:
    """Train with a growing rate until the loss is not finite, or well above its lowest."""
    stepper.schedule = GrowingRate(config)
    tries: list[Try] = []
    for batch in _endless(data, config.steps):
        loss = stepper.step([batch]).per_frame
        last = tries[-1].smooth if tries else loss
        tries.append(Try(stepper.schedule.rate(len(tries) + 1), loss, _SMOOTHING * last + (1 - _SMOOTHING) * loss))
        if not math.isfinite(loss) or _has_diverged([one.smooth for one in tries]):
            return LrRange(tries, _steepest(tries), tries[-1].rate)
    return LrRange(tries, _steepest(tries), None)


def _has_diverged(losses: Sequence[float]) -> bool:
    """Whether the last of smoothed losses is far above the lowest; where a penalty on delay has taken that below 0,
    the first one's size says what is far."""
    lowest = min(losses)
    size = lowest if lowest > 0 else abs(losses[0])
    return losses[-1] - lowest > (_DIVERGED - 1) * size


def _endless(data: TrainingData, steps: int) -> Iterator[Batch]:
    taken, epoch = 0, 0
    while taken < steps:
        for batch in data.epoch(epoch):
            yield batch
            taken += 1
            if taken == steps:
                return
        epoch += 1


def _steepest(tries: Sequence[Try]) -> float:
    """Where the smoothed loss falls most per step, over windows of a tenth of all steps."""
    width = max(len(tries) // 10, 1)
    finite = [one for one in tries if math.isfinite(one.smooth)]
    if len(finite) <= width:
        return tries[0].rate
    falls = [finite[i].smooth - finite[i + width].smooth for i in range(len(finite) - width)]
    return finite[max(range(len(falls)), key=falls.__getitem__) + width // 2].rate


def plot_rates(found: LrRange, path: Path) -> None:
    """Loss against rate, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    rates = [one.rate for one in found.tries]
    axes.semilogx(rates, [one.loss for one in found.tries], color="0.8", label="each step")
    axes.semilogx(rates, [one.smooth for one in found.tries], label="running mean")
    axes.axvline(found.suggested, linestyle="--", color="tab:green", label=f"falls fastest: {found.suggested:.3g}")
    axes.set(xlabel="learning rate", ylabel="loss per frame")
    axes.legend()
    figure.savefig(path, dpi=110)
