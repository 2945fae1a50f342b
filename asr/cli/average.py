"""asr average: from the checkpoints of a run, the model to use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from asr.checkpoint.model import LoadedModel
    from asr.config.decode_config import AverageConfig
    from asr.data import Batch

USAGE = """usage: asr average EXP [key=value ...]

Compares, on the dev set, the newest checkpoint of a run with averages over its last stretch, and with its exponential
average where it kept one. The best becomes EXP/averaged.safetensors, which other commands then take; a table and
EXP/average.png show how the error rate depends on the stretch.

  first=STEP last=STEP                 instead, the average from one checkpoint to another, without dev set; what came
                                       up to the first is excluded. One alone bounds the comparison
  first_epoch=22 last_epoch=30         the same between ends of epochs, kept by training.keep_epochs: what is published
                                       as "epoch 30, averaged 8"
  compare=true                         with both, too, compare what lies between them
  split=dev                            where candidates are compared
  chunk_size=32 left_context=128       how candidates are decoded
  device=cpu                           null: a GPU where there is one
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=1)
    config = settings("average", arguments, checkpoint=arguments.positional[0])
    from rich.console import Console

    from asr.checkpoint.folder import checkpoints_between
    from asr.checkpoint.model import AVERAGED, load_model, save_model
    from asr.errors import CheckpointError

    run_dir, console = Path(config.checkpoint), Console()
    first, last = _steps(config)
    paths = checkpoints_between(run_dir / "checkpoints", first=first, last=last)
    if not paths:
        raise CheckpointError(f"there are no checkpoints in {run_dir / 'checkpoints'}; give the folder of a run")
    loaded = load_model(paths[-1])
    chosen = _best(loaded, paths, config, console) if config.compares else _whole_stretch(paths, config)
    origin = loaded.metadata["origin"]
    save_model(
        run_dir / AVERAGED, loaded.model, loaded.tokenizer, weights=chosen.weights, origin=origin, **chosen.notes
    )
    console.print(f"wrote {run_dir / AVERAGED}: {chosen.name}", highlight=False)
    return 0


def _steps(config: AverageConfig) -> tuple[int | None, int | None]:
    """The steps of the first and the last checkpoint, as far as they are asked for."""
    from asr.checkpoint.folder import steps_of_epochs

    if not config.by_epoch:
        return config.first, config.last
    epochs = {"first_epoch": config.first_epoch, "last_epoch": config.last_epoch}
    first, last = steps_of_epochs(Path(config.checkpoint) / "checkpoints", **epochs)
    return first, last


class Choice(NamedTuple):
    """Weights to use, on the CPU, and what to note about them in their file."""

    name: str
    weights: dict[str, Tensor]
    notes: dict[str, Any]


def _best(loaded: LoadedModel, paths: Sequence[Path], config: AverageConfig, console: Console) -> Choice:
    """The candidate that does best on the dev set; a table and a picture show them all."""
    from asr.evaluation.device import move_model

    dev = list(_dev_batches(loaded, config.split))
    move_model(loaded.model, config.device)
    best, curve = Candidate(float("inf"), "", {}), []
    for name, first_step, weights in candidates(paths):
        loaded.model.load_state_dict(weights)
        rate = _error_rate(loaded, dev, config)
        curve.append(Point(name, first_step, rate))
        console.print(f"{name}: dev error rate {100 * rate:.2f} %", highlight=False)
        best = min(best, Candidate(rate, name, weights), key=lambda candidate: candidate.rate)
    _show_curve(curve, Path(config.checkpoint) / "average.png", console)
    notes = {"chosen": best.name, "dev_wer": best.rate, "curve": [point._asdict() for point in curve]}
    return Choice(best.name, best.weights, {"average": notes})


def _whole_stretch(paths: Sequence[Path], config: AverageConfig) -> Choice:
    """The average from the first checkpoint to the last, whatever it does on the dev set."""
    from asr.checkpoint.average import average_interval
    from asr.checkpoint.folder import step_of

    first, last = paths[0], paths[-1]
    notes = {"first": step_of(first), "last": step_of(last)}
    epochs = {"first_epoch": config.first_epoch, "last_epoch": config.last_epoch}
    notes |= {name: epoch for name, epoch in epochs.items() if epoch is not None}
    return Choice(stretch_name(notes), average_interval(first, last), {"stretch": notes})


def stretch_name(stretch: Mapping[str, int]) -> str:
    """What was averaged, in words, for what stands as `stretch` in a model's file."""
    name = f"steps {stretch['first']} to {stretch['last']} averaged"
    ends = [f"epoch {stretch[key]}" for key in ("first_epoch", "last_epoch") if key in stretch]
    return f"{name} ({' to '.join(ends)})" if ends else name


class Candidate(NamedTuple):
    """Weights, and how well they do on the dev set."""

    rate: float
    name: str
    weights: dict[str, Tensor]


class Point(NamedTuple):
    """One candidate: its name, the step its average begins at (None where it is no stretch), its rate as a fraction."""

    name: str
    first_step: int | None
    rate: float


def _show_curve(curve: Sequence[Point], path: Path, console: Console) -> None:
    """The error rate against the beginning of the average, as a table, best first, and as a picture."""
    from matplotlib.figure import Figure
    from rich.table import Table

    table = Table("model", "dev error rate %")
    for point in sorted(curve, key=lambda point: point.rate):
        table.add_row(point.name, f"{100 * point.rate:.2f}")
    console.print(table)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    stretches = sorted((point.first_step, 100 * point.rate) for point in curve if point.first_step is not None)
    axes.plot(*zip(*stretches), "o-", label="averaged from there to the last") if stretches else None
    for color, point in zip(("tab:orange", "tab:green"), (point for point in curve if point.first_step is None)):
        axes.axhline(100 * point.rate, linestyle="--", color=color, label=point.name)
    axes.set(xlabel="first step of the average", ylabel="dev error rate, %", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=110)


def _error_rate(loaded: LoadedModel, batches: list[Batch], config: AverageConfig) -> float:
    from asr.decoding import SearchConfig, build_search
    from asr.evaluation import score
    from asr.evaluation.recognise import context_for, recognise
    from asr.evaluation.wer import unit_of

    search = build_search(SearchConfig(), loaded.model)
    context = context_for(loaded.model, config.chunk_size, config.left_context)
    found = recognise(loaded.model, loaded.tokenizer, search, batches, context)
    return score((item.transcript for item in found), unit=unit_of(loaded.metadata)).rate


def _dev_batches(loaded: LoadedModel, split: str | None) -> Iterator[Batch]:
    from asr.data import DataConfig, eval_loader, heard_cuts
    from asr.errors import ConfigError

    origin = loaded.metadata.get("origin", {})
    if not origin.get("folder"):
        raise ConfigError("the checkpoint does not say what corpus it comes from, so there is no dev set to decode")
    excluded = origin.get("exclude_speakers", [])
    data = DataConfig(folder=origin["folder"], max_duration_s=60.0, num_workers=0, exclude_speakers=excluded)
    return eval_loader(heard_cuts(data, split or origin["dev"]), loaded.tokenizer, data)


def candidates(paths: Sequence[Path]) -> Iterator[tuple[str, int | None, dict[str, Tensor]]]:
    """The newest weights, their exponential average, and averages from each earlier checkpoint to the newest.

    Each with its name and, where it is one, the step at which its stretch begins.
    """
    from asr.checkpoint.average import average_interval
    from asr.checkpoint.folder import step_of
    from asr.checkpoint.format import read_checkpoint, read_metadata

    newest = paths[-1]
    found = read_checkpoint(newest, parts=("model", "ema"))
    yield f"step {step_of(newest)}", None, found.part("model")
    if ema := found.part("ema"):
        yield "exponential average", None, {**found.part("model"), **ema}
    period = read_metadata(newest)["training"]["average_period"]
    for path in reversed(paths[:-1]):
        if step_of(path) // period == step_of(newest) // period:
            continue  # the running average did not move in between
        stretch = {"first": step_of(path), "last": step_of(newest)}
        yield stretch_name(stretch), step_of(path), average_interval(path, newest)
