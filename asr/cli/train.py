"""asr train: run a recipe, or go on with it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.cli.arguments import Arguments, parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from asr.training.config import TrainingConfig
    from asr.training.journal import Journal, QuietJournal
    from asr.training.run_config import RunConfig

USAGE = """usage: asr train recipe=NAME [key=value ...]
       asr train lr-range recipe=NAME [key=value ...]
       asr train diagnose recipe=NAME [key=value ...]
       asr train memory recipe=NAME training.memory_limit_gb=N [key=value ...]
       asr train debug-batch FILE

Trains a model. The same command goes on where a stopped run left off; Ctrl-C saves first.

  recipe=digits                 what to train; see conf/recipe
  encoder=lstm                  another encoder in the recipe's model: lstm, gru, cnn, ...; see conf/encoder
  name=first run_dir=exp/first  where the run lives
  model=zipformer_small_streaming, training.num_steps=2000, optim.lr=0.03, ...
  --config-dir=FOLDER           recipes of your own: FOLDER/recipe/NAME.yaml
  --plan                        say what the run will take (data, steps, size, work, memory, time) and stop
  --cfg                         print the configuration and stop

  lr-range                      try growing learning rates; lr_range.low=... .high=... .steps=...
  diagnose                      activations and gradients where the run stands, as a table and a plot
  memory                        which batches fit into training.memory_limit_gb, and how full they are
  debug-batch FILE              replay a batch that went wrong, from EXP/trouble, and say where

Several GPUs, or several machines: torchrun --nproc-per-node=4 --no-python asr train recipe=NAME ...
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, flags=["--plan"], at_most=2)
    match arguments.positional:
        case []:
            config = settings("train", arguments)
            return _show_plan(config) if "--plan" in arguments.flags else run(config)
        case ["lr-range"]:
            from asr.cli.lr_range import lr_range

            return lr_range(settings("train", arguments))
        case ["diagnose"]:
            from asr.cli.diagnose import diagnose

            return diagnose(settings("train", arguments))
        case ["memory"]:
            from asr.cli.memory import memory

            return memory(settings("train", arguments))
        case ["debug-batch", file]:
            from asr.cli.debug_batch import debug_batch

            return debug_batch(Path(file))
    return _misunderstood(arguments)


def _misunderstood(arguments: Arguments) -> int:
    from asr.errors import ConfigError

    raise ConfigError(
        f"{arguments.positional[0]!r} is one argument too many, or one too few; there are lr-range, diagnose, "
        "memory and debug-batch FILE, and settings are given as key=value"
    )


def run(config: Any) -> int:
    """Train, from the beginning or from where an earlier run of the folder stopped; returns the exit status."""
    from asr.config.compose import save_config
    from asr.kernels.memory import keep_memory, keep_plans
    from asr.models.transducer import count_parameters
    from asr.training.build import build_trainer
    from asr.training.canary import before_and_after
    from asr.training.environment import note_start
    from asr.training.trainer import Stopped

    keep_memory()
    keep_plans()
    run_dir = Path(config.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    rank = os.environ.get("RANK", "0")
    logging.basicConfig(
        filename=run_dir / ("train.log" if rank == "0" else f"train-{rank}.log"),
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    trainer = build_trainer(config)
    aloud = _Aloud(trainer.journal)
    logging.getLogger("asr").addHandler(aloud)
    try:
        trainer.resume()
        size = f"{count_parameters(trainer.snapshot.model):,} parameters"
        length = _length(config.training)
        trainer.journal.line(f"{config.name}: {size}, {length}{_company(trainer.world.size)}")
        if trainer.world.is_first:
            save_config(config, run_dir / "config.yaml")  # not before: the folder may be that of another run
            note_start(run_dir, step=trainer.position.step, processes=trainer.world.size)
        trainer.run()
        if trainer.world.is_first and (rates := before_and_after(run_dir)):
            trainer.journal.line(rates)
        trainer.world.leave()
    except Stopped as stop:
        trainer.journal.line(str(stop))
        trainer.world.leave()
        return 130
    finally:
        logging.getLogger("asr").removeHandler(aloud)
        trainer.journal.close()
    return 0


def _show_plan(config: RunConfig) -> int:
    from rich.console import Console
    from rich.table import Table

    from asr.training.build import set_up_process
    from asr.training.finetune import start_of
    from asr.training.plan import make_plan

    set_up_process(config.training)
    console = Console()
    table = Table("what", "how much", "where the number comes from", title=f"plan of {config.name}")
    with Console(stderr=True).status("counting and measuring"):
        for figure in make_plan(start_of(config)[0]):
            table.add_row(*figure)
    console.print(table)
    return 0


def _length(config: TrainingConfig) -> str:
    """In epochs where a recipe counts them: its steps are then a bound that nobody means to reach."""
    return f"{config.num_steps} steps" if config.num_epochs is None else f"{config.num_epochs} epochs"


def _company(size: int) -> str:
    return f", {size} processes" if size > 1 else ""


class _Aloud(logging.Handler):
    """Lets warnings be seen above the progress bar, besides in the log file."""

    def __init__(self, journal: Journal | QuietJournal):
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.line(f"warning: {record.getMessage()}")
