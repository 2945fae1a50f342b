"""Faults put into a trainer of this process, and what it says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from asr.data import Batch
from asr.training.objective import Loss
from asr.training.trainer import Trainer


def spoil_losses(trainer: Trainer, steps: set[int], value: float, *, times: int = 1000) -> None:
    """Add `value` to the loss of some steps, `times` altogether, with gradients as they were."""
    change_losses(trainer, steps, lambda total: total + value, times=times)


def change_losses(
    trainer: Trainer, steps: set[int], change: Callable[[torch.Tensor], torch.Tensor], *, times: int = 1000
) -> None:
    original, left = trainer.objective.forward, [times]

    def forward(*args: Any, step: int, **kwargs: Any) -> Loss:
        loss = original(*args, step=step, **kwargs)
        if step not in steps or left[0] == 0:
            return loss
        left[0] -= 1
        return loss._replace(total=change(loss.total))

    trainer.objective.forward = forward  # type: ignore[method-assign]


def spoil_gradients(trainer: Trainer, steps: set[int]) -> None:
    """Make one gradient of some steps infinite, with a loss that is finite."""
    bias = trainer.snapshot.model.joiner.output_linear.bias
    bias.register_hook(lambda grad: grad * (torch.inf if trainer.position.step in steps else 1.0))


def spoil_batches(trainer: Trainer, numbers: set[int], change: Callable[[Batch], None]) -> None:
    """Change some of the batches that are read, counted from 1, in place."""
    original, read = trainer.data.epoch, [0]

    def epoch(*args: Any, **kwargs: Any) -> Iterator[Batch]:
        for batch in original(*args, **kwargs):
            read[0] += 1
            if read[0] in numbers:
                change(batch)
            yield batch

    trainer.data.epoch = epoch  # type: ignore[method-assign]


def metrics(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
