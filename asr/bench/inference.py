"""The medium encoder at inference."""

from __future__ import annotations

import torch

from asr.bench.machine import matrix_rate
from asr.bench.result import Row
from asr.bench.timing import compare, interleave, milliseconds
from asr.bench.yardstick import FORWARD_FLOP, our_work, yardstick_work


def run() -> list[Row]:
    """Ours against the Conformer, and how much of the time products must take."""
    ours, theirs = our_work(), yardstick_work()
    ours.model.eval()
    theirs.model.eval()
    with torch.inference_mode():
        timings = interleave({"ours": ours, "theirs": theirs})
    found = compare(timings, "ours", "theirs")
    mine, other = found.medians
    return [
        Row(
            work="medium encoder, inference, against torchaudio's Conformer",
            value=found.value,
            must=1.1,
            aim=0.70,
            spread=found.spread,
            note=f"{milliseconds(mine)} against {milliseconds(other)}",
        ),
        Row(
            work="share of the matrix-product rate, inference",
            value=FORWARD_FLOP / mine / matrix_rate(),
            must=0.40,
            aim=0.62,
            at_most=False,
            note=f"77 GFLOP in {milliseconds(mine)}; rate {matrix_rate() / 1e9:.0f} GFLOP/s",
        ),
    ]
