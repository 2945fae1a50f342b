"""asr train debug-batch: a batch that went wrong, once more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from asr.training.evidence import Evidence


def debug_batch(path: Path) -> int:
    """Replay a batch on the model that met it, drawing the same random numbers, and show where it goes wrong."""
    from rich.console import Console

    from asr.cli.examination import show
    from asr.training.evidence import read_evidence
    from asr.training.examine import examine

    console = Console(soft_wrap=True)
    evidence = read_evidence(path)
    console.print(f"{path}: {evidence.trouble} at step {evidence.moment.step}", highlight=False)
    found = examine(evidence.objective, evidence.batch, evidence.moment)
    show(console, found)
    console.print(_utterances(evidence))
    return 0


def _utterances(evidence: Evidence) -> Table:
    """The loss of each utterance alone: a single one may be to blame."""
    from rich.table import Table

    from asr.data import Batch
    from asr.training.examine import examine

    table = Table("utterance", "seconds", "tokens", "loss per frame", "text", title="each utterance alone")
    batch = evidence.batch
    for row, name in enumerate(batch.ids):
        frames, count = int(batch.feature_lens[row]), int(batch.token_lens[row])
        alone = Batch(
            batch.features[row : row + 1, :frames],
            batch.feature_lens[row : row + 1],
            batch.tokens[row : row + 1, :count],
            batch.token_lens[row : row + 1],
            [batch.texts[row]],
            [name],
            0,
        )
        loss = examine(evidence.objective, alone, evidence.moment).per_frame
        table.add_row(name, f"{frames / 100:.2f}", str(count), f"{loss:.4g}", batch.texts[row])
    return table
