"""Which parameters train, and at what share of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from asr.errors import ConfigError


def parameter_groups(model: nn.Module, *, freeze: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Sort a model's parameters into groups of equal `lr_scale`, ready for `ScaledAdam`.

    A parameter's scale is the product of the `lr_scale` attributes of all modules on its path (1 where absent).

    Args:
        model: its frozen parameters are switched to `requires_grad=False`.
        freeze: dotted names of modules or parameters that shall not train, such as "encoder" or "encoder.embed".
    Returns:
        Groups `{"params": [(name, parameter), ...], "lr_scale": float}`, the first parameter's group first.
    Raises:
        ConfigError: a frozen name matches nothing, or nothing is left to train.
    """
    _freeze(model, freeze)
    modules = dict(model.named_modules())
    groups: dict[float, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_lr_scale(modules, name), []).append((name, parameter))
    if not groups:
        raise ConfigError("no parameter is left to train; shorten the freeze list")
    return [{"params": members, "lr_scale": scale} for scale, members in groups.items()]


def _freeze(model: nn.Module, names: Sequence[str]) -> None:
    for frozen in names:
        chosen = [p for name, p in model.named_parameters() if name == frozen or name.startswith(frozen + ".")]
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
