"""asr train: run a recipe, or go on with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from asr.training.journal import Journal
    from asr.training.run_config import RunConfig

USAGE = """usage: asr train recipe=NAME [key=value ...]

Trains a model. The same command goes on where a stopped run left off; Ctrl-C saves first.

  recipe=digits                 what to train; see conf/recipe
  encoder=lstm                  another encoder in the recipe's model: lstm, gru, cnn, ...; see conf/encoder
  name=first run_dir=exp/first  where the run lives
  model=zipformer_small_streaming, training.num_steps=2000, optim.lr=0.03, ...
  --config-dir=FOLDER           recipes of your own: FOLDER/recipe/NAME.yaml
  --plan                        say what the run will take (data, steps, size, work, memory, time) and stop
  --cfg                         print the configuration and stop
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, flags=["--plan"])
    config = settings("train", arguments)
    if "--plan" in arguments.flags:
        return _show_plan(config)
    from asr.config.compose import save_config
    from asr.models.transducer import count_parameters
    from asr.training.build import build_trainer
    from asr.training.trainer import Stopped

    run_dir = Path(config.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=run_dir / "train.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    trainer = build_trainer(config)
    aloud = _Aloud(trainer.journal)
    logging.getLogger("asr").addHandler(aloud)
    try:
        trainer.resume()
        size = f"{count_parameters(trainer.snapshot.model):,} parameters"
        trainer.journal.line(f"{config.name}: {size}, {config.training.num_steps} steps")
        save_config(config, run_dir / "config.yaml")  # not before: the folder may be that of another run
        trainer.run()
    except Stopped as stop:
        trainer.journal.line(str(stop))
        return 130
    finally:
        logging.getLogger("asr").removeHandler(aloud)
        trainer.journal.close()
    return 0


def _show_plan(config: RunConfig) -> int:
    from rich.console import Console
    from rich.table import Table

    from asr.training.build import set_up_process
    from asr.training.plan import make_plan

    set_up_process(config.training)
    console = Console()
    table = Table("what", "how much", "where the number comes from", title=f"plan of {config.name}")
    with Console(stderr=True).status("counting and measuring"):
        for figure in make_plan(config):
            table.add_row(*figure)
    console.print(table)
    return 0


class _Aloud(logging.Handler):
    """Lets warnings be seen above the progress bar, besides in the log file."""

    def __init__(self, journal: Journal):
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.line(f"warning: {record.getMessage()}")
