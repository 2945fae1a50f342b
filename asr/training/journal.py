"""What a run tells the world: metrics.jsonl, TensorBoard, and a live progress bar."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from asr.errors import ConfigError

logger = logging.getLogger(__name__)


class Journal:
    """Writes numbers as they come; only the first rank has one that writes.

    Args:
        run_dir: metrics.jsonl and tensorboard/ go there.
        num_steps: length of the run, for the progress bar.
        num_epochs: its length where passes over the data are counted: its steps are not known before `begin_epoch`
            says them.
        wandb: name of a Weights & Biases project that gets all numbers, too; None: none does.
        console: where the bar is drawn; lines of text where the console is no terminal.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        num_steps: int,
        num_epochs: int | None = None,
        wandb: str | None = None,
        console: Console | None = None,
    ):
        from torch.utils.tensorboard import SummaryWriter

        run_dir.mkdir(parents=True, exist_ok=True)
        self._run_dir = run_dir
        self._metrics = open(run_dir / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self._board = SummaryWriter(str(run_dir / "tensorboard"))
        self._wandb = _start_wandb(wandb, run_dir) if wandb else None
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._bar = _progress(self._console)
        self._task: TaskID | None = None
        self._num_steps = num_steps if num_epochs is None else None
        self._epoch, self._num_epochs = 0, num_epochs
        self._first_step, self._begun = 0, time.monotonic()

    def start(self, step: int) -> None:
        """Show the bar, standing at `step`."""
        self._first_step, self._begun = step, time.monotonic()
        if self._console.is_terminal:
            self._bar.start()
        place = self._place(step)
        self._task = self._bar.add_task("train", total=self._num_steps, completed=step, place=place, text="")

    def begin_epoch(self, epoch: int, num_steps: int | None) -> None:
        """Take in the number of an epoch, from 0, and how many steps the run will have; None: nobody knows."""
        self._epoch, self._num_steps = epoch, num_steps
        if self._task is not None:
            self._bar.update(self._task, total=num_steps)

    def advance(self, step: int, text: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=step, place=self._place(step), text=text)

    def record(self, kind: str, step: int, numbers: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl and to TensorBoard under `kind`."""
        if kind == "train" and not self._console.is_terminal:
            self.line(self._plain(step, numbers))
        finite = {key: _jsonable(value) for key, value in numbers.items()}
        self._metrics.write(json.dumps({"kind": kind, "step": step, "time": round(time.time(), 3), **finite}) + "\n")
        self._metrics.flush()
        scalars = {f"{kind}/{key}": value for key, value in numbers.items() if isinstance(value, (int, float))}
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.log({**scalars, "step": step})

    def _plain(self, step: int, numbers: dict[str, Any]) -> str:
        """The bar in words, for logs."""
        elapsed, done = time.monotonic() - self._begun, step - self._first_step
        left = ""
        if self._num_steps is not None:
            left = f"  {elapsed / max(done, 1) * (self._num_steps - step) / 60:.1f} min left"
        return (
            f"step {self._place(step)}  loss {numbers['loss']:.3f}  lr {numbers['lr']:.4f}  "
            f"{numbers['utterances_per_s']:.1f} utt/s{left}"
        )

    def _place(self, step: int) -> str:
        """How far the run is, as far as known."""
        steps = str(step) if self._num_steps is None else f"{step}/{self._num_steps}"
        return steps if self._num_epochs is None else f"{steps}, epoch {self._epoch + 1}/{self._num_epochs}"

    def line(self, text: str) -> None:
        """Say something, above the bar."""
        self._bar.console.print(text, highlight=False, markup=False)

    def examples(self, step: int, pairs: Sequence[tuple[str, str]]) -> None:
        """References beside hypotheses: to TensorBoard, and to examples.json for the report."""
        text = "\n".join(f"    ref  {reference}\n    hyp  {hypothesis}\n" for reference, hypothesis in pairs)
        self._board.add_text("dev/examples", text, step)
        latest = {"step": step, "pairs": pairs}
        (self._run_dir / "examples.json").write_text(json.dumps(latest, ensure_ascii=False) + "\n", encoding="utf-8")

    def close(self) -> None:
        if self._bar.live.is_started:
            self._bar.stop()
        if self._wandb is not None:
            self._wandb.finish()
        self._board.close()
        self._metrics.close()


class QuietJournal:
    """For processes that leave the speaking to the first: all they have to say goes to their log file."""

    def start(self, step: int) -> None: ...

    def begin_epoch(self, epoch: int, num_steps: int | None) -> None: ...

    def advance(self, step: int, text: str) -> None: ...

    def record(self, kind: str, step: int, numbers: dict[str, Any]) -> None: ...

    def line(self, text: str) -> None:
        logger.info("%s", text)

    def examples(self, step: int, pairs: Sequence[tuple[str, str]]) -> None: ...

    def close(self) -> None: ...


def _start_wandb(project: str, run_dir: Path) -> Any:
    """A Weights & Biases run that a resumed training goes on with; raises ConfigError where it is not installed."""
    try:
        import wandb
    except ModuleNotFoundError:
        raise ConfigError(
            f"training.wandb={project} needs Weights & Biases; `pip install wandb`, or set training.wandb=null"
        ) from None
    name = str(run_dir).replace("/", "-").strip("-.")
    run = wandb.init(project=project, name=name, id=name, resume="allow", dir=str(run_dir))
    run.define_metric("*", step_metric="step")  # steps may go back a little after a stop
    return run


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[place]}"),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def _jsonable(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
