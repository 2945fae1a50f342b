"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from asr.checkpoint.folder import belongs_to_best, best_checkpoints, checkpoint_path, newest_good, prune
from asr.data import Batch
from asr.errors import DataError, RillError
from asr.training.config import TrainingConfig
from asr.training.interrupt import StopRequest
from asr.training.journal import Journal, QuietJournal
from asr.training.rescue import Rescue
from asr.training.stepper import Stepper

logger = logging.getLogger(__name__)


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
        stepper: takes the steps.
        rescue: helps when they go wrong.
        data: training batches of this process.
        run_dir: checkpoints go to its folder `checkpoints`.
        journal: where numbers go.
        validate: step to numbers, "wer" among them; None skips validation.
        validate_first: whether to do so before the first step, too: the model knows something already.
    """

    def __init__(
        self,
        *,
        config: TrainingConfig,
        stepper: Stepper,
        rescue: Rescue,
        data: TrainingData,
        run_dir: Path,
        journal: Journal | QuietJournal,
        validate: Callable[[int], dict[str, Any]] | None = None,
        validate_first: bool = False,
    ):
        self.config, self.stepper, self.rescue = config, stepper, rescue
        self.data, self.journal, self.validate, self.validate_first = data, journal, validate, validate_first
        self.snapshot, self.objective = stepper.snapshot, stepper.objective
        self.world, self.position = self.snapshot.world, self.snapshot.position
        self.checkpoints = run_dir / "checkpoints"
        self._resumed = False
        self._marks = time.process_time(), time.monotonic()

    def run(self) -> None:
        """Train to the end, resuming where an earlier run of the same folder stopped.

        Raises Stopped after Ctrl-C, DataError where there is nothing to train on, RillError where steps keep failing.
        """
        with self.world.blame():
            self.resume()
            if self._is_finished():
                self.journal.line(f"the run has its {self.position.step} steps; raise training.num_steps to go on")
                return
            if self.position.step == 0:
                # What trouble early on falls back to; and a disk that cannot be written to shows at once.
                if self.validate_first:
                    self._validate()
                self._save()
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

    def _num_steps(self) -> int | None:
        """Of the whole run: where epochs are counted, as if those to come were like those before; None: none was."""
        position, config = self.position, self.config
        if config.num_epochs is None:
            return config.num_steps
        if position.epoch == 0:
            return None
        before = position.step - math.ceil(position.consumed / config.accumulate)  # steps of epochs that are over
        return min(round(before / position.epoch * config.num_epochs), config.num_steps)

    def resume(self) -> None:
        """Take over the newest good checkpoint, where there is one; only the first call does anything.

        Raises CheckpointError where it is of another model, tokenizer or seed, or of other batches.
        """
        if self._resumed:
            return
        self._resumed = True
        found = newest_good(self.checkpoints)
        self.world.wait()  # or one process might find what another already writes
        if found is not None:
            self.snapshot.restore(found, approximately=self.config.resume_approximately)
            self.journal.line(f"resuming from {found.path} at step {self.position.step}")

    def _run_epoch(self, stop: StopRequest) -> None:
        self._marks = time.process_time(), time.monotonic()
        self.journal.begin_epoch(self.position.epoch, self._num_steps())
        steps = 0
        for batches in _steps(
            self.data.epoch(self.position.epoch, skip=self.position.consumed), self.config.accumulate
        ):
            steps += 1
            calm = self.position.step - self.snapshot.guard.state.in_a_row
            if self.stepper.step(batches).is_hopeless:
                self._fall_back(batches)
                return
            self._after_step(calm)
            if self.position.step >= self.config.num_steps:
                return
            if self.world.any(stop.requested):
                self._save()
                raise Stopped(f"stopped at step {self.position.step}; the same command goes on from there")
        if steps == 0 and self.position.consumed == 0:
            raise DataError("there is not one batch of training data; check data.folder and the duration limits")
        self.position.epoch += 1
        self.position.consumed = 0
        self._after_epoch()

    def _fall_back(self, batches: Sequence[Batch]) -> None:
        """Repeated trouble: take up the last good state, or give up with the reason."""
        logger.warning("%s", self.rescue.fall_back(batches))

    def _after_step(self, calm: int) -> None:
        """Log, validate and save what is due; `calm` is the last step before this one that was free of trouble."""
        step, config = self.position.step, self.config
        self._mark()
        self.journal.advance(step, self.stepper.meter.summary(self.snapshot.optimizer))
        if step % config.log_every == 0 or step == config.num_steps:
            numbers = self.stepper.meter.drain(self.snapshot)
            self.journal.record("train", step, numbers)
        if step < config.num_steps:
            is_due = bool(config.validate_every) and step % config.validate_every == 0
            if is_due:
                self._validate()
            # In the middle of trouble there is nothing worth keeping, and the checkpoint before shall not be pushed
            # out; what falls due meanwhile is saved once the trouble is over.
            is_calm = not self.snapshot.guard.state.in_a_row
            is_time = step // config.checkpoint_every > calm // config.checkpoint_every
            if is_calm and (is_time or (is_due and self._belongs_to_best())):
                self._save()
        self._marks = time.process_time(), time.monotonic()

    def _after_epoch(self) -> None:
        """Save the end of a pass where such are kept; the end of the run is saved in any case.

        In the middle of trouble it is left out: later it would be the end of an epoch no more.
        """
        if not self.config.keep_epochs or self._is_finished():
            return
        if self.snapshot.guard.state.in_a_row:
            self.journal.line(f"warning: epoch {self.position.epoch} ends in the middle of trouble and is not kept")
            return
        # Where a checkpoint fell due at this very step, this one takes its place, error rate and all.
        self._save()

    def _mark(self) -> None:
        """Add the time since the last mark to what training has taken."""
        now = time.process_time(), time.monotonic()
        self.position.cpu_s += now[0] - self._marks[0]
        self.position.wall_s += now[1] - self._marks[1]
        self._marks = now

    def _validate(self) -> None:
        """Recognise the dev set, and remember its error rate until the model moves."""
        if self.validate is None:
            return
        numbers = {**self.validate(self.position.step), **self._cost()}
        self.journal.record("dev", self.position.step, numbers)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items() if isinstance(value, float))
        self.journal.line(f"step {self.position.step}: dev {shown}")
        self.snapshot.dev_wer = numbers["wer"]

    def _cost(self) -> dict[str, float]:
        """What it took to get here: time to accuracy is these against the error rate."""
        position = self.position
        return {"hours": position.audio_s / 3600, "cpu_s": position.cpu_s, "wall_s": position.wall_s}

    def _belongs_to_best(self) -> bool:
        wer = self.snapshot.dev_wer
        if wer is None:
            return False
        is_one = self.world.is_first and belongs_to_best(self.checkpoints, wer, self.config.keep_best)
        return self.world.any(is_one)

    def _save(self) -> None:
        self.snapshot.write(checkpoint_path(self.checkpoints, self.position.step))
        if self.world.is_first:
            best = best_checkpoints(self.checkpoints, self.config.keep_best)
            keep_last, keep_epochs = self.config.keep_checkpoints, self.config.keep_epochs
            newest = self.position.step
            prune(self.checkpoints, keep_last=keep_last, keep_epochs=keep_epochs, keep=best, newest=newest)


def _steps(batches: Iterator[Batch], accumulate: int) -> Iterator[list[Batch]]:
    """Batches in groups of a step; the last of an epoch may have fewer."""
    while group := list(islice(batches, accumulate)):
        yield group
