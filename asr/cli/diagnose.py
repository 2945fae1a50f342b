"""asr train diagnose: activations and gradients where a run stands."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any


def diagnose(config: Any) -> int:
    """Take a run's newest checkpoint and its next batch; show what stands out, write diagnostics.tsv and .png."""
    from rich.console import Console

    from asr.cli.examination import show
    from asr.nn.schedule import set_schedule_position
    from asr.training.build import build_trainer
    from asr.training.diagnostics import plot_sizes, write_sizes
    from asr.training.examine import examine

    trainer = build_trainer(config)
    trainer.resume()
    trainer.position.step += 1
    position, run_dir = trainer.position, Path(config.run_dir)
    set_schedule_position(trainer.snapshot.model, trainer.stepper.clock.at(position.step))
    here, following = trainer.data.epoch(position.epoch, skip=position.consumed), trainer.data.epoch(position.epoch + 1)
    batch = next(chain(here, following))
    found = examine(trainer.objective, batch, trainer.rescue.moment(0))
    trainer.journal.close()
    console = Console(soft_wrap=True)
    console.print(f"step {position.step}, {len(batch.ids)} utterances")
    show(console, found)
    write_sizes(found, run_dir / "diagnostics.tsv")
    plot_sizes(found, run_dir / "diagnostics.png")
    console.print(f"all of it: {run_dir / 'diagnostics.tsv'}, {run_dir / 'diagnostics.png'}")
    return 0
