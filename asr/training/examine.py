"""Why a step goes wrong: one batch once more, with eyes on every module and every gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from asr.data import Batch
from asr.training.objective import TransducerObjective
from asr.training.precision import Precision
from asr.training.randomness import seed_everything


class Moment(NamedTuple):
    """Where in a run a batch was met: everything besides weights that its loss depends on."""

    step: int
    seed: int
    slot: int
    """Which of the step's batches it is, over all processes."""
    precision: Precision
    loss_scale: float = 1.0

    def seed_all(self) -> None:
        """Seed every generator as the step did."""
        seed_everything(self.seed, self.slot, self.step)


class Size(NamedTuple):
    """One module's output, or one parameter's gradient."""

    name: str
    largest: float
    """Largest absolute value; infinite or not a number where any value is."""
    rms: float
    is_finite: bool


class Examination(NamedTuple):
    """What one batch does."""

    loss: float
    per_frame: float
    parts: dict[str, float]
    bad_cuts: list[str]
    """Utterances whose features are not finite."""
    outputs: list[Size]
    """Of every module, in the order in which they ran."""
    gradients: list[Size]
    """Of every parameter that got one, in the order in which backward reached them."""

    @property
    def first_bad_output(self) -> str | None:
        """The module whose output was the first that is not finite."""
        return next((size.name for size in self.outputs if not size.is_finite), None)

    @property
    def bad_gradients(self) -> list[str]:
        """Parameters whose gradient is not finite, as backward reached them."""
        return [size.name for size in self.gradients if not size.is_finite]

    def diagnosis(self) -> str:
        """The cause in a few words."""
        if self.bad_cuts:
            return f"the features of {', '.join(self.bad_cuts[:3])} are not finite"
        if module := self.first_bad_output:
            return f"the first module whose output is not finite is {module}"
        if not math.isfinite(self.loss):
            return "every module's output is finite but the loss is not"
        if names := self.bad_gradients:
            return f"the first parameter whose gradient is not finite is {names[0]}, one of {len(names)}"
        output = max(self.outputs, key=lambda size: size.largest)
        gradient = max(self.gradients, key=lambda size: size.largest)
        return (
            f"the loss is {self.per_frame:.3g} per frame, the largest output {output.largest:.3g} in {output.name}, "
            f"the largest gradient {gradient.largest:.3g} in {gradient.name}"
        )


def examine(objective: TransducerObjective, batch: Batch, moment: Moment) -> Examination:
    """Forward and backward once more, drawing what the step drew; parameters and gradients are left alone."""
    outputs: list[Size] = []
    gradients: list[Size] = []
    device = next(objective.parameters()).device
    there = batch.to(device)
    moment.seed_all()
    objective.train()
    with _watched(objective.model, outputs, gradients):
        with moment.precision.autocast(device):
            loss = objective(*there[:4], step=moment.step)
        if loss.total.requires_grad:
            wanted = [parameter for parameter in objective.parameters() if parameter.requires_grad]
            torch.autograd.grad(loss.total * moment.loss_scale, wanted, allow_unused=True)
    total, frames = loss.total.item(), max(float(batch.feature_lens.sum()) / 4, 1.0)
    return Examination(
        loss=total,
        per_frame=total / frames,
        parts={name: float(value) for name, value in loss.parts.items()},
        bad_cuts=[name for name, row in zip(batch.ids, batch.features) if not bool(row.isfinite().all())],
        outputs=outputs,
        gradients=gradients,
    )


@contextmanager
def _watched(model: nn.Module, outputs: list[Size], gradients: list[Size]) -> Iterator[None]:
    """Inside, every module and every parameter's gradient leaves a line."""
    handles: list[Any] = []

    def see_output(name: str) -> Any:
        return lambda module, args, output: outputs.extend(_size(name, leaf) for leaf in _floats(output))

    def see_gradient(name: str) -> Any:
        return lambda gradient: gradients.append(_size(name, gradient))

    for name, module in model.named_modules():
        handles.append(module.register_forward_hook(see_output(name or "model")))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            handles.append(parameter.register_hook(see_gradient(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _floats(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        if tree.is_floating_point() and tree.numel():
            yield tree
    elif isinstance(tree, (tuple, list)):
        for branch in tree:
            yield from _floats(branch)


def _size(name: str, values: Tensor) -> Size:
    values = values.detach().float()
    largest = values.abs().max().item()
    return Size(name, largest, values.square().mean().sqrt().item(), math.isfinite(largest))
