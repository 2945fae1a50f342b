"""What regularisers remember from batch to batch, kept apart for each batch of a step.

So a step over two batches is the same whether one process takes both or two take one each.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from asr.nn.whiten import Whiten
from asr.training.world import World


class RegulariserMemory:
    """The acting probabilities of every Whiten, for each of this process' batches of a step.

    Args:
        model: where the Whitens are.
        accumulate: batches of a step on this process.
    """

    def __init__(self, model: nn.Module, accumulate: int = 1):
        named = [(name, module) for name, module in model.named_modules() if isinstance(module, Whiten)]
        self._names = [name for name, _ in named]
        self._modules = [module for _, module in named]
        start = [module.prob for module in self._modules]
        self.values = [list(start) for _ in range(accumulate)]
        """As they were when the step began."""
        self._next = [list(start) for _ in range(accumulate)]

    def enter(self, number: int) -> None:
        """Take up what batch `number` of the last step left."""
        for module, value in zip(self._modules, self.values[number]):
            module.prob = value

    def leave(self, number: int) -> None:
        """Put down what batch `number` changed; `end_step` makes it count."""
        self._next[number] = [module.prob for module in self._modules]

    def end_step(self) -> None:
        self.values = [list(values) for values in self._next]

    def named(self, number: int) -> dict[str, float]:
        """The probabilities of batch `number` at the beginning of the step, by module."""
        return dict(zip(self._names, self.values[number]))

    def to_state(self, world: World) -> list[dict[str, float]]:
        """Of all batches of a step on all processes, rank by rank; every process must call this."""
        return [dict(zip(self._names, values)) for values in sum(world.gather(self.values), [])]

    def load_state(self, state: Any, world: World) -> None:
        """Continue from `to_state`; where the number of batches has changed, all continue from the first."""
        slots = [state] if isinstance(state, dict) else state  # checkpoints from before there could be several
        start = world.rank * len(self.values)
        mine = slots[start : start + len(self.values)]
        if len(slots) != len(self.values) * world.size:
            mine = slots[:1] * len(self.values)
        self.values = [[found.get(name, module.prob) for name, module in self._pairs()] for found in mine]
        self._next = [list(values) for values in self.values]  # a short step at an epoch's end leaves some as they are
        self.enter(0)

    def _pairs(self) -> list[tuple[str, Whiten]]:
        return list(zip(self._names, self._modules))
