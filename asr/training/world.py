"""The processes that train one model together: who is who, and what they must agree on. One process is a world, too."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from asr.errors import ConfigError, RillError
from asr.training.sharding import is_sharded


class ProcessLost(RillError):
    """Another process of the run has ended."""


@dataclass(frozen=True)
class World:
    """rank: which process this is, from 0; size: how many there are; device: where this one computes."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes, in float64; every process must call this."""
        if self.size == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return sums.tolist()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        return self.total([float(flag)])[0] > 0

    def gather(self, value: Any) -> list[Any]:
        """What each process has, by rank; plain data only."""
        found: list[Any] = [value]
        if self.size > 1:
            found = [None] * self.size
            distributed.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.size > 1:
            distributed.barrier()

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over all processes; itself where there is one, or it sees to it itself."""
        if self.size == 1 or is_sharded(module):
            return module
        # Costs a copy of some small gradients, and nobody can do anything about it.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        # Regularisers leave out whole modules at random, differently on every process.
        return DistributedDataParallel(module, find_unused_parameters=True, broadcast_buffers=False)

    @contextmanager
    def blame(self) -> Iterator[None]:
        """Turn what the network says when another process is gone into a sentence: the cause stands in that one's."""
        try:
            yield
        except RuntimeError as error:
            if self.size > 1 and _is_about_peers(error):
                raise ProcessLost(
                    f"process {self.rank} ends, for another has ended; its own message says why"
                ) from error
            raise

    def leave(self) -> None:
        """End the connection; call where all processes end well."""
        if self.size > 1:
            distributed.destroy_process_group()


def unsynchronised(module: nn.Module) -> AbstractContextManager[None]:
    """Inside, backward adds to this process' own gradients only."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def join_world(device: str | None) -> World:
    """The world that torchrun's environment describes, or one alone.

    Args:
        device: such as "cpu" or "cuda"; None takes a GPU of one's own where there is one.
    Raises:
        ConfigError: the device is not there.
    """
    rank, size, local = (int(os.environ.get(name, default)) for name, default in _ENVIRONMENT)
    found = own_device(device, local)
    if size > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if found.type == "cuda" else "gloo")
    return World(rank, size, found)


_ENVIRONMENT = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


def own_device(wish: str | None, local_rank: int = 0) -> torch.device:
    """Where process `local_rank` of this machine computes; raises ConfigError where that is not there."""
    name = wish or ("cuda" if torch.cuda.is_available() else "cpu")
    if not name.startswith("cuda"):
        return torch.device(name)
    index = int(name.partition(":")[2] or local_rank)
    if index >= torch.cuda.device_count():
        raise ConfigError(
            f"training.device={name} for process {local_rank} of this machine is not there: it has "
            f"{torch.cuda.device_count()} GPUs; start fewer processes, or set training.device=cpu"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _is_about_peers(error: RuntimeError) -> bool:
    kinds = getattr(distributed, "DistError", ())
    return isinstance(error, kinds) or any(word in str(error) for word in ("gloo", "NCCL", "Connection closed by peer"))
