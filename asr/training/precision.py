"""In what numbers a model computes while it trains; parameters, losses and the optimizer stay in float32."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from asr.tensors import share


class Precision(Enum):
    """The number format of matrix products and convolutions."""

    FP32 = "fp32"
    BF16 = "bf16"
    """Half the memory, the range of float32."""
    FP16 = "fp16"
    """Half the memory, a narrow range: needs a loss scale, which is managed."""

    @property
    def safer(self) -> Precision:
        """What to fall back to when numbers overflow."""
        return Precision.FP32

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Compute in this format inside."""
        if self is Precision.FP32:
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16 if self is Precision.BF16 else torch.float16)


class LossScale:
    """Keeps small gradients of float16 above zero: the loss is multiplied before backward, gradients divided after.

    As published with Zipformer's recipes (icefall, train.py): the scale starts at 1, for summed losses have large
    gradients; it doubles after every `period` good steps and halves after a bad one; and while it is small, it doubles
    at fixed steps of an epoch, whatever they were like: see `GROWTH`. Here, moreover, it keeps within `LIMITS`.
    """

    LIMITS = (2.0**-10, 2.0**16)
    GROWTH = ((25, 2.0), (100, 8.0), (400, 32.0))
    """Every so many steps of an epoch, the first one among them, a scale below so much doubles; once a step."""

    def __init__(self, *, period: int = 2000):
        self.period = period
        self.value = 1.0
        self.good_steps = 0

    def unscale(self, gradients: Iterable[Tensor | None]) -> None:
        """Divide gradients by the scale, in place."""
        if self.value != 1.0 and (found := [share(gradient) for gradient in gradients if gradient is not None]):
            torch._foreach_mul_(found, 1.0 / self.value)

    def update(self, is_good: bool, index: int) -> None:
        """Take in whether a step's gradients were finite.

        Args:
            index: steps of its epoch before this one.
        """
        self.good_steps = self.good_steps + 1 if is_good else 0
        if not is_good:
            self.value = max(self.value / 2, self.LIMITS[0])
        elif self.good_steps % self.period == 0:
            self.value = min(self.value * 2, self.LIMITS[1])
        if any(index % every == 0 and self.value < enough for every, enough in self.GROWTH):
            self.value *= 2

    def to_state(self) -> dict[str, Any]:
        return {"value": self.value, "good_steps": self.good_steps}

    def load_state(self, state: dict[str, Any]) -> None:
        self.value, self.good_steps = state["value"], state["good_steps"]


def allow_tf32(allowed: bool) -> None:
    """Whether NVIDIA GPUs may round the factors of float32 products to 10 bits, which is several times faster."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
