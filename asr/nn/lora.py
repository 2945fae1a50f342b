"""Small changes to trained weights: each is kept as it is, plus a product of two narrow matrices that train.

Source: Hu et al., "LoRA", arXiv 2106.09685, section 4.1. There one factor starts at zero; here neither does, for an
optimizer whose steps are shares of a tensor's size would never leave zero, and the weight starts less by their product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from asr.errors import ConfigError

_START = 0.1  # size of the product at the start, as a share of the weight's
_INSIDE = ".parametrizations."


class LowRank(nn.Module):
    """W + U D, with U (out, rank) and D (rank, in)."""

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        rows, columns = weight.shape
        # Of this size each, their product has `_START` times the weight's.
        size = (_START * weight.detach().square().mean().sqrt() / rank**0.5).sqrt()
        self.up = nn.Parameter(torch.randn(rows, rank, device=weight.device) * size)
        self.down = nn.Parameter(torch.randn(rank, columns, device=weight.device) * size)

    def forward(self, weight: Tensor) -> Tensor:
        return torch.addmm(weight, self.up, self.down)


def add_low_rank(model: nn.Module, names: Sequence[str], rank: int) -> list[str]:
    """Let linear layers change by products of `rank` alone; nothing else of the model trains any more.

    Args:
        names: patterns of module names, such as "encoder.*in_proj".
    Returns:
        The names of the layers.
    Raises:
        ConfigError: no linear layer has such a name.
    """
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    chosen = [name for name in linear if any(fnmatchcase(name, pattern) for pattern in names)]
    if not chosen:
        raise ConfigError(f"no linear layer of this model is called {' or '.join(names)}; try ['*']")
    model.requires_grad_(False)
    for name in chosen:
        weight = linear[name].weight
        change = LowRank(weight, rank)
        with torch.no_grad():
            weight.addmm_(change.up, change.down, alpha=-1.0)
        parametrize.register_parametrization(linear[name], "weight", change)
    return chosen


@torch.no_grad()
def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of the model with all changes added to its weights: what it would be without this module."""
    state = {name: value for name, value in model.state_dict().items() if _INSIDE not in name}
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            state[f"{name}.weight"] = module.weight  # type: ignore[assignment]
    return state


def changes(model: nn.Module) -> dict[str, Tensor]:
    """What the state dict has beyond plain names: the weights as they were, and the factors."""
    return {name: value for name, value in model.state_dict().items() if _INSIDE in name}


def load_changed(model: nn.Module, plain: Mapping[str, Tensor], changed: Mapping[str, Tensor]) -> None:
    """Put back what `changes` gave, and from `plain_state` all that these do not hold."""
    model.load_state_dict({name: changed[name] if name in changed else plain[name] for name in model.state_dict()})
