"""A model ready for use, from a checkpoint alone: shape, weights and tokenizer all come from the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from asr.checkpoint.folder import list_checkpoints
from asr.checkpoint.format import read_checkpoint, with_prefix, write_checkpoint
from asr.errors import CheckpointError, ConfigError
from asr.models.transducer import Transducer, copy_weights, model_config_from_dict, model_config_to_dict
from asr.text import Tokenizer, tokenizer_from_state

AVERAGED = "averaged.safetensors"
KIND = "transducer"


class LoadedModel(NamedTuple):
    """model: in evaluation mode; tokenizer: its own; path: the file; metadata: everything else the file says."""

    model: Transducer
    tokenizer: Tokenizer
    path: Path
    metadata: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where results of this model belong: the folder of its run, else that of its file."""
        folder = self.path.resolve().parent
        return folder.parent if folder.name == "checkpoints" else folder


def load_model(path: Path | str) -> LoadedModel:
    """Load a model for decoding.

    Args:
        path: a checkpoint file, or a run's folder: its averaged model, else its newest checkpoint.
    Raises:
        CheckpointError: nothing usable is there.
    """
    path = find_checkpoint(Path(path))
    checkpoint = read_checkpoint(path, parts=("model",))
    metadata = checkpoint.metadata
    if metadata.get("kind") != KIND or "config" not in metadata or "tokenizer" not in metadata:
        raise CheckpointError(f"{path} holds no speech recognition model; give a checkpoint of `asr train`")
    try:
        model = Transducer(model_config_from_dict(metadata["config"]))
        copy_weights(model, checkpoint.part("model"))
    except ConfigError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    return LoadedModel(model.eval(), tokenizer_from_state(metadata["tokenizer"]), path, metadata)


def find_checkpoint(path: Path) -> Path:
    """The file to load for a file or a run's folder; raises CheckpointError where there is none."""
    if not path.is_dir():
        return path
    if (path / AVERAGED).exists():
        return path / AVERAGED
    found = list_checkpoints(path / "checkpoints") or list_checkpoints(path)
    if not found:
        raise CheckpointError(f"there is no checkpoint in {path}; train first, or name a file")
    return found[-1]


def save_model(
    path: Path, model: Transducer, tokenizer: Tokenizer, *, weights: Mapping[str, Tensor] | None = None, **notes: Any
) -> None:
    """Write a model for use, without training state; `weights` replace its own, `notes` go into the metadata."""
    tensors = dict(model.state_dict() if weights is None else weights)
    metadata = {"kind": KIND, "config": model_config_to_dict(model.config), "tokenizer": tokenizer.to_state(), **notes}
    write_checkpoint(path, with_prefix("model", tensors), metadata)
