"""Less memory for more time: layers forget what they worked out, and work it out again in backward."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from asr.models.zipformer.layer import ZipformerLayer


def recompute_layers(model: nn.Module) -> int:
    """Have every Zipformer layer of `model` keep its input alone; returns how many there are."""
    layers = [module for module in model.modules() if isinstance(module, ZipformerLayer)]
    for layer in layers:
        layer.forward = partial(_forgetful, layer.forward)  # type: ignore[method-assign]
    return len(layers)


def _forgetful(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=_same_draws, **kwargs)


def _same_draws() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """For the first time and for the second: torch's draws are repeated anyway, regularisers draw from python's too."""
    return nullcontext(), _drawing_from(random.getstate())


@contextmanager
def _drawing_from(state: Any) -> Iterator[None]:
    now = random.getstate()
    random.setstate(state)
    try:
        yield
    finally:
        random.setstate(now)
