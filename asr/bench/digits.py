"""Training the digits recipe's model: utterances per CPU second, and how long a step waits for data."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from asr.bench.result import Row
from asr.training.trainer import Trainer

RECIPE = ("recipe=digits", "training.log_every=1000000")
PREPARED = Path("data/digits")
WARM_UP = 60
"""Steps until the process has most of the memory and plans that it will use; a run takes thousands."""
ROUNDS, STEPS = 8, 15
WAITING_STEPS = 150


def run() -> list[Row]:
    """The recipe as it is, on its prepared corpus."""
    speed = "digits recipe's model, training, utterances per CPU second"
    waiting = "share of training time spent waiting for data, 2 workers"
    if not (PREPARED / "tokenizer.json").exists():
        note = "run asr prepare recipe=digits first"
        return [Row(work=speed, value=None, note=note), Row(work=waiting, value=None, note=note)]
    return [_speed(speed), _waiting(waiting)]


def _trainer(run_dir: str, *overrides: str) -> Trainer:
    from asr.config.compose import compose
    from asr.training.build import build_trainer

    return build_trainer(compose("train", [*RECIPE, f"run_dir={run_dir}", *overrides]))


def _speed(work: str) -> Row:
    rates = []
    with tempfile.TemporaryDirectory() as run_dir:
        trainer = _trainer(run_dir)
        batches = trainer.data.epoch(0)
        for _ in range(WARM_UP):
            trainer.stepper.step([next(batches)])
        for _ in range(ROUNDS):
            start, before = time.process_time(), trainer.position.utterances
            for _ in range(STEPS):
                trainer.stepper.step([next(batches)])
            rates.append((trainer.position.utterances - before) / (time.process_time() - start))
    low, median, high = np.percentile(rates, [25, 50, 75]).tolist()
    return Row(work=work, value=median, must=16, aim=35, at_most=False, spread=(low, high))


def _waiting(work: str) -> Row:
    _use_all_cores()
    waited, start = 0.0, 0.0
    with tempfile.TemporaryDirectory() as run_dir:
        trainer = _trainer(run_dir, "data.num_workers=2")
        batches = trainer.data.epoch(0)
        for step in range(WARM_UP + WAITING_STEPS):
            if step == WARM_UP:
                waited, start = 0.0, time.perf_counter()
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            trainer.stepper.step([batch])
        share = waited / (time.perf_counter() - start)
    return Row(work=work, value=share, must=0.02, aim=0.0, note=f"{WAITING_STEPS} steps of the digits recipe")


def _use_all_cores() -> None:
    """Workers run beside the training process, not in its place."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
