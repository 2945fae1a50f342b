"""Where a finished model computes."""

from __future__ import annotations

import re

import torch
from torch import nn

from asr.errors import ConfigError
from asr.kernels.k2 import load_k2

NAME = re.compile(r"cpu|cuda(:\d+)?")


def find_device(wish: str | None) -> torch.device:
    """The device of that name; None takes a GPU where there is one, else the CPU.

    Raises:
        ConfigError: the name is not known, or this machine has no such device.
    """
    name = wish or ("cuda" if torch.cuda.is_available() else "cpu")
    if not NAME.fullmatch(name):
        raise ConfigError(f"device={name} is not known; use cpu, cuda, or cuda:1 and the like for one of several GPUs")
    device, num_gpus = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= num_gpus:
        raise ConfigError(f"device={name} is not there: torch finds {num_gpus} GPUs on this machine; set device=cpu")
    return device


def move_model(model: nn.Module, wish: str | None, *, needs_k2: bool = False) -> torch.device:
    """Move a model, in place, to the device that `find_device` gives; batches follow it there as they are decoded.

    Args:
        needs_k2: whether the search is one of k2, which then must have been built for GPUs to be used on one.
    Raises:
        ConfigError: as `find_device`, or this k2 cannot compute there.
    """
    device = find_device(wish)
    if device.type == "cuda" and needs_k2 and not load_k2().with_cuda:
        if wish is not None:
            raise ConfigError(f"device={wish} does not go with k2, which was built without CUDA here; set device=cpu")
        device = torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.allow_tf32 = False  # convolutions in float32, as on a CPU
    model.to(device)
    return device
