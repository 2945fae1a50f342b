"""The training loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from asr.checkpoint.folder import checkpoint_path, newest_good, prune
from asr.data import Batch
from asr.errors import DataError, RillError
from asr.nn.schedule import set_schedule_position
from asr.optim import Schedule, set_rate
from asr.training.config import TrainingConfig
from asr.training.interrupt import StopRequest
from asr.training.journal import Journal
from asr.training.meter import Meter
from asr.training.objective import Loss, TransducerObjective
from asr.training.randomness import seed_everything
from asr.training.snapshot import Snapshot

logger = logging.getLogger(__name__)

_CLOCK_PERIOD = 10  # steps between moves of the regularisation schedules, as published


class TrainingData(Protocol):
    """Batches in an order that follows from the seed and the epoch alone."""

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Batch]:
        """The batches of one pass, without the first `skip`."""
        ...


class Stopped(RillError):
    """Training stopped on request; its state is saved."""


class Trainer:
    """Runs steps until there have been enough, and keeps everything needed to go on after any stop.

    Args:
        config: how the run proceeds.
        objective: batch to loss; owns the model.
        snapshot: model, optimizer, average and position, in one.
        schedule: learning rate by step.
        data: training batches.
        run_dir: checkpoints and metrics go there.
        journal: where numbers go.
        regularisation_per_step: how far the schedules of dropout and the like move each step.
        validate: model to numbers, "wer" among them; None skips validation.
    """

    def __init__(
        self,
        *,
        config: TrainingConfig,
        objective: TransducerObjective,
        snapshot: Snapshot,
        schedule: Schedule,
        data: TrainingData,
        run_dir: Path,
        journal: Journal,
        regularisation_per_step: float,
        validate: Callable[[int], dict[str, Any]] | None = None,
    ):
        self.config, self.objective, self.snapshot = config, objective, snapshot
        self.schedule, self.data, self.journal = schedule, data, journal
        self.checkpoints = run_dir / "checkpoints"
        self.regularisation_per_step = regularisation_per_step
        self.validate = validate
        self.position = snapshot.position
        self.meter = Meter()
        self._resumed = False
        self._cpu_mark = time.process_time()

    def run(self) -> None:
        """Train to the end, resuming where an earlier run of the same folder stopped.

        Raises Stopped after Ctrl-C, DataError where there is nothing to train on, RillError where steps keep failing.
        """
        self.resume()
        if self._is_finished():
            self.journal.line(f"the run has its {self.position.step} steps; raise training.num_steps to go on")
            return
        self.journal.start(self.position.step)
        with StopRequest() as stop:
            while not self._is_finished():
                self._run_epoch(stop)
        self._validate()
        self._save()

    def _is_finished(self) -> bool:
        position, config = self.position, self.config
        all_epochs = config.num_epochs is not None and position.epoch >= config.num_epochs
        return position.step >= config.num_steps or all_epochs

    def resume(self) -> None:
        """Take over the newest good checkpoint, where there is one; only the first call does anything.

        Raises CheckpointError where it is of another model, tokenizer or seed.
        """
        found = None if self._resumed else newest_good(self.checkpoints)
        self._resumed = True
        if found is None:
            return
        self.snapshot.restore(found)
        self.journal.line(f"resuming from {found.path} at step {self.position.step}")

    def _run_epoch(self, stop: StopRequest) -> None:
        self._cpu_mark = time.process_time()
        batches = 0
        for batch in self.data.epoch(self.position.epoch, skip=self.position.consumed):
            batches += 1
            self.train_step(batch)
            self._after_step()
            if self.position.step >= self.config.num_steps:
                return
            if stop.requested:
                self._save()
                raise Stopped(f"stopped at step {self.position.step}; the same command goes on from there")
        if batches == 0 and self.position.consumed == 0:
            raise DataError("there is not one batch of training data; check data.folder and the duration limits")
        self.position.epoch += 1
        self.position.consumed = 0

    def train_step(self, batch: Batch) -> None:
        """Forward, backward, clip, step, log."""
        position = self.position
        position.step += 1
        position.consumed += 1
        seed_everything(self.config.seed, 0, position.step)
        self._move_clock(position.step)
        if not self.snapshot.model.training:  # a validation has been; walking all modules takes milliseconds
            self.objective.train()
        loss = self.objective(batch.features, batch.feature_lens, batch.tokens, batch.token_lens, step=position.step)
        if bool(torch.isfinite(loss.total)):
            self._descend(loss)
        else:
            self._skip(batch)
        position.utterances += len(batch.ids)
        position.audio_s += float(batch.feature_lens.sum()) / 100.0
        self.snapshot.average.update(self.snapshot.model.state_dict, position.step)
        self.meter.add(loss, batch)

    def _descend(self, loss: Loss) -> None:
        optimizer = self.snapshot.optimizer
        loss.total.backward()
        set_rate(optimizer, self.schedule.rate(self.position.step, self.position.epoch))
        before = optimizer.nonfinite_steps
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.meter.bad_in_a_row = self.meter.bad_in_a_row + 1 if optimizer.nonfinite_steps > before else 0
        self._give_up_if_hopeless()

    def _skip(self, batch: Batch) -> None:
        """A loss that is not finite makes no optimizer call."""
        self.position.bad_losses += 1
        self.meter.bad_in_a_row += 1
        logger.warning("step %d: the loss is not finite; skipped (%s)", self.position.step, ", ".join(batch.ids[:4]))
        self._give_up_if_hopeless()

    def _give_up_if_hopeless(self) -> None:
        if self.meter.bad_in_a_row >= self.config.max_bad_steps:
            raise RillError(
                f"{self.meter.bad_in_a_row} steps in a row had no finite loss or gradient, the last at step "
                f"{self.position.step}; lower optim.lr, or look at the batches named in the log"
            )

    def _move_clock(self, step: int) -> None:
        """Move the regularisation schedules; where they stand follows from the step, also right after a resume."""
        ticks = (step - 1) // _CLOCK_PERIOD * _CLOCK_PERIOD
        if (step - 1) % _CLOCK_PERIOD == 0 or self.meter.is_new:
            start = self.config.regularisation_start
            set_schedule_position(self.snapshot.model, start + ticks * self.regularisation_per_step)

    def _after_step(self) -> None:
        step, config = self.position.step, self.config
        now = time.process_time()
        self.position.cpu_s += now - self._cpu_mark
        self.journal.advance(step, self.meter.summary(self.snapshot.optimizer))
        if step % config.log_every == 0 or step == config.num_steps:
            numbers = self.meter.drain(self.snapshot.optimizer, self.position)
            self.journal.record("train", step, numbers)
        if step < config.num_steps:
            if step % config.checkpoint_every == 0:
                self._save()
            if config.validate_every and step % config.validate_every == 0:
                self._validate()
        self._cpu_mark = time.process_time()

    def _validate(self) -> None:
        if self.validate is None:
            return
        numbers = self.validate(self.position.step)
        self.journal.record("dev", self.position.step, numbers)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items() if isinstance(value, float))
        self.journal.line(f"step {self.position.step}: dev {shown}")

    def _save(self) -> None:
        self.snapshot.write(checkpoint_path(self.checkpoints, self.position.step))
        prune(self.checkpoints, keep_last=self.config.keep_checkpoints)
