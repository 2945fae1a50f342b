"""The state of every random number generator, as tensors and plain numbers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from asr.errors import CheckpointError


class RngState(NamedTuple):
    """Tensors `python`, `numpy`, `torch` and, where CUDA is in use, `cuda.<device>`; JSON-able `scalars`."""

    tensors: dict[str, Tensor]
    scalars: dict[str, Any]


def capture_rng() -> RngState:
    """Read the global generators of Python, NumPy and torch (CPU, and every CUDA device once CUDA is in use)."""
    version, words, gauss = random.getstate()
    legacy = np.random.get_state(legacy=False)
    tensors = {
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.from_numpy(legacy["state"]["key"].astype(np.int64)),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors.update({f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())})
    scalars = {
        "python": {"version": version, "gauss": gauss},
        "numpy": {key: legacy[key] for key in ("bit_generator", "has_gauss", "gauss")},
    }
    scalars["numpy"]["pos"] = int(legacy["state"]["pos"])
    return RngState(tensors, scalars)


def restore_rng(tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    """Put the generators back where `capture_rng` found them; CUDA devices that are not here are passed over.

    Raises:
        CheckpointError: the state is incomplete, or of a generator this Python or NumPy does not have.
    """
    try:
        python, numpy = scalars["python"], scalars["numpy"]
        random.setstate((python["version"], tuple(tensors["python"].tolist()), python["gauss"]))
        key = tensors["numpy"].cpu().numpy().astype(np.uint32)
        inner = {"key": key, "pos": numpy["pos"]}
        np.random.set_state({**{k: numpy[k] for k in ("bit_generator", "has_gauss", "gauss")}, "state": inner})
        torch.set_rng_state(tensors["torch"].cpu())
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the saved random state does not fit ({error}); resume without it") from error
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for i in range(devices):
        if f"cuda.{i}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda.{i}"].cpu(), i)
