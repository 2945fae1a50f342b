"""Ways for a training process to come to grief at a chosen moment; each is called inside that process."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import Any


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal may take a moment


def _before_call(owner: Any, name: str, number: int, action: Any) -> None:
    """Have `action` happen when `owner.name` is called for the `number`-th time, just before it runs."""
    original, calls = getattr(owner, name), [0]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            action()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def die_before_optimizer(number: int) -> None:
    """Mid-step: gradients are there, parameters have not moved."""
    from asr.optim import ScaledAdam

    _before_call(ScaledAdam, "step", number, kill_self)


def die_after_optimizer(number: int) -> None:
    """Mid-step: parameters have moved, the average and the counters have not."""
    from asr.checkpoint.average import RunningAverage

    _before_call(RunningAverage, "update", number, kill_self)


def die_after_save(number: int) -> None:
    """Right behind the writing of a checkpoint, before old ones are deleted."""
    from asr.training import trainer

    _before_call(trainer, "prune", number, kill_self)


def die_while_saving(number: int) -> None:
    """With half of a checkpoint on disk."""
    from asr.checkpoint import format as module

    original, calls = module._write_body, [0]

    def slow(file: Any, header: bytes, tensors: Any) -> None:
        calls[0] += 1
        if calls[0] < number:
            return original(file, header, tensors)
        file.write(header)
        file.write(b"\1" * 10_000)
        file.flush()
        return kill_self()

    module._write_body = slow


def die_while_validating(number: int) -> None:
    """In the middle of decoding the dev set."""
    from asr.training import validation

    _before_call(validation, "recognise", number, kill_self)


def die_at_start(number: int) -> None:
    """While everything is being put together, whatever the number."""
    from asr.training import build

    _before_call(build, "train_loader", 1, kill_self)


def die_between_epochs(number: int) -> None:
    """When the `number`-th epoch is over and the next one is to begin."""
    from asr.data import TrainLoader

    _before_call(TrainLoader, "epoch", number + 1, kill_self)


def not_a_number(number: int) -> None:
    """The `number`-th batch has a loss that is not finite, on this process alone."""
    from asr.training.objective import TransducerObjective

    original, calls = TransducerObjective.forward, [0]

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        loss = original(self, *args, **kwargs)
        return loss._replace(total=loss.total * float("nan")) if calls[0] == number else loss

    TransducerObjective.forward = forward  # type: ignore[method-assign]


def fail(number: int) -> None:
    """An error that only this process has, when it reads its `number`-th batch."""
    from asr.data.loader import _BatchMaker
    from asr.errors import AudioError

    def complain() -> None:
        raise AudioError("the audio of cut-7 cannot be read any more")

    _before_call(_BatchMaker, "_make", number, complain)


def interrupt(number: int) -> None:
    """Ctrl-C in the middle of a step."""
    from asr.optim import ScaledAdam

    _before_call(ScaledAdam, "step", number, partial(os.kill, os.getpid(), signal.SIGINT))


def full_disk(number: int) -> None:
    """No space left from the `number`-th checkpoint on."""
    import errno

    from asr.checkpoint import format as module

    original, calls = module._write_body, [0]

    def failing(file: Any, header: bytes, tensors: Any) -> None:
        calls[0] += 1
        if calls[0] < number:
            return original(file, header, tensors)
        file.write(header)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    module._write_body = failing


def print_clock(number: int) -> None:
    """Write to standard output where the regularisation schedules stand at step `number` and each one after."""
    from asr.nn.schedule import ScheduledFloat
    from asr.training.stepper import Stepper

    original = Stepper._descend

    def telling(self: Stepper, trouble: Any) -> Any:
        if self.position.step >= number:
            places = {m.position for m in self.snapshot.model.modules() if isinstance(m, ScheduledFloat)}
            print("clock", self.position.step, *sorted(places))
        return original(self, trouble)

    Stepper._descend = telling


def interrupt_group(number: int) -> None:
    """Ctrl-C as a terminal sends it, to the loader's workers as well, while the next batch is waited for."""
    from torch.utils.data.dataloader import _BaseDataLoaderIter

    from asr.data.loader import _BatchMaker

    os.setsid()
    _before_call(_BaseDataLoaderIter, "__next__", number, partial(os.killpg, 0, signal.SIGINT))
    make = _BatchMaker.__getitem__
    _BatchMaker.__getitem__ = lambda self, plan: (time.sleep(0.2), make(self, plan))[1]  # type: ignore[method-assign]
