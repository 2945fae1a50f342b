"""A run that dies, wherever it dies, ends as if it had not."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest
import torch

from asr.checkpoint.folder import checkpoint_path, epoch_ended, list_checkpoints, step_of
from asr.checkpoint.format import Checkpoint, read_checkpoint, read_metadata
from asr.nn.whiten import Whiten
from asr.training.memory import made_up
from asr.training.regularisers import RegulariserMemory
from asr.training.world import World
from tests.training import troubles
from tests.training.child import asr
from tests.training.tiny import overrides

NUM_STEPS = 14  # over three epochs of the tiny corpus
RHYTHM = [
    f"training.num_steps={NUM_STEPS}",
    "training.checkpoint_every=4",
    "training.validate_every=6",
    "training.average_period=3",
    "training.keep_checkpoints=3",
    "training.log_every=1",
]


def command(corpus: Path, run_dir: Path, *more: str) -> list[str]:
    return ["train", *overrides(corpus, run_dir, *RHYTHM, *more)]


def final(run_dir: Path) -> Checkpoint:
    newest = list_checkpoints(run_dir / "checkpoints")[-1]
    assert newest.name == f"step-{NUM_STEPS:06d}.safetensors"
    return read_checkpoint(newest)


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.tensors.keys() == expected.tensors.keys()
    odd = [name for name, tensor in expected.tensors.items() if not torch.equal(found.tensors[name], tensor)]
    assert not odd
    for checkpoint in (found, expected):
        for clock in ("cpu_s", "wall_s"):  # how long it took is no part of the result
            checkpoint.metadata["training"].pop(clock)
    assert found.metadata == expected.metadata


@pytest.fixture(scope="module")
def uninterrupted(corpus, tmp_path_factory) -> Path:
    """A run that nothing happened to."""
    run_dir = tmp_path_factory.mktemp("uninterrupted")
    outcome = asr(command(corpus, run_dir), run_dir / "log", trouble=partial(troubles.print_clock, 1))
    assert outcome.status == 0, outcome.err
    return run_dir


def test_the_run_moves_everything_that_is_compared(uninterrupted):
    """Or the comparison could not fail."""
    first, last = (read_checkpoint(path) for path in list_checkpoints(uninterrupted / "checkpoints")[::2])
    for part in ("model", "average", "optimizer"):
        moved = [not torch.equal(tensor, first.part(part)[name]) for name, tensor in last.part(part).items()]
        assert sum(moved) > len(moved) / 2, part
    assert last.metadata["training"]["epoch"] >= 2


MOMENTS = {
    "mid_step_before_the_first_checkpoint": (partial(troubles.die_before_optimizer, 3), 0),
    "mid_step_in_a_later_epoch": (partial(troubles.die_after_optimizer, 10), 2),
    "after_a_save": (partial(troubles.die_after_save, 2), 0),
    "while_saving": (partial(troubles.die_while_saving, 2), 2),
    "while_validating": (partial(troubles.die_while_validating, 1), 0),
    "between_epochs": (partial(troubles.die_between_epochs, 1), 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(corpus, uninterrupted, tmp_path, moment):
    trouble, num_workers = MOMENTS[moment]
    run = command(corpus, tmp_path, f"data.num_workers={num_workers}")
    assert asr(run, tmp_path / "log", trouble=trouble).was_killed
    assert not checkpoint_path(tmp_path / "checkpoints", NUM_STEPS).exists()
    outcome = asr(run, tmp_path / "log")
    assert outcome.status == 0, outcome.err
    assert_same(final(tmp_path), final(uninterrupted))
    assert not list((tmp_path / "checkpoints").glob(".*")), "what the interrupted write left must be gone"


def test_interrupted_and_resumed(corpus, uninterrupted, tmp_path):
    outcome = asr(command(corpus, tmp_path), tmp_path / "log", trouble=partial(troubles.interrupt, 7))
    assert outcome.status == 130
    assert "stopped at step 7; the same command goes on" in outcome.err
    assert "Traceback" not in outcome.err
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")][-1] == "step-000007.safetensors"
    clock = partial(troubles.print_clock, 8)
    outcome = asr(command(corpus, tmp_path), tmp_path / "log", trouble=clock)
    assert outcome.status == 0, outcome.err
    assert "resuming from" in outcome.err
    assert_same(final(tmp_path), final(uninterrupted))
    # The regularisation clock, which moves every ten steps, stands where it would have stood.
    expected = (uninterrupted / "log" / "stdout.txt").read_text().splitlines()
    assert outcome.out.splitlines() == expected[7:]
    assert len({line.split(" ", 2)[2] for line in expected}) == 2


def test_interrupted_from_a_terminal(corpus, uninterrupted, tmp_path):
    """Workers get the signal too, and must live on until the step in hand is saved."""
    run = command(corpus, tmp_path, "data.num_workers=2")
    outcome = asr(run, tmp_path / "log", trouble=partial(troubles.interrupt_group, 9))
    assert (outcome.status, "stopped at step" in outcome.err) == (130, True), outcome.err
    assert "Traceback" not in outcome.err
    assert asr(run, tmp_path / "log").status == 0
    assert_same(final(tmp_path), final(uninterrupted))


def test_a_finished_run_is_left_alone(uninterrupted, corpus):
    checkpoints = list_checkpoints(uninterrupted / "checkpoints")
    before = [path.stat().st_mtime_ns for path in checkpoints]
    outcome = asr(command(corpus, uninterrupted), uninterrupted / "log-again")
    assert outcome.status == 0, outcome.err
    assert [path.stat().st_mtime_ns for path in checkpoints] == before


# Epochs of the tiny corpus have four steps: their ends fall between checkpoints every five steps, and on those every
# four. Then each is written twice, first as any other checkpoint.
EPOCHS = {
    "right_behind_an_end": (5, partial(troubles.die_between_epochs, 1), {4: 1}),
    "while_an_end_is_saved": (5, partial(troubles.die_while_saving, 2), {}),
    "while_an_end_takes_the_place_of_its_step": (4, partial(troubles.die_while_saving, 3), {}),
    "while_an_end_takes_the_place_of_a_scored_step": (4, partial(troubles.die_while_saving, 8), {4: 1, 8: 2}),
}


def epochs_kept(run_dir: Path) -> dict[int, int]:
    """Epochs by the step at which they ended."""
    ends = {step_of(path): epoch_ended(path) for path in list_checkpoints(run_dir / "checkpoints")}
    return {step: epoch for step, epoch in ends.items() if epoch is not None}


@pytest.mark.parametrize("moment", EPOCHS)
def test_ends_of_epochs_are_kept_and_change_nothing(corpus, uninterrupted, tmp_path, moment):
    every, trouble, there = EPOCHS[moment]
    run = command(corpus, tmp_path, f"training.checkpoint_every={every}", "training.keep_epochs=2")
    assert asr(run, tmp_path / "log", trouble=trouble).was_killed
    assert epochs_kept(tmp_path) == there
    outcome = asr(run, tmp_path / "log")
    assert outcome.status == 0, outcome.err
    assert_same(final(tmp_path), final(uninterrupted))
    assert epochs_kept(tmp_path) == {8: 2, 12: 3}
    scored = read_metadata(checkpoint_path(tmp_path / "checkpoints", 12))["training"]["dev_wer"]
    assert scored is not None, "what a validation of the same step has found stays"


# How often each thing happens in a run, which is how late it can be chosen to be the end.
KINDS = {
    troubles.die_at_start: 1,
    troubles.die_before_optimizer: NUM_STEPS,
    troubles.die_after_optimizer: NUM_STEPS,
    troubles.die_while_saving: 4,
    troubles.die_after_save: 4,
    troubles.die_while_validating: 3,
    troubles.die_between_epochs: 2,
}


@pytest.mark.torture
@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=[pytest.mark.slow] if number % 5 == 0 else []) for number in range(20)]
)
def test_killed_at_a_random_moment(corpus, uninterrupted, tmp_path, number):
    """Killed once or twice, each time at another kind of moment; with workers or without, also changing in between."""
    draw = random.Random(number)
    kinds = [list(KINDS)[number % len(KINDS)], draw.choice(list(KINDS))]
    deaths = 0
    for kind in kinds:
        run = command(corpus, tmp_path, f"data.num_workers={draw.choice([0, 2])}")
        outcome = asr(run, tmp_path / "log", trouble=partial(kind, draw.randint(1, KINDS[kind])))
        assert outcome.was_killed or outcome.status == 0, outcome.err  # the second may come too late
        deaths += outcome.was_killed
    assert deaths, "or nothing was shown"
    assert asr(command(corpus, tmp_path), tmp_path / "log").status == 0
    assert_same(final(tmp_path), final(uninterrupted))


@pytest.mark.slow
def test_killed_at_any_time(corpus, uninterrupted, tmp_path):
    """The outside chooses the moment, wherever the process happens to be."""
    draw = random.Random(1)

    def kill(process) -> None:
        process.join(draw.uniform(0.5, 4.0))
        process.kill()

    for _ in range(15):
        asr(command(corpus, tmp_path), tmp_path / "log", meanwhile=kill)
    assert asr(command(corpus, tmp_path), tmp_path / "log").status == 0
    assert_same(final(tmp_path), final(uninterrupted))


def test_regularisers_of_batches_that_a_short_step_lacks_are_resumed():
    """The last step of an epoch has fewer batches; what the others had left stays."""
    whiten, world = Whiten(groups=1, limit=1.0, grad_scale=0.1), World()
    memory = RegulariserMemory(torch.nn.Sequential(whiten), accumulate=2)
    memory.load_state([{"0": 0.1}, {"0": 0.2}], world)
    memory.enter(0)
    whiten.prob = 0.3
    memory.leave(0)
    memory.end_step()
    assert memory.to_state(world) == [{"0": 0.3}, {"0": 0.2}]


@pytest.mark.parametrize("counts", [True, False])
def test_batches_that_do_not_count_leave_regularisers_alone(trainer, counts):
    """One process has no such batches, and two shall do what one does."""
    run = trainer()
    memory = run.snapshot.regularisers
    memory.values[0] = [1.0] * len(memory.values[0])
    memory.end_step = lambda: None
    memory._next = [list(memory.values[0])]
    run.stepper.step([made_up(1.0, 4, 2, run.snapshot.model.config)._replace(counts=counts)])
    assert (memory._next == memory.values) is not counts
