"""The medium encoder's training step: forward and backward, all regularisers on."""

from __future__ import annotations

from asr.bench.machine import matrix_rate
from asr.bench.result import Row
from asr.bench.timing import compare, interleave, milliseconds
from asr.bench.yardstick import FORWARD_FLOP, Work, our_work, yardstick_work


def training_step(work: Work) -> None:
    """Forward and backward, leaving gradients behind as a step of training does."""
    work.model.zero_grad(set_to_none=True)
    work().square().mean().backward()


def run() -> list[Row]:
    """Ours against the Conformer, and how much of the time products must take."""
    ours, theirs = our_work(), yardstick_work()
    ours.model.train()
    theirs.model.train()
    sides = {"ours": lambda: training_step(ours), "theirs": lambda: training_step(theirs)}
    found = compare(interleave(sides, rounds=11), "ours", "theirs")
    mine, other = found.medians
    return [
        Row(
            work="medium encoder, forward and backward, against torchaudio's Conformer",
            value=found.value,
            must=1.3,
            aim=0.80,
            spread=found.spread,
            note=f"{milliseconds(mine)} against {milliseconds(other)}",
        ),
        Row(
            work="share of the matrix-product rate, training",
            value=3 * FORWARD_FLOP / mine / matrix_rate(),
            must=0.35,
            aim=0.50,
            at_most=False,
            note=f"3 x 77 GFLOP in {milliseconds(mine)}; rate {matrix_rate() / 1e9:.0f} GFLOP/s",
        ),
    ]
