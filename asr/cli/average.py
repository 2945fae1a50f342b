"""asr average: from the checkpoints of a run, the model to use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from torch import Tensor

USAGE = """usage: asr average EXP [key=value ...]

Compares, on the dev set, the newest checkpoint of a run with averages over its last stretch, and writes the best as
EXP/averaged.safetensors, which other commands then take.

  split=dev                            where candidates are compared
  chunk_size=32 left_context=128       how candidates are decoded
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=1)
    config = settings("average", arguments, checkpoint=arguments.positional[0])
    from rich.console import Console

    from asr.checkpoint.folder import list_checkpoints
    from asr.checkpoint.model import AVERAGED, load_model, save_model
    from asr.errors import CheckpointError
    from asr.evaluation.recognise import context_for, error_rate_on

    run_dir = Path(config.checkpoint)
    paths = list_checkpoints(run_dir / "checkpoints")
    if not paths:
        raise CheckpointError(f"there are no checkpoints in {run_dir / 'checkpoints'}; give the folder of a run")
    loaded = load_model(paths[-1])
    origin = loaded.metadata.get("origin", {})
    context = context_for(loaded.model, config.chunk_size, config.left_context)
    console = Console()
    best: tuple[float, str, dict[str, Tensor]] = (float("inf"), "", {})
    for name, weights in candidates(paths):
        loaded.model.load_state_dict(weights)
        rate = error_rate_on(loaded.model, loaded.tokenizer, context, origin=origin, split=config.split)
        console.print(f"{name}: WER {rate:.2%}", highlight=False)
        best = min(best, (rate, name, weights), key=lambda item: item[0])
    rate, name, weights = best
    notes = {"chosen": name, "dev_wer": rate}
    save_model(run_dir / AVERAGED, loaded.model, loaded.tokenizer, weights=weights, origin=origin, average=notes)
    console.print(f"wrote {run_dir / AVERAGED}: {name}", highlight=False)
    return 0


def candidates(paths: Sequence[Path]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The newest weights, and averages from each earlier checkpoint to the newest, by name."""
    from asr.checkpoint.average import average_interval
    from asr.checkpoint.folder import step_of
    from asr.checkpoint.format import read_checkpoint, read_metadata

    newest = paths[-1]
    yield f"step {step_of(newest)}", read_checkpoint(newest, parts=("model",)).part("model")
    period = read_metadata(newest)["training"]["average_period"]
    for path in reversed(paths[:-1]):
        if step_of(path) // period == step_of(newest) // period:
            continue  # the running average did not move in between
        yield f"steps {step_of(path)} to {step_of(newest)} averaged", average_interval(path, newest)
