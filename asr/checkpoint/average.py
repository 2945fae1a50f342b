"""Averages of models over training time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr.checkpoint.format import read_checkpoint
from asr.errors import CheckpointError
from asr.tensors import share, shared_like


class RunningAverage:
    """The mean of a model's floating-point tensors from the first step on, in float64.

    Args:
        state: the model's state dict at the start; entries without floating point are not averaged.
        period: steps between updates.
    Attributes:
        tensors: the mean, by name, float64.
    """

    def __init__(self, state: Mapping[str, Tensor], *, period: int = 200) -> None:
        self.period = period
        self.tensors = {
            name: value.detach().to(torch.float64, copy=True)
            for name, value in state.items()
            if value.is_floating_point()
        }

    @torch.no_grad()
    def update(self, state_dict: Callable[[], Mapping[str, Tensor]], step: int) -> bool:
        """Take in the model after `step` steps (counted from 1), if a period ends there; its share is period / step.

        Args:
            state_dict: the model's; called when it is needed, for it takes milliseconds to make.
        Returns:
            Whether the average moved.
        """
        if step < 1 or step % self.period:
            return False
        weight, state = self.period / step, state_dict()
        for name, mean in self.tensors.items():
            ours, theirs = share(mean), share(state[name].detach())
            ours.mul_(1 - weight).add_(theirs.to(ours), alpha=weight)
        return True

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from saved `tensors`.

        Raises:
            CheckpointError: names or shapes differ.
        """
        odd = sorted(set(tensors) ^ set(self.tensors))
        if odd:
            raise CheckpointError(
                f"the saved average is of another model (such as {odd[0]}); resume with its own model"
            )
        for name, mean in self.tensors.items():
            if tensors[name].shape != mean.shape:
                raise CheckpointError(f"the saved average of {name} has another shape; resume with its own model")
            mean.copy_(shared_like(tensors[name], mean))


class ExponentialAverage:
    """An average of a model's parameters that forgets: θ̄ ← d·θ̄ + (1 − d)·θ after every step, from the start at θ.

    Args:
        model: whose floating-point tensors are averaged; they must stay the same tensors.
        decay: d, in (0, 1).
    Attributes:
        tensors: the average, by name, of the model's types.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        state = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
        self._model = [share(value.detach()) for value in state.values()]
        self.tensors = {name: value.detach().clone() for name, value in state.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model as it is."""
        averages = [share(tensor) for tensor in self.tensors.values()]
        torch._foreach_mul_(averages, self.decay)
        torch._foreach_add_(averages, self._model, alpha=1 - self.decay)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from saved `tensors`, or start from a model's; raises CheckpointError where they do not fit."""
        for name, mean in self.tensors.items():
            if name not in tensors or tensors[name].shape != mean.shape:
                raise CheckpointError(f"the saved average has no fitting {name}; resume with its own model")
            mean.copy_(shared_like(tensors[name], mean))


def interval_average(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], *, start_step: int, end_step: int, period: int
) -> dict[str, Tensor]:
    """The mean between two moments, from the running means at both: θ = W·end + (1 − W)·start, W = e / (e − s).

    Args:
        start: running mean when `start_step` steps had been taken; what it holds is excluded.
        end: running mean when `end_step` steps had been taken.
        start_step: s, floored to a multiple of `period` (the mean moves only there).
        end_step: e, likewise.
        period: steps between updates of the running mean.
    Returns:
        float64 tensors by name.
    Raises:
        CheckpointError: nothing lies between the two, or they are of different models.
    """
    first, last = start_step // period * period, end_step // period * period
    if first >= last:
        raise CheckpointError(
            f"steps {start_step} to {end_step} hold no update of the running average (one every {period} steps); "
            "take checkpoints further apart"
        )
    _check_alike(start, end, "the two checkpoints")
    weight = last / (last - first)
    return {name: value.double() * weight + start[name].double() * (1 - weight) for name, value in end.items()}


def average_interval(start_path: Path, end_path: Path) -> dict[str, Tensor]:
    """The model averaged over the steps between two checkpoint files.

    Reads `average/` of both and `training.step` and `training.average_period` of their metadata; types, and entries
    that have no average, are those of the later file's `model/`.

    Raises:
        CheckpointError: a file is bad, lacks an average, or nothing lies between them.
    """
    start, end = read_checkpoint(start_path, parts=("average",)), read_checkpoint(end_path, parts=("average", "model"))
    for path, one in ((start_path, start), (end_path, end)):
        if not one.part("average"):
            raise CheckpointError(f"checkpoint {path} holds no running average; use a plain mean of files")
    mean = interval_average(
        start.part("average"),
        end.part("average"),
        start_step=_training(start.metadata, "step", start_path),
        end_step=_training(end.metadata, "step", end_path),
        period=_training(end.metadata, "average_period", end_path),
    )
    model = end.part("model")
    return {name: mean[name].to(value.dtype) if name in mean else value for name, value in model.items()}


def mean_of_checkpoints(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The plain mean of the `model/` tensors of several files; whole numbers are divided with the rest dropped.

    Raises:
        CheckpointError: no file is given, one is bad, or they are of different models.
    """
    if not paths:
        raise CheckpointError("there are no checkpoints to average; give at least one")
    first = read_checkpoint(paths[0], parts=("model",)).part("model")
    total = {name: _wide(value) for name, value in first.items()}
    for path in paths[1:]:
        model = read_checkpoint(path, parts=("model",)).part("model")
        _check_alike(first, model, f"{paths[0]} and {path}")
        for name, value in model.items():
            total[name] += _wide(value)
    return {name: _divide(value, len(paths)).to(first[name].dtype) for name, value in total.items()}


def _wide(value: Tensor) -> Tensor:
    return value.to(torch.float64 if value.is_floating_point() else torch.int64)


def _divide(total: Tensor, count: int) -> Tensor:
    return total / count if total.is_floating_point() else torch.div(total, count, rounding_mode="floor")


def _check_alike(left: Mapping[str, Tensor], right: Mapping[str, Tensor], what: str) -> None:
    odd = sorted(set(left) ^ set(right)) or [name for name in left if left[name].shape != right[name].shape]
    if odd:
        raise CheckpointError(f"{what} are of different models (they differ in {odd[0]}); average within one training")


def _training(metadata: Mapping[str, Any], key: str, path: Path) -> int:
    value = metadata.get("training", {}).get(key)
    if not isinstance(value, int):
        raise CheckpointError(f"checkpoint {path} does not say its training.{key}; use a plain mean of files")
    return value
