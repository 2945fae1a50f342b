"""Values that change while training goes on: dropout rates, limits of regularisers."""

from __future__ import annotations

from bisect import bisect_right

from torch import nn


class ScheduledFloat(nn.Module):
    """A piecewise-linear function of the schedule position, constant outside its end points.

    The position is the number of batches seen, adjusted so that one unit stands for 600 s of audio (see
    `set_schedule_position`). `value` is `default` in evaluation, and in training as long as no position was set.

    Args:
        points: (position, value) pairs, in increasing order of position.
    """

    def __init__(self, *points: tuple[float, float], default: float = 0.0):
        super().__init__()
        self.points = [(float(x), float(y)) for x, y in points]
        self.default = default
        self.position: float | None = None
        self._value = default

    def at(self, position: float) -> float:
        """The scheduled value at `position`, whatever the mode."""
        xs = [x for x, _ in self.points]
        right = bisect_right(xs, position)
        if right == 0:
            return self.points[0][1]
        if right == len(xs):
            return self.points[-1][1]
        (x0, y0), (x1, y1) = self.points[right - 1 : right + 1]
        return y0 + (position - x0) * (y1 - y0) / (x1 - x0)

    def move_to(self, position: float) -> None:
        self.position = position
        self._value = self.at(position)

    @property
    def value(self) -> float:
        """The value in force now."""
        return self._value if self.training and self.position is not None else self.default

    def extra_repr(self) -> str:
        return " ".join(f"({x:g},{y:g})" for x, y in self.points)


def current(value: float | ScheduledFloat) -> float:
    """A plain number, from a number or a schedule."""
    return value.value if isinstance(value, ScheduledFloat) else value


def set_schedule_position(model: nn.Module, position: float) -> None:
    """Move every schedule inside `model` to `position`, the adjusted batch count (one unit per 600 s of audio)."""
    for module in model.modules():
        if isinstance(module, ScheduledFloat):
            module.move_to(position)
