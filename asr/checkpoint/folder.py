"""The checkpoints of one training run: which there are, which is the newest good one, which may go."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from asr.checkpoint.format import Checkpoint, read_checkpoint
from asr.errors import CheckpointError

logger = logging.getLogger(__name__)

NAME = re.compile(r"step-(\d{6,})\.safetensors")
BEST = "best.safetensors"


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


def newest_good(folder: Path) -> Found | None:
    """Read the newest checkpoint that is whole; warns about each damaged one it passes over.

    Returns:
        None when the folder holds no checkpoint at all.
    Raises:
        CheckpointError: there are checkpoints, but every one is damaged.
    """
    paths = list_checkpoints(folder)
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


def prune(folder: Path, *, keep_last: int, keep: Collection[Path] = ()) -> list[Path]:
    """Delete all but the newest `keep_last` (>= 1) checkpoints, those in `keep`, and what interrupted writes left.

    Only the process that writes a run's checkpoints may call this. The best one (`keep_best`) is a file of its own.

    Returns:
        The checkpoints deleted.
    """
    if keep_last < 1:
        raise CheckpointError(f"keep_last={keep_last} must be at least 1, or nothing could be resumed")
    kept = {Path(path).name for path in keep}
    gone = [path for path in list_checkpoints(folder)[:-keep_last] if path.name not in kept]
    for path in [*gone, *Path(folder).glob(".*.safetensors.*.tmp")]:
        path.unlink(missing_ok=True)
    return gone


def keep_best(path: Path, wer: float) -> bool:
    """Call after each evaluation: keeps `path` as best.safetensors beside it if its WER is the lowest so far.

    A hard link where the file system has them, so that it costs no space. The score stands in best.json.

    Args:
        path: the checkpoint evaluated.
        wer: its word error rate, in % or as a fraction (the same each time).
    Returns:
        Whether it is the best so far.
    """
    path = Path(path)
    if not wer < best_wer(path.parent):
        return False
    temporary = path.with_name(f".{BEST}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        _link_or_copy(path, temporary)
        os.replace(temporary, path.with_name(BEST))
        temporary.write_text(json.dumps({"checkpoint": path.name, "wer": wer}) + "\n")
        os.replace(temporary, path.with_name("best.json"))
    except OSError as error:
        raise CheckpointError(f"cannot keep {path} as the best: {error.strerror}; check the folder") from error
    finally:
        temporary.unlink(missing_ok=True)
    return True


def best_wer(folder: Path) -> float:
    """The lowest WER so far; infinite when there is none, or its note is unreadable."""
    try:
        return float(json.loads((Path(folder) / "best.json").read_text())["wer"])
    except (OSError, ValueError, KeyError, TypeError):
        return math.inf


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
