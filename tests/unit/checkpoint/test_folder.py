"""A run's folder: newest good checkpoint, pruning, the best one; and the random state."""

from __future__ import annotations

import pytest
import torch

from asr.checkpoint import (
    belongs_to_best,
    best_checkpoints,
    checkpoint_path,
    checkpoints_between,
    epoch_ended,
    list_checkpoints,
    newest_good,
    prune,
    step_of,
    steps_of_epochs,
    write_checkpoint,
)
from asr.errors import CheckpointError


def _write(folder, step, **notes):
    path = checkpoint_path(folder, step)
    write_checkpoint(path, {"model/w": torch.full((4,), float(step))}, {"training": {"step": step, **notes}})
    return path


def test_a_stretch_of_checkpoints(tmp_path):
    for step in (200, 400, 600, 800):
        _write(tmp_path, step)

    def steps(**bounds):
        return [step_of(path) for path in checkpoints_between(tmp_path, **bounds)]

    assert steps() == [200, 400, 600, 800]
    assert steps(first=400) == [400, 600, 800]
    assert steps(first=400, last=600) == [400, 600]
    for bounds, complaint in (
        ({"first": 500}, "first=500: .* the nearest: 400 and 600"),
        ({"last": 900}, "last=900: .* the nearest: 800$"),
        ({"last": 0}, "last=0: .* the nearest: 200$"),
    ):
        with pytest.raises(CheckpointError, match=complaint):
            steps(**bounds)
    assert checkpoints_between(tmp_path / "none") == []


def _damage(path):
    path.write_bytes(path.read_bytes()[:-3])


def test_checkpoints_are_listed_by_step(tmp_path):
    for step in (1000000, 200, 999999, 1):
        _write(tmp_path, step)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "best.safetensors").touch()
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [1, 200, 999999, 1000000]
    assert list_checkpoints(tmp_path / "none") == []
    with pytest.raises(CheckpointError, match="step-000200"):
        step_of(tmp_path / "notes.txt")


def test_damaged_newest_is_passed_over_with_a_warning(tmp_path, caplog):
    paths = [_write(tmp_path, step) for step in (100, 200, 300)]
    for path in paths[1:]:
        _damage(path)
    found = newest_good(tmp_path)
    assert found.path == paths[0]
    assert found.checkpoint.metadata["training"]["step"] == 100
    assert caplog.text.count("trying the one before") == 2


def test_no_checkpoint_is_a_start_but_only_damaged_ones_are_an_error(tmp_path):
    assert newest_good(tmp_path) is None
    _damage(_write(tmp_path, 1))
    with pytest.raises(CheckpointError, match="all 1 checkpoints"):
        newest_good(tmp_path)


def test_pruning_keeps_the_last_and_the_chosen(tmp_path):
    paths = [_write(tmp_path, step) for step in (1, 2, 3, 4, 5)]
    (tmp_path / ".step-000006.safetensors.77.tmp").touch()
    assert prune(tmp_path, keep_last=2, keep=[paths[1]]) == [paths[0], paths[2]]
    assert sorted(tmp_path.iterdir()) == [paths[1], paths[3], paths[4]]
    with pytest.raises(CheckpointError, match="keep_last=0"):
        prune(tmp_path, keep_last=0)


def test_pruning_does_not_count_damaged_ones_that_the_run_has_come_back_from(tmp_path):
    paths = [_write(tmp_path, step) for step in (1, 2, 3)]
    _damage(paths[2])
    assert prune(tmp_path, keep_last=1, newest=2) == [paths[0]]
    assert newest_good(tmp_path).path == paths[1]


def _write_epochs(folder):
    """Checkpoints every two steps and at the ends of epochs of three steps, of which the second is both."""
    _write(folder, 0, epoch=0, consumed=0)
    return {
        step: _write(folder, step, epoch=step // 3, consumed=step % 3)
        for step in range(1, 13)
        if not (step % 2 * step % 3)
    }


def test_ends_of_epochs_are_known_by_what_stands_in_them(tmp_path):
    paths = _write_epochs(tmp_path)
    assert {step: epoch_ended(path) for step, path in paths.items()} == {
        step: step // 3 if step % 3 == 0 else None for step in paths
    }
    assert epoch_ended(checkpoint_path(tmp_path, 0)) is None, "nothing has ended at the start"
    assert epoch_ended(_write(tmp_path, 13)) is None, "an older checkpoint, or another program's, does not say"
    assert steps_of_epochs(tmp_path, first_epoch=2, last_epoch=None) == [6, None]
    assert steps_of_epochs(tmp_path / "none", first_epoch=None, last_epoch=None) == [None, None]
    paths[9].write_bytes(b"")
    for epoch, nearest in ((3, "the nearest: 2 and 4"), (5, "the nearest: 4"), (0, "the nearest: 1")):
        with pytest.raises(CheckpointError, match=f"last_epoch={epoch}: .*training.keep_epochs.* {nearest}$"):
            steps_of_epochs(tmp_path, first_epoch=1, last_epoch=epoch)
    with pytest.raises(CheckpointError, match="it has none at all"):
        steps_of_epochs(tmp_path / "none", first_epoch=1)


def test_ends_of_epochs_are_pruned_apart(tmp_path):
    _write_epochs(tmp_path)
    prune(tmp_path, keep_last=3, keep_epochs=2)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [4, 8, 9, 10, 12]
    prune(tmp_path, keep_last=1, keep_epochs=9)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [9, 10, 12]
    prune(tmp_path, keep_last=2)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [10, 12], "where none are wanted, all are alike"


def test_damaged_ends_of_epochs_are_in_nobody_s_way(tmp_path):
    paths = _write_epochs(tmp_path)
    paths[9].write_bytes(b"")
    _damage(paths[12])  # whose header says all the same what it was
    prune(tmp_path, keep_last=2, keep_epochs=2, newest=10)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [3, 6, 9, 10, 12]
    assert newest_good(tmp_path).path == paths[10]


def test_the_best_are_known_by_what_stands_in_them(tmp_path):
    assert best_checkpoints(tmp_path, 2) == [] and belongs_to_best(tmp_path, 99.0, 2)
    paths = [_write(tmp_path, step, dev_wer=wer) for step, wer in ((1, 9.0), (2, 4.0), (3, 4.0), (4, 7.0))]
    _write(tmp_path, 5)
    assert best_checkpoints(tmp_path, 2) == [paths[1], paths[2]]
    assert belongs_to_best(tmp_path, 3.9, 2) and not belongs_to_best(tmp_path, 4.0, 2)
    assert not belongs_to_best(tmp_path, float("nan"), 9) and not belongs_to_best(tmp_path, 0.0, 0)
    prune(tmp_path, keep_last=1, keep=best_checkpoints(tmp_path, 2))
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [2, 3, 5]
    paths[1].write_bytes(b"")
    assert best_checkpoints(tmp_path, 2) == [paths[2]], "one that is damaged is no candidate"
