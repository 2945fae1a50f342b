"""ScaledAdam against AdamW, both on the medium model's parameters."""

from __future__ import annotations

import copy

import torch

from asr.bench.result import Row
from asr.bench.timing import compare, interleave, milliseconds
from asr.models.transducer import Transducer, TransducerConfig
from asr.optim import ScaledAdam, parameter_groups


def run() -> list[Row]:
    """One step of each, on equal gradients."""
    torch.manual_seed(1)
    ours = Transducer(TransducerConfig())
    theirs = copy.deepcopy(ours)
    for mine, other in zip(ours.parameters(), theirs.parameters()):
        mine.grad = other.grad = 0.01 * torch.randn_like(mine)
    scaled, adamw = ScaledAdam(parameter_groups(ours)), torch.optim.AdamW(theirs.parameters(), foreach=True)
    # A multiple of four: every fourth step of ScaledAdam also moves the sizes.
    found = compare(interleave({"ours": scaled.step, "theirs": adamw.step}, rounds=20, warm_up=4), "ours", "theirs")
    return [
        Row(
            work="ScaledAdam step, medium model, against AdamW(foreach=True)",
            value=found.value,
            must=1.4,
            aim=0.5,
            spread=found.spread,
            note=f"{milliseconds(found.medians[0])} against {milliseconds(found.medians[1])}",
        )
    ]
