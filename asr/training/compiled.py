"""Layers through torch.compile, where it can."""

from __future__ import annotations

from typing import Any

import torch

from asr.models.zipformer.layer import ZipformerLayer
from asr.training.examine import Moment
from asr.training.memory import made_up
from asr.training.objective import TransducerObjective
from asr.training.precision import Precision


def compile_layers(objective: TransducerObjective, device: torch.device, precision: Precision) -> str | None:
    """Compile the layers of the encoder, and try forward and backward on a small batch.

    Returns:
        None where that works; else why not, in a sentence, and everything is as it was.
    """
    layers = [module for module in objective.modules() if isinstance(module, ZipformerLayer)]
    if not layers:
        return "training.compile does nothing for an encoder that is no Zipformer; going on without"
    plain = [layer.forward for layer in layers]
    try:
        for layer in layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)  # type: ignore[method-assign]
        _try(objective, device, precision)
    except Exception as error:  # whatever compilers raise
        for layer, forward in zip(layers, plain):
            layer.forward = forward  # type: ignore[method-assign]
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        return f"torch.compile cannot compile the layers here ({reason}); going on without"
    return None


def _try(objective: TransducerObjective, device: torch.device, precision: Precision) -> Any:
    Moment(1, 0, 0, precision).seed_all()
    batch = made_up(2.0, 4, 2, objective.model.config).to(device)
    objective.train()
    with precision.autocast(device):
        loss = objective(*batch[:4], step=1)
    torch.autograd.grad(loss.total, [p for p in objective.parameters() if p.requires_grad], allow_unused=True)
