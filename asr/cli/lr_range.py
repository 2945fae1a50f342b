"""asr train lr-range: which learning rates train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

_ROWS = 12


def lr_range(config: Any) -> int:
    """Try growing rates on the recipe's data, show the losses, and leave lr-range.png in the run's folder."""
    from rich.console import Console
    from rich.table import Table

    from asr.training.build import build_trainer
    from asr.training.lr_range import plot_rates, try_rates

    run_dir = Path(config.run_dir)
    guard = replace(config.training.guard, keep_batches=0)  # to diverge is the purpose
    training = replace(config.training, guard=guard)
    trainer = build_trainer(replace(config, run_dir=str(run_dir / "lr-range"), training=training))
    found = try_rates(trainer.stepper, trainer.data, config.lr_range)
    trainer.journal.close()
    table = Table("learning rate", "loss per frame", "running mean")
    for one in found.tries[:: max(len(found.tries) // _ROWS, 1)]:
        table.add_row(f"{one.rate:.4g}", f"{one.loss:.4g}", f"{one.smooth:.4g}")
    console = Console(soft_wrap=True)
    console.print(table)
    plot_rates(found, run_dir / "lr-range.png")
    end = f"diverges at {found.diverged:.3g}" if found.diverged else f"still trains at {found.tries[-1].rate:.3g}"
    console.print(f"the loss falls fastest at {found.suggested:.3g}, and {end}; {run_dir / 'lr-range.png'}")
    return 0
