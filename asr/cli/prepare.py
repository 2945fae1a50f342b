"""asr prepare: a recipe's corpus, from its home to features on disk."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from asr.cli.arguments import parse
from asr.cli.settings import settings

USAGE = """usage: asr prepare recipe=NAME [stages=a,b] [corpus.key=value ...]

Prepares a recipe's corpus. Every stage may be interrupted and repeated; finished work is not done again.

  recipe=digits corpus.source=FOLDER   connected digits, from a folder of fsdd-*.tar files
  recipe=digits                        the same, downloaded
  recipe=demo                          synthesised speech (needs the extra "demo")
  recipe=librispeech corpus.source=FOLDER   LibriSpeech, from the folder of its subsets; without source, downloaded
  recipe=aishell corpus.source=FOLDER  AISHELL-1, from the folder that holds data_aishell
  stages=manifests,features            only these of: download, manifests, features, tokenizer, summary
  --cfg                                print the configuration and stop
"""

STAGES = ("download", "manifests", "features", "tokenizer", "summary")


def main(argv: Sequence[str]) -> int:
    from rich.console import Console

    from asr.errors import ConfigError

    arguments = parse(argv, usage=USAGE)
    wanted = [item.split("=", 1)[1] for item in arguments.overrides if item.startswith("stages=")]
    arguments.overrides = [item for item in arguments.overrides if not item.startswith("stages=")]
    stages = wanted[-1].strip("[]").split(",") if wanted else list(STAGES)
    if unknown := sorted(set(stages) - set(STAGES)):
        raise ConfigError(f"stages={unknown[0]} is unknown; choose from {', '.join(STAGES)}")
    config = settings("train", arguments)
    if config.corpus is None:
        raise ConfigError("no recipe was named; try `asr prepare recipe=digits` or `asr prepare recipe=demo`")
    recipe = importlib.import_module(f"{type(config.corpus).__module__.rsplit('.', 1)[0]}.prepare")
    console = Console(stderr=True)
    for stage in STAGES:
        if stage in stages:
            console.print(f"{stage} …", highlight=False)
            _run(recipe, stage, config.corpus)
    console.print(f"the corpus is ready in {config.corpus.out}", highlight=False)
    return 0


def _run(recipe: ModuleType, stage: str, corpus: Any) -> None:
    """A stage of the recipe, or the summary, which is the same for every corpus."""
    if stage != "summary":
        getattr(recipe, stage)(corpus)
        return
    from rich.console import Console

    from asr.data.summary import write_summary

    Console(stderr=True).print(f"what it holds: {write_summary(corpus.out)}", highlight=False)
