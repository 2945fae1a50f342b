"""asr decode: recognise a test set and count errors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from lhotse import CutSet

    from asr.checkpoint.model import LoadedModel
    from asr.config.decode_config import DecodeConfig
    from asr.decoding import SearchConfig
    from asr.evaluation import Report
    from asr.evaluation.evaluate import Evaluated

USAGE = """usage: asr decode EXP [key=value ...]

Recognises test sets and reports the error rate with its 95 % interval, the errors utterance by utterance, latency and
speed. EXP is a checkpoint, or the folder of a run.

  chunk_size=32 left_context=128 lookahead=0
                                       50 Hz frames; chunk_size=null hears whole utterances
  search.method=BEAM search.beam=4     GREEDY, BEAM, FAST_BEAM, CTC_GREEDY or CTC_BEAM; with k2 K2_FAST_BEAM and K2_CTC
  search.method=CTC_BEAM search.graph.lexicon=FILE
                                       nothing but words of a list (also the searches of k2, docs/k2.md)
  search.method=BEAM attention_scale=1 also what the attention decoder chooses from each n-best list (or of CTC_BEAM)
  search.method=BEAM oracle=true       also the errors of the best sequence in each n-best list
  data.splits=[dev]                    other splits of the corpus (data.folder=... for another corpus)
  data.list=FILE.tsv data.recordings=FOLDER
                                       any list of digit strings, from a folder of fsdd-*.tar and manifest.tsv
  data.speaker=NAME                    one speaker's utterances only
  device=cpu                           null: a GPU where there is one
  out=FOLDER                           where the listings and reports go
  --cfg                                print the configuration and stop
"""

Setting = str | int | float | bool | None
_LONGEST = 100  # letters of settings in a file's name, of which systems allow 255


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=1)
    config = settings("decode", arguments, checkpoint=arguments.positional[0])
    import torch
    from rich.console import Console

    from asr.checkpoint.model import load_model
    from asr.cli.test_sets import test_sets
    from asr.evaluation import latency_table, make_table

    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    loaded = load_model(config.checkpoint)
    out = Path(config.out) if config.out else loaded.folder / "results"
    sets = test_sets(config.data, loaded.metadata.get("origin", {}), scratch=out / "lists")
    asked = {None: True, "oracle": config.oracle, "rescored": config.attention_scale is not None}
    choices = [choice for choice, wanted in asked.items() if wanted]
    reports = [
        decode_set(loaded, config, name, cuts, out, choice=choice) for choice in choices for name, cuts in sets.items()
    ]
    Console().print(make_table(reports, title=f"{loaded.path}"))
    Console().print(latency_table(reports))
    Console(stderr=True).print(f"errors by utterance and reports: {out}", highlight=False)
    return 0


def decode_set(
    loaded: LoadedModel, config: DecodeConfig, name: str, cuts: CutSet, out: Path, *, choice: str | None = None
) -> Report:
    """Recognise and score one test set; listing and report go to `out`.

    Args:
        choice: from each n-best list, "oracle" for the best there is, "rescored" for the attention decoder's.
    """
    from asr.decoding.config import K2_METHODS
    from asr.evaluation import write_listing
    from asr.evaluation.device import move_model
    from asr.evaluation.evaluate import evaluate
    from asr.evaluation.oracle import evaluate_choice
    from asr.evaluation.recognise import context_for
    from asr.evaluation.wer import unit_of
    from asr.models.encoder import warn_untrained

    evaluators: dict[str | None, Callable[..., Evaluated]] = {
        None: partial(evaluate, stepwise=config.stepwise),
        "oracle": evaluate_choice,
        "rescored": partial(evaluate_choice, attention_scale=config.attention_scale),
    }
    device = move_model(loaded.model, config.device, needs_k2=config.search.method in K2_METHODS)
    context = context_for(loaded.model, config.chunk_size, config.left_context, config.lookahead)
    warn_untrained(loaded.model.config.encoder, context)
    scored, report = evaluators[choice](
        loaded.model,
        loaded.tokenizer,
        cuts,
        name=f"{name}-{choice}" if choice else name,
        search=config.search,
        context=context,
        unit=config.unit or unit_of(loaded.metadata),
        max_duration_s=config.max_duration_s,
        progress=lambda batches: _with_progress(batches, name, len(cuts)),
    )
    beside = beside_search(loaded, config, choice)
    report.settings.update(checkpoint=str(loaded.path), device=str(device), **_chosen(config), **beside)
    path = report_path(
        out, report.name, config.search, context.chunk_size, context.left_context, context.lookahead, beside=beside
    )
    write_listing(path.with_suffix(".txt"), scored)
    report.save(path)
    return report


def report_path(
    out: Path,
    name: str,
    search: SearchConfig,
    chunk_size: int | None,
    left_context: int | None,
    lookahead: int = 0,
    *,
    beside: Mapping[str, Setting] | None = None,
) -> Path:
    """Where the report of one decoding goes; its listing lies beside it.

    The name holds settings of the search, and those `beside` it, that are not the defaults, lest one result takes the
    place of another.
    """
    ahead = f"-ahead-{lookahead}" if lookahead else ""
    given = {**_unusual(search), **(beside or {})}
    steered = "".join(f"-{key}-{_in_a_name(value)}" for key, value in given.items())
    if len(steered) > _LONGEST:
        steered = f"-{_digest(steered)}"
    name = re.sub(r"[^\w.-]", "_", name)  # a speaker's may hold anything
    return out / f"{name}-{search.label}-chunk-{chunk_size}-left-{left_context}{ahead}{steered}.json"


def beside_search(loaded: LoadedModel, config: DecodeConfig, choice: str | None = None) -> dict[str, Setting]:
    """What else makes a result another one, where it is not what the model would be asked for by itself."""
    from asr.cli.test_sets import other_folder
    from asr.evaluation.wer import unit_of

    beside: dict[str, Setting] = {}
    if config.unit is not None and config.unit is not unit_of(loaded.metadata):
        beside["unit"] = config.unit.value
    if choice == "rescored":
        beside["attention_scale"] = config.attention_scale
    if folder := other_folder(config.data, loaded.metadata.get("origin", {})):
        beside["folder"] = str(Path(folder).resolve())
    return beside


def _chosen(config: DecodeConfig) -> dict[str, Setting]:
    """What a report tells of the settings, beside what every report does."""
    chosen: dict[str, Setting] = {f"search.{key}": value for key, value in _unusual(config.search).items()}
    if config.data.speaker is not None:
        chosen["speaker"] = config.data.speaker
    if config.data.list is not None:
        chosen["levelled"] = config.data.levelled
    return chosen


def _unusual(search: SearchConfig) -> dict[str, Setting]:
    """Settings that are not the defaults, by their names after `search.`, but for the method; lists are texts."""
    usual = dict(_flat(asdict(type(search)())))
    given = {key: value for key, value in _flat(asdict(search)) if key != "method" and value != usual[key]}
    return {key: ", ".join(value) if isinstance(value, list) else value for key, value in given.items()}


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _in_a_name(value: Setting) -> str:
    """Numbers and plain words as they are; of other texts, which may be paths or many phrases, a digest."""
    plain = not isinstance(value, str) or re.fullmatch("[a-z]{1,16}", value)
    return str(value) if plain else _digest(str(value))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _with_progress(batches: Any, name: str, total: int) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"decoding {name}", total=total)
        for batch in batches:
            yield batch
            progress.advance(task, len(batch.ids))
