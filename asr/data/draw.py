"""Random numbers for order and augmentation: what is drawn follows from a seed, never from a process or a worker."""

from __future__ import annotations

import random

import torch
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """A seed for the thing that `parts` name, such as (seed, epoch, batch); different names give unrelated seeds."""
    return random.Random("/".join(map(str, parts))).getrandbits(62)


class Draw:
    """The few kinds of draws that augmentations make."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * torch.rand((), generator=self._generator).item()

    def chance(self, prob: float) -> bool:
        """True with probability `prob`."""
        return self.uniform(0.0, 1.0) < prob

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return int(torch.randint(low, high + 1, (), generator=self._generator).item())

    def indices(self, count: int, below: int) -> Tensor:
        """(count,) int64 in [0, below), with repetition."""
        return torch.randint(below, (count,), generator=self._generator)
