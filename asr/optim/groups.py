"""Which parameters train, and at what share of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from asr.errors import ConfigError


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Sort a model's parameters into groups of equal `lr_scale`, ready for `ScaledAdam`.

    A parameter's scale is the product of the `lr_scale` attributes of all modules on its path (1 where absent).

    Returns:
        Groups `{"params": [(name, parameter), ...], "lr_scale": float}`, the first parameter's group first.
    Raises:
        ConfigError: nothing is left to train.
    """
    modules = dict(model.named_modules())
    groups: dict[float, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_lr_scale(modules, name), []).append((name, parameter))
    if not groups:
        raise ConfigError("no parameter is left to train; freeze fewer")
    return [{"params": members, "lr_scale": scale} for scale, members in groups.items()]


def freeze_parameters(model: nn.Module, names: Sequence[str]) -> None:
    """Switch parameters to `requires_grad=False`.

    Args:
        names: of modules or parameters, such as "encoder.embed"; * stands for anything, as in "encoder.*.bias".
    Raises:
        ConfigError: one matches nothing.
    """
    for frozen in names:
        chosen = [
            parameter
            for name, parameter in model.named_parameters()
            if fnmatchcase(name, frozen) or fnmatchcase(name, f"{frozen}.*")
        ]
        if not chosen:
            known = ", ".join(name for name, _ in model.named_children())
            raise ConfigError(f"freeze: the model has nothing called {frozen}; its parts are {known}")
        for parameter in chosen:
            parameter.requires_grad_(False)


def _lr_scale(modules: dict[str, nn.Module], parameter_name: str) -> float:
    path = parameter_name.split(".")[:-1]
    scale = 1.0
    for depth in range(len(path) + 1):
        scale *= getattr(modules[".".join(path[:depth])], "lr_scale", 1.0)
    return scale
