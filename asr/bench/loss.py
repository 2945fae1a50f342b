"""The pruned transducer loss against torchaudio's full one, and its share of a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from asr.bench.memory import growth, print_growth_of
from asr.bench.result import Row
from asr.bench.timing import compare, interleave, milliseconds, settle
from asr.bench.training import training_step
from asr.bench.yardstick import YARDSTICK_FRAMES, our_work
from asr.losses import Backend, prune_ranges, pruned_joiner_loss, smoothed_transducer_loss

CLASSES, WIDTH = 500, 512
SYMBOLS_PER_FRAME = 0.16
"""Four symbols a second, as English in 500 units has."""


class LossWork(NamedTuple):
    """What a joiner is given, (B, T, .) and (B, S + 1, .), and what it should say."""

    am: Tensor
    lm: Tensor
    encoder: Tensor
    predictor: Tensor
    weight: Tensor
    bias: Tensor
    symbols: Tensor
    symbol_lens: Tensor
    frame_lens: Tensor

    def pruned(self, backend: Backend = Backend.TORCH) -> None:
        """Simple and pruned loss, forward and backward."""
        self._forget()
        lens = self.symbol_lens, self.frame_lens
        simple = smoothed_transducer_loss(self.am, self.lm, self.symbols, *lens, lm_scale=0.25, backend=backend)
        ranges = prune_ranges(simple.px_grad, simple.py_grad, *lens, 5)
        joiner = self.encoder, self.predictor, self.weight, self.bias
        loss = pruned_joiner_loss(*joiner, self.symbols, ranges, *lens, backend=backend)
        (0.5 * simple.loss.sum() + loss.sum()).backward()

    def full(self) -> None:
        """torchaudio's loss on all of (B, T, U), with the same joiner."""
        from torchaudio.functional import rnnt_loss

        self._forget()
        hidden = torch.tanh(self.encoder.unsqueeze(2) + self.predictor.unsqueeze(1))
        lens = self.frame_lens.int(), self.symbol_lens.int()
        rnnt_loss(
            linear(hidden, self.weight, self.bias), self.symbols.int(), *lens, blank=0, reduction="sum"
        ).backward()

    def _forget(self) -> None:
        for leaf in self[:6]:
            leaf.grad = None


def loss_work(frames: list[int], symbols: list[int]) -> LossWork:
    """Random input for utterances of these lengths."""
    torch.manual_seed(0)
    batch, most_frames, most = len(frames), max(frames), max(symbols)

    def leaf(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(*shape)).requires_grad_()

    return LossWork(
        leaf(batch, most_frames, CLASSES),
        leaf(batch, most + 1, CLASSES),
        leaf(batch, most_frames, WIDTH, scale=0.5),
        leaf(batch, most + 1, WIDTH, scale=0.5),
        leaf(CLASSES, WIDTH, scale=WIDTH**-0.5),
        leaf(CLASSES),
        torch.randint(1, CLASSES, (batch, most)),
        torch.tensor(symbols),
        torch.tensor(frames),
    )


def run() -> list[Row]:
    """Time, memory, and the share of a step."""
    return [_time(), _memory(), _share()]


def standard_work() -> LossWork:
    """Eight utterances of ten seconds."""
    return loss_work([250] * 8, [60] * 8)


def _time() -> Row:
    work = standard_work()
    found = compare(interleave({"ours": work.pruned, "theirs": work.full}, rounds=5, warm_up=1), "ours", "theirs")
    return Row(
        work="simple and pruned loss, forward and backward, against torchaudio's full loss",
        value=found.value,
        must=0.05,
        aim=0.025,
        spread=found.spread,
        note=f"{milliseconds(found.medians[0])} against {milliseconds(found.medians[1])}",
    )


def _memory() -> Row:
    ours, theirs = (growth(__name__, side) for side in _SIDES)
    return Row(
        work="the same, growth of memory",
        value=ours / theirs,
        must=0.25,
        aim=0.19,
        note=f"{ours / 1e6:.0f} MB against {theirs / 1e6:.0f} MB",
    )


_SIDES: dict[str, Callable[[LossWork], None]] = {"pruned": LossWork.pruned, "full": LossWork.full}


def print_growth(side: str) -> None:
    """Print how many bytes one call adds to this process."""
    settle()
    work = standard_work()
    print_growth_of(lambda: _SIDES[side](work))


def _share() -> Row:
    work = our_work()
    work.model.train()
    loss = loss_work(list(YARDSTICK_FRAMES), [round(SYMBOLS_PER_FRAME * frames) for frames in YARDSTICK_FRAMES])
    sides = {"loss": loss.pruned, "encoder": lambda: training_step(work)}
    timings = interleave(sides, rounds=5, warm_up=1)
    found = compare({**timings, "step": [a + b for a, b in zip(*timings.values())]}, "loss", "step")
    return Row(
        work="the two losses' share of a medium training step",
        value=found.value,
        must=0.06,
        aim=0.04,
        spread=found.spread,
        note=f"{milliseconds(found.medians[0])} of {milliseconds(found.medians[1])}",
    )
