"""Saving, restoring and averaging models: one safetensors file per checkpoint, nothing pickled."""

from asr.checkpoint.average import RunningAverage, average_interval, interval_average, mean_of_checkpoints
from asr.checkpoint.folder import (
    Found,
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
)
from asr.checkpoint.format import Checkpoint, read_checkpoint, read_metadata, with_prefix, write_checkpoint

__all__ = [
    "Checkpoint",
    "Found",
    "RunningAverage",
    "average_interval",
    "belongs_to_best",
    "best_checkpoints",
    "checkpoint_path",
    "checkpoints_between",
    "epoch_ended",
    "interval_average",
    "list_checkpoints",
    "mean_of_checkpoints",
    "newest_good",
    "prune",
    "read_checkpoint",
    "read_metadata",
    "step_of",
    "steps_of_epochs",
    "with_prefix",
    "write_checkpoint",
]
