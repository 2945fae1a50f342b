"""The checkpoints of one training run: which there are, which is the newest good one, which may go."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from asr.checkpoint.format import Checkpoint, read_checkpoint, read_metadata
from asr.errors import CheckpointError

logger = logging.getLogger(__name__)

NAME = re.compile(r"step-(\d{6,})\.safetensors")


class Found(NamedTuple):
    """A checkpoint that was read, and where."""

    path: Path
    checkpoint: Checkpoint


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` steps lies, such as step-000200.safetensors."""
    return Path(folder) / f"step-{step:06d}.safetensors"


def step_of(path: Path) -> int:
    """The step a checkpoint's name tells; raises CheckpointError for other names."""
    match = NAME.fullmatch(Path(path).name)
    if match is None:
        raise CheckpointError(f"{path} is not named like a checkpoint; expected a name such as step-000200.safetensors")
    return int(match.group(1))


def list_checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a run by step, oldest first; unfinished files and others are left out."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), key=step_of)


def checkpoints_between(folder: Path, *, first: int | None = None, last: int | None = None) -> list[Path]:
    """The checkpoints of a run from step `first` to step `last`, both among them, oldest first; None sets no bound.

    Raises:
        CheckpointError: the folder holds no checkpoint of step `first` or `last`.
    """
    paths = list_checkpoints(folder)
    steps = [step_of(path) for path in paths]
    for name, step in (("first", first), ("last", last)):
        if step is not None and step not in steps:
            raise CheckpointError(f"{name}={step}: {folder} has no checkpoint of that step; {_nearest(step, steps)}")
    low, high = 0 if first is None else first, math.inf if last is None else last
    return [path for path, step in zip(paths, steps) if low <= step <= high]


def epoch_ended(path: Path) -> int | None:
    """How many passes over the data a checkpoint had behind it when it was written right at a pass's end; else None.

    Reads the header alone. A file that cannot be read, or does not say, is none.
    """
    try:
        training = read_metadata(path)["training"]
        epoch, consumed = training["epoch"], training["consumed"]
    except (CheckpointError, KeyError, TypeError):
        return None
    return epoch if isinstance(epoch, int) and epoch >= 1 and consumed == 0 else None


def steps_of_epochs(folder: Path, **epochs: int | None) -> list[int | None]:
    """The step at which each epoch (counted from 1) ended, where the folder has its checkpoint; None for None.

    Args:
        epochs: by the names that they have in a message.
    Raises:
        CheckpointError: the folder holds no checkpoint of one of these ends.
    """
    if all(epoch is None for epoch in epochs.values()):
        return [None] * len(epochs)
    steps = {epoch: step_of(path) for path in list_checkpoints(folder) if (epoch := epoch_ended(path)) is not None}
    for name, epoch in epochs.items():
        if epoch is not None and epoch not in steps:
            raise CheckpointError(
                f"{name}={epoch}: {folder} has no checkpoint of that epoch's end, as training.keep_epochs keeps them; "
                f"{_nearest(epoch, sorted(steps))}"
            )
    return [None if epoch is None else steps[epoch] for epoch in epochs.values()]


def _nearest(number: int, numbers: Sequence[int]) -> str:
    """Which of `numbers`, in order, come right before and after `number`, in words."""
    near = [*[one for one in numbers if one < number][-1:], *[one for one in numbers if one > number][:1]]
    return f"the nearest: {' and '.join(map(str, near))}" if near else "it has none at all"


def newest_good(folder: Path, *, wanted: Callable[[Path], bool] = lambda path: True) -> Found | None:
    """Read the newest checkpoint that is whole; warns about each damaged one it passes over.

    Args:
        wanted: says of a checkpoint whether it is considered at all.
    Returns:
        None when the folder holds no checkpoint at all.
    Raises:
        CheckpointError: there are checkpoints, but every one is damaged.
    """
    paths = [path for path in list_checkpoints(folder) if wanted(path)]
    for path in reversed(paths):
        try:
            return Found(path, read_checkpoint(path))
        except CheckpointError as error:
            logger.warning("%s; trying the one before", error)
    if paths:
        raise CheckpointError(
            f"all {len(paths)} checkpoints in {folder} are damaged; move them away to start training anew"
        )
    return None


def prune(
    folder: Path,
    *,
    keep_last: int,
    keep_epochs: int = 0,
    keep: Collection[Path] = (),
    newest: int | None = None,
) -> list[Path]:
    """Delete all but the newest `keep_last` (>= 1) checkpoints, those in `keep`, and what interrupted writes left.

    Only the process that writes a run's checkpoints may call this.

    Args:
        keep_epochs: how many of the newest stay that were written at an epoch's end (`epoch_ended`). These are counted
            apart: they neither take the places of the `keep_last` others nor are among them. With 0 no file is opened
            to tell one kind from the other, and all are ordinary.
        newest: the step of the last good one; later ones were damaged when the run was resumed, and count for nothing.
    Returns:
        The checkpoints deleted.
    """
    if keep_last < 1:
        raise CheckpointError(f"keep_last={keep_last} must be at least 1, or nothing could be resumed")
    kept = {Path(path).name for path in keep}
    good = [path for path in list_checkpoints(folder) if newest is None or step_of(path) <= newest]
    ends = [path for path in good if epoch_ended(path) is not None] if keep_epochs else []
    ordinary = [path for path in good if path not in ends]
    gone = [path for path in [*ordinary[:-keep_last], *ends[:-keep_epochs]] if path.name not in kept]
    for path in [*gone, *Path(folder).glob(".*.safetensors.*.tmp")]:
        path.unlink(missing_ok=True)
    return gone


def best_checkpoints(folder: Path, count: int) -> list[Path]:
    """The `count` checkpoints of lowest error rate on the dev set, best first; earlier ones win ties.

    The rate stands in each file as `training.dev_wer`; files without one, or unreadable ones, are left out.
    """
    scored = [
        (score, step_of(path), path) for path in list_checkpoints(folder) if (score := _dev_wer(path)) is not None
    ]
    return [path for _, _, path in sorted(scored)[:count]]


def belongs_to_best(folder: Path, wer: float, count: int) -> bool:
    """Whether a model with error rate `wer` belongs to the `count` best."""
    best = best_checkpoints(folder, count)
    return math.isfinite(wer) and (len(best) < count or (count > 0 and wer < (_dev_wer(best[-1]) or 0.0)))


def _dev_wer(path: Path) -> float | None:
    try:
        return read_metadata(path)["training"].get("dev_wer")
    except (CheckpointError, KeyError, AttributeError):
        return None
