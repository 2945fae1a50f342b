"""What a run tells the world: metrics.jsonl, TensorBoard, and a live progress bar."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)


class Journal:
    """Writes numbers as they come; only the first rank has one that writes.

    Args:
        run_dir: metrics.jsonl and tensorboard/ go there.
        num_steps: length of the run, for the progress bar.
        console: where the bar is drawn; lines of text where the console is no terminal.
    """

    def __init__(self, run_dir: Path, *, num_steps: int, console: Console | None = None):
        from torch.utils.tensorboard import SummaryWriter

        run_dir.mkdir(parents=True, exist_ok=True)
        self._metrics = open(run_dir / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self._board = SummaryWriter(str(run_dir / "tensorboard"))
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._bar = _progress(self._console)
        self._task: TaskID | None = None
        self._num_steps = num_steps
        self._first_step, self._begun = 0, time.monotonic()

    def start(self, step: int) -> None:
        """Show the bar, standing at `step`."""
        self._first_step, self._begun = step, time.monotonic()
        if self._console.is_terminal:
            self._bar.start()
        self._task = self._bar.add_task("train", total=self._num_steps, completed=step, text="")

    def advance(self, step: int, text: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=step, text=text)

    def record(self, kind: str, step: int, numbers: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl and to TensorBoard under `kind`."""
        if kind == "train" and not self._console.is_terminal:
            self.line(self._plain(step, numbers))
        finite = {key: _jsonable(value) for key, value in numbers.items()}
        self._metrics.write(json.dumps({"kind": kind, "step": step, "time": round(time.time(), 3), **finite}) + "\n")
        self._metrics.flush()
        for key, value in numbers.items():
            if isinstance(value, (int, float)):
                self._board.add_scalar(f"{kind}/{key}", value, step)

    def _plain(self, step: int, numbers: dict[str, Any]) -> str:
        """The bar in words, for logs."""
        elapsed, done = time.monotonic() - self._begun, step - self._first_step
        left_s = elapsed / max(done, 1) * (self._num_steps - step)
        return (
            f"step {step}/{self._num_steps}  loss {numbers['loss']:.3f}  lr {numbers['lr']:.4f}  "
            f"{numbers['utterances_per_s']:.1f} utt/s  {left_s / 60:.1f} min left"
        )

    def line(self, text: str) -> None:
        """Say something, above the bar."""
        self._bar.console.print(text, highlight=False, markup=False)

    def text(self, tag: str, step: int, text: str) -> None:
        """A passage for TensorBoard, such as sample hypotheses."""
        self._board.add_text(tag, text, step)

    def close(self) -> None:
        if self._bar.live.is_started:
            self._bar.stop()
        self._board.close()
        self._metrics.close()


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def _jsonable(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
