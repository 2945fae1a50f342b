"""One optimizer step: forward, backward, clip, move."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch

from asr.data import Batch
from asr.nn.lora import plain_state
from asr.nn.schedule import set_schedule_position
from asr.optim import Schedule, set_rate
from asr.training.clock import RegularisationClock
from asr.training.config import TrainingConfig
from asr.training.guard import Trouble
from asr.training.meter import Meter
from asr.training.objective import Loss, TransducerObjective
from asr.training.precision import Precision
from asr.training.rescue import Rescue
from asr.training.sharding import exchange_rest, is_sharded
from asr.training.snapshot import Snapshot
from asr.training.world import unsynchronised


class Found(NamedTuple):
    """What the batches of a step on all processes came to."""

    trouble: Trouble | None
    per_frame: float
    """Loss per encoder frame."""
    frames: float
    utterances: int
    is_hopeless: bool = False
    """Whether steps have gone wrong for so long that something must be done."""


class Stepper:
    """Takes steps, and moves everything that a snapshot holds with them.

    Args:
        config: how the run proceeds.
        objective: batch to loss; owns the model.
        snapshot: model, optimizer, average and position, in one.
        schedule: learning rate by step.
        clock: where the schedules of dropout and the like stand.
        rescue: is told of what goes wrong.
    """

    def __init__(
        self,
        config: TrainingConfig,
        objective: TransducerObjective,
        snapshot: Snapshot,
        schedule: Schedule,
        clock: RegularisationClock,
        rescue: Rescue,
    ):
        self.config, self.objective, self.snapshot, self.schedule = config, objective, snapshot, schedule
        self.clock, self.rescue = clock, rescue
        self.world, self.position = snapshot.world, snapshot.position
        self.parallel = self.world.parallel(objective)
        self._is_sharded = is_sharded(objective)
        self.meter = Meter()
        self._batches: Sequence[Batch] = ()
        self._schedules_at: float | None = None
        snapshot.optimizer.on_nonfinite = lambda: rescue.report(Trouble.GRADIENT, self._batches)

    def step(self, batches: Sequence[Batch]) -> Found:
        """Learn from this process' batches of a step."""
        position, snapshot = self.position, self.snapshot
        position.step += 1
        position.consumed += len(batches)
        snapshot.dev_wer = None  # the model moves
        self._batches = batches
        self._move_clock(position.step)
        if not snapshot.model.training:  # a validation has been; walking all modules takes milliseconds
            self.objective.train()
        found = self._accumulate(batches)
        trouble = self._descend(found.trouble)
        snapshot.regularisers.end_step()
        position.utterances += found.utterances
        position.audio_s += found.frames / 25.0
        snapshot.average.update(lambda: plain_state(snapshot.model), position.step)
        if snapshot.ema is not None:
            snapshot.ema.update()
        return found._replace(trouble=trouble, is_hopeless=snapshot.guard.note(trouble, found.per_frame))

    def _accumulate(self, batches: Sequence[Batch]) -> Found:
        """Add up gradients. Where a backward exchanges them, all processes first agree whether to do it: the last one
        does, or, of a model in shares, each."""
        bad, total, frames, utterances = 0.0, 0.0, 0.0, 0.0
        for number, batch in enumerate(batches):
            is_last = number == len(batches) - 1
            with nullcontext() if is_last else unsynchronised(self.parallel):
                loss = self._forward(number, batch)
                bad += not bool(torch.isfinite(loss.total))
                self.meter.add(loss, batch)
                if batch.counts:
                    total += loss.total.item()
                    frames += float(batch.feature_lens.sum()) / 4
                    utterances += len(batch.ids)
                if is_last:
                    bad, total, frames, utterances = self.world.total([bad, total, frames, utterances])
                elif self._is_sharded:
                    bad = float(self.world.any(bad > 0))
                if not bad:
                    self._backward(loss, batch)
            if batch.counts:
                self.snapshot.regularisers.leave(number)
        per_frame = total / max(frames, 1.0)
        return Found(self.snapshot.guard.judge(not bad, per_frame), per_frame, frames, round(utterances))

    def _forward(self, number: int, batch: Batch) -> Loss:
        self.snapshot.regularisers.enter(number)
        moment = self.rescue.moment(number)
        moment.seed_all()
        there = batch.to(self.world.device)
        with moment.precision.autocast(self.world.device):
            return self.parallel(*there[:4], step=self.position.step)

    def _backward(self, loss: Loss, batch: Batch) -> None:
        """A step's gradient is the mean over its batches, on all processes; one that does not count adds nothing."""
        scale = self.snapshot.scale / self.config.accumulate if batch.counts else 0.0
        (loss.total if scale == 1.0 else loss.total * scale).backward()

    def _descend(self, trouble: Trouble | None) -> Trouble | None:
        """Move the parameters, unless the loss is not finite; returns what is wrong with the step altogether."""
        optimizer, guard = self.snapshot.optimizer, self.snapshot.guard
        if trouble is not None:
            self.rescue.report(trouble, self._batches)
        if trouble is Trouble.LOSS:
            self.position.bad_losses += 1
        else:
            if self._is_sharded:
                exchange_rest(self.objective, self.world.size)
            self._unscale()
            rate = self.schedule.rate(self.position.step, self.position.epoch)
            set_rate(optimizer, rate * guard.state.rate_factor)
            before = optimizer.nonfinite_steps
            optimizer.step()
            if optimizer.nonfinite_steps > before:
                trouble = Trouble.GRADIENT
        if guard.state.precision is Precision.FP16:
            index = (self.position.consumed - 1) // self.config.accumulate
            self.snapshot.loss_scale.update(trouble not in (Trouble.LOSS, Trouble.GRADIENT), index)
        optimizer.zero_grad(set_to_none=True)
        return trouble

    def _unscale(self) -> None:
        if self.snapshot.scale == 1.0:
            return
        groups = self.snapshot.optimizer.param_groups
        self.snapshot.loss_scale.unscale(parameter.grad for group in groups for parameter in group["params"])

    def _move_clock(self, step: int) -> None:
        """Move the regularisation schedules where they are not; walking all modules takes milliseconds."""
        position = self.clock.at(step)
        if position != self._schedules_at:
            set_schedule_position(self.snapshot.model, position)
            self._schedules_at = position
