"""A run's whole state, to a checkpoint and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from asr.checkpoint.average import ExponentialAverage, RunningAverage
from asr.checkpoint.folder import Found
from asr.checkpoint.format import Checkpoint, with_prefix, write_checkpoint
from asr.checkpoint.model import KIND
from asr.errors import CheckpointError
from asr.models.transducer import Transducer, copy_weights, model_config_from_dict, model_config_to_dict
from asr.nn.lora import changes, load_changed, plain_state
from asr.optim import ScaledAdam
from asr.training.arrangement import Arrangement
from asr.training.guard import Guard
from asr.training.position import Position
from asr.training.precision import LossScale, Precision
from asr.training.regularisers import RegulariserMemory
from asr.training.sharding import gathered
from asr.training.world import World


@dataclass(kw_only=True)
class Snapshot:
    """The parts of a run that change while it trains, and what describes its model.

    There are no random states among them: every step seeds its own (`randomness`).
    """

    model: Transducer
    optimizer: ScaledAdam
    average: RunningAverage
    ema: ExponentialAverage | None = None
    regularisers: RegulariserMemory
    guard: Guard
    loss_scale: LossScale
    position: Position
    tokenizer: dict[str, Any]
    """State of the tokenizer, as plain data."""
    origin: dict[str, Any]
    """Name of the run, its corpus' folder and splits: defaults for commands that use the model."""
    seeds: dict[str, int]
    """Seeds by the name of their setting; a run keeps them."""
    arrangement: Arrangement
    """What decides which batches a step sees."""
    world: World = World()
    dev_wer: float | None = None
    """Error rate on the dev set of the model as it is; None: not measured since it moved."""

    @property
    def scale(self) -> float:
        """What the loss is multiplied by before backward: only float16 needs it, whatever an earlier start has left."""
        return self.loss_scale.value if self.guard.state.precision is Precision.FP16 else 1.0

    def write(self, path: Path) -> None:
        """Write everything to one file, whole or not at all; every process must call this, the first one writes.

        Raises CheckpointError where it cannot be written.
        """
        regularisers = self.regularisers.to_state(self.world)
        optimizer_tensors, optimizer_scalars = self.optimizer.state_tensors()
        parts: dict[str, Mapping[str, Tensor]] = {
            "model": plain_state(self.model),
            "changes": changes(self.model),
            "average": self.average.tensors,
            "optimizer": optimizer_tensors,
            "ema": self.ema.tensors if self.ema else {},
        }
        whole = [with_prefix(name, gathered(part, keep=self.world.is_first)) for name, part in parts.items()]
        if not self.world.is_first:
            return
        tensors = {name: tensor for part in whole for name, tensor in part.items()}
        training = {
            **self.position.to_dict(),
            "average_period": self.average.period,
            "optimizer": optimizer_scalars,
            "whiten": regularisers,
            "guard": self.guard.to_state(),
            "loss_scale": self.loss_scale.to_state(),
            "seeds": self.seeds,
            "arrangement": self.arrangement.to_dict(),
            "dev_wer": self.dev_wer,
        }
        write_checkpoint(path, tensors, {**self.describe(), "training": training})

    def describe(self) -> dict[str, Any]:
        """What anyone needs in order to use the model: its shape and its tokenizer."""
        config = model_config_to_dict(self.model.config)
        return {"kind": KIND, "config": config, "tokenizer": self.tokenizer, "origin": self.origin}

    def restore(self, found: Found, *, approximately: bool = False) -> None:
        """Continue from a checkpoint.

        Args:
            approximately: whether settings that decide which batches a step sees may have changed.
        Raises:
            CheckpointError: it is of another model, tokenizer or seed, or such settings have changed and may not.
        """
        path, checkpoint = found
        training = checkpoint.metadata.get("training")
        if not training or "optimizer" not in training:
            raise CheckpointError(f"{path} holds a model but no training state; start a new run from it instead")
        self._check_same(path, checkpoint, training)
        before = Arrangement.from_dict(training.get("arrangement", {}), self.arrangement)
        if not approximately:
            before.check_same(self.arrangement, path)
        if changed := checkpoint.part("changes"):
            load_changed(self.model, checkpoint.part("model"), changed)
        else:
            copy_weights(self.model, checkpoint.part("model"))
        self.average.load(checkpoint.part("average"))
        if self.ema is not None:
            self.ema.load(checkpoint.part("ema") or checkpoint.part("model"))
        self.optimizer.load_state_tensors(checkpoint.part("optimizer"), training["optimizer"])
        self.regularisers.load_state(training["whiten"], self.world)
        if "guard" in training:
            self.guard.load_state(training["guard"])
            self.loss_scale.load_state(training["loss_scale"])
        self.dev_wer = training.get("dev_wer")
        self.position.load(training)
        self.position.consumed = self.arrangement.consumed_like(before, self.position.consumed)

    def _check_same(self, path: Path, checkpoint: Checkpoint, training: dict[str, Any]) -> None:
        before = checkpoint.metadata
        same = {
            "model": model_config_from_dict(before.get("config", {})) == self.model.config,
            "tokenizer": before.get("tokenizer") == self.tokenizer,
            "finetune.lora": _shapes(checkpoint.part("changes")) == _shapes(changes(self.model)),
        }
        for what, agrees in same.items():
            if not agrees:
                raise CheckpointError(
                    f"{path} was made with another {what}; "
                    "resume with the settings of its run, or give this run another name"
                )
        for name, seed in self.seeds.items():
            if (before := training.get("seeds", {}).get(name, seed)) != seed:
                raise CheckpointError(f"{path} was trained with {name}={before}, not {seed}; a run keeps its seeds")


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
