"""Formulas through torch.compile, where it can."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import torch

from asr.kernels import balance, softmax
from asr.models.zipformer.layer import ZipformerLayer
from asr.nn import whiten
from asr.training.examine import Moment
from asr.training.memory import made_up
from asr.training.objective import TransducerObjective
from asr.training.precision import Precision

# Chains of small operations on whole activations, without draws. Whole layers are no use: what their regularisers draw
# and where these stand is different in every call, for which torch compiles them again and again.
FORMULAS: tuple[tuple[ModuleType, str], ...] = ((balance, "_loss_slope"), (whiten, "whiteness"), (softmax, "_masked"))


def compile_formulas(objective: TransducerObjective, device: torch.device, precision: Precision) -> str | None:
    """Compile the formulas of regularisers and attention for this process, and try them on a small batch.

    Returns:
        None where that works; else why not, in a sentence, and everything is as it was.
    """
    if not any(isinstance(module, ZipformerLayer) for module in objective.modules()):
        return "training.compile does nothing for an encoder that is no Zipformer; going on without"
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch._inductor")  # about torch's own code
    plain = [getattr(module, name) for module, name in FORMULAS]
    try:
        for (module, name), formula in zip(FORMULAS, plain):
            setattr(module, name, torch.compile(formula, dynamic=True))
        _try(objective, device, precision)
    except Exception as error:  # whatever compilers raise
        for (module, name), formula in zip(FORMULAS, plain):
            setattr(module, name, formula)
        # The first line of torch's own errors names only the part of it that raised them.
        told = [line for line in str(error).splitlines() if line.strip() and not line.rstrip().endswith("raised:")]
        reason = (told or [type(error).__name__])[0][:200]
        return f"torch.compile cannot compile the formulas here ({reason}); going on without"
    return None


def _try(objective: TransducerObjective, device: torch.device, precision: Precision) -> Any:
    Moment(1, 0, 0, precision).seed_all()
    batch = made_up(2.0, 4, 2, objective.model.config).to(device)
    objective.train()
    with precision.autocast(device):
        loss = objective(*batch[:4], step=1)
    torch.autograd.grad(loss.total, [p for p in objective.parameters() if p.requires_grad], allow_unused=True)
