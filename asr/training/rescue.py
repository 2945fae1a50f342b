"""What is done about steps that go wrong: the batch is kept, the cause named, the last good state taken up again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from asr.checkpoint.folder import list_checkpoints, newest_good, step_of
from asr.checkpoint.format import read_metadata
from asr.data import Batch
from asr.errors import CheckpointError, RillError
from asr.nn.schedule import set_schedule_position
from asr.nn.whiten import load_whiten_probabilities
from asr.training.clock import RegularisationClock
from asr.training.config import TrainingConfig
from asr.training.evidence import write_evidence
from asr.training.examine import Examination, Moment, examine
from asr.training.guard import GuardState, Trouble
from asr.training.objective import TransducerObjective
from asr.training.precision import LossScale
from asr.training.sharding import is_sharded, whole_model
from asr.training.snapshot import Snapshot

logger = logging.getLogger(__name__)

_CONSEQUENCES = {
    Trouble.LOSS: "skipped",
    Trouble.GRADIENT: "all gradients count as zero",
    Trouble.EXPLOSION: "only counted",
}


class Rescue:
    """Stands by while a run trains.

    Args:
        objective: batch to loss.
        snapshot: the run's state.
        run_dir: batches of bad steps are kept in its folder `trouble`.
        config: the run's settings.
        clock: where the regularisation schedules stand.
    """

    def __init__(
        self,
        objective: TransducerObjective,
        snapshot: Snapshot,
        run_dir: Path,
        config: TrainingConfig,
        clock: RegularisationClock,
    ):
        self.objective, self.snapshot, self.config, self.clock = objective, snapshot, config, clock
        self.world, self.guard = snapshot.world, snapshot.guard
        self.folder, self.checkpoints = run_dir / "trouble", run_dir / "checkpoints"
        self._last: Trouble | None = None

    def moment(self, number: int) -> Moment:
        """Where the run stands, for batch `number` of this process' step."""
        slot = number * self.world.size + self.world.rank
        precision, scale = self.guard.state.precision, self.snapshot.scale
        return Moment(self.snapshot.position.step, self.config.seed, slot, precision, scale)

    def report(self, trouble: Trouble, batches: Sequence[Batch]) -> None:
        """Say that a step has gone wrong, before it has moved anything, and keep its batches."""
        self._last = trouble
        if trouble is Trouble.GRADIENT and self.snapshot.scale > 1.0:
            return  # float16 overflowed, which a smaller loss scale cures
        names = ", ".join(name for batch in batches for name in batch.ids[:4])
        step = self.snapshot.position.step
        logger.warning("step %d: %s; %s (%s)", step, trouble.value, _CONSEQUENCES[trouble], names)
        objective = self._whole_objective()
        for number, batch in enumerate(batches):
            if len(list(self.folder.glob("*.safetensors"))) < self.config.guard.keep_batches:
                self._keep(number, batch, trouble, objective)

    def _whole_objective(self) -> TransducerObjective:
        """The objective, or of a model in shares a copy that this process has all of."""
        if not is_sharded(self.objective):
            return self.objective
        model = whole_model(self.objective.model)
        set_schedule_position(model, self.clock.at(self.snapshot.position.step))
        load_whiten_probabilities(model, self.snapshot.regularisers.named(0))
        return TransducerObjective(model, self.objective.config, self.objective.consistency)

    def _keep(self, number: int, batch: Batch, trouble: Trouble, objective: TransducerObjective) -> None:
        moment = self.moment(number)
        path = self.folder / f"step-{moment.step:06d}-{moment.slot}.safetensors"
        try:
            write_evidence(
                path,
                batch,
                moment,
                trouble,
                objective=objective,
                description=self.snapshot.describe(),
                whiten=self.snapshot.regularisers.named(number),
                clock=self.clock.at(moment.step),
            )
        except (CheckpointError, OSError) as error:
            logger.warning("%s", error)  # no reason to end a run

    def fall_back(self, batches: Sequence[Batch]) -> str:
        """Take up the last good state again, with a lower rate or a safer precision.

        Returns:
            What was done, in words.
        Raises:
            RillError: all that has been tried before; says what is wrong with the batches.
        """
        state = self.guard.state
        trouble = f"{state.in_a_row} steps in a row went wrong, the last at step {self.snapshot.position.step}"
        if self._last is not None:
            trouble += f" ({self._last.value})"
        if self.guard.is_at_its_end:
            tried = f"{state.fallbacks} fallbacks to a lower rate or float32 did not help; " if state.fallbacks else ""
            raise RillError(
                f"{trouble}; {self.diagnosis(batches)}; {tried}lower optim.lr, or look at what "
                f"`asr train debug-batch` says of the files in {self.folder}"
            )
        eased = self.guard.eased()
        found = newest_good(self.checkpoints, wanted=_is_calm)
        remedy = f"{eased.precision.value} and {eased.rate_factor:g} times the learning rate"
        if found is None:
            self._ease(eased)
            return f"{trouble}; going on with {remedy}"
        self.snapshot.restore(found, approximately=True)
        eased.recent = self.guard.state.recent
        self._ease(eased)
        self._forget_after(step_of(found.path))
        return f"{trouble}; back to step {self.snapshot.position.step}, from there with {remedy}"

    def _ease(self, state: GuardState) -> None:
        """Go on in float32, which needs no loss scale."""
        self.guard.state = state
        self.snapshot.loss_scale = LossScale()

    def _forget_after(self, step: int) -> None:
        """Delete checkpoints of the way that is not gone any further, or a resumed run would take them up."""
        self.world.wait()
        if self.world.is_first:
            for path in list_checkpoints(self.checkpoints):
                if step_of(path) > step:
                    path.unlink()

    def diagnosis(self, batches: Sequence[Batch]) -> str:
        """What is wrong with the last step, in words."""
        objective = self._whole_objective()
        found = [examine(objective, batch, self.moment(number)) for number, batch in enumerate(batches)]
        self.snapshot.regularisers.enter(0)
        return max(found, key=_badness).diagnosis()


def _is_calm(path: Path) -> bool:
    """Whether a checkpoint was written while all was well."""
    try:
        return not read_metadata(path)["training"].get("guard", {}).get("in_a_row", 0)
    except (CheckpointError, KeyError):
        return False


def _badness(found: Examination) -> tuple[bool, bool, float]:
    return bool(found.bad_cuts or found.first_bad_output), bool(found.bad_gradients), found.per_frame
