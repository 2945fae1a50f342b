"""asr data: look a corpus over, or pack it into shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from asr.cli.arguments import parse

USAGE = """usage: asr data audit PATH [out=FOLDER] [num_workers=2]
       asr data shard PATH split=train out=FOLDER [shard_size=1000]

PATH is the folder of a prepared corpus, with its cuts-*.jsonl.gz.

audit reads every recording and writes out/audit.html and out/audit.json (out is PATH where not given): durations
against transcripts, silence, clipping, sample rates, the same audio or text in several splits, characters that training
lacks.

shard packs a split's audio and descriptions into tars (Lhotse Shar), to be read with data.shards=FOLDER, or from where
FOLDER was copied to: data.shards=s3://bucket/train, or data.shards='pipe:curl -sfL https://host/train'. A corpus on
object storage or of very many files is read far faster so.
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=2, at_most=2)
    from asr.errors import ConfigError

    what, path = arguments.positional
    options = dict(item.split("=", 1) for item in arguments.overrides)
    commands = {"audit": ("out", "num_workers"), "shard": ("split", "out", "shard_size")}
    if what not in commands:
        raise ConfigError(f"asr data {what} is unknown; use audit or shard")
    if unknown := sorted(set(options) - set(commands[what])):
        raise ConfigError(f"{unknown[0]} is no setting of asr data {what}; it has {', '.join(commands[what])}")
    return _audit(Path(path), options) if what == "audit" else _shard(Path(path), options)


def _audit(folder: Path, options: dict[str, str]) -> int:
    from rich.console import Console

    from asr.data.audit import audit, without_unions, write_audit
    from asr.data.manifests import read_cuts
    from asr.data.summary import splits_of

    splits = without_unions({name: read_cuts(path, lazy=True) for name, path in splits_of(folder).items()})
    names = sorted(splits, key=lambda name: (not name.startswith("train"), name))  # training first: others are compared
    found = audit(
        {name: splits[name].to_eager() for name in names},
        num_workers=_number(options, "num_workers", 2),
        progress=_with_progress,
    )
    page, data = write_audit(found, Path(options.get("out", folder)))
    console = Console()
    for what, odd in found.odd.items():
        console.print(f"{what}: {len(odd)}", highlight=False)
    console.print(f"the same audio more than once: {len(found.same_audio)}", highlight=False)
    console.print(f"transcripts in several splits: {len(found.same_text_across)}", highlight=False)
    console.print(f"{page}\n{data}", highlight=False, soft_wrap=True)
    return 0


def _shard(folder: Path, options: dict[str, str]) -> int:
    from asr.data.manifests import cuts_path, read_cuts
    from asr.data.shards import write_shards
    from asr.errors import ConfigError

    if missing := sorted({"split", "out"} - set(options)):
        raise ConfigError(f"asr data shard needs {missing[0]}=...")
    cuts = read_cuts(cuts_path(folder, options["split"]), lazy=True)
    count = write_shards(cuts, Path(options["out"]), shard_size=_number(options, "shard_size", 1000))
    print(f"{count} shards in {options['out']}; train from them with data.shards={options['out']}")
    return 0


def _number(options: dict[str, str], key: str, default: int) -> int:
    from asr.errors import ConfigError

    value = options.get(key, str(default))
    if not value.isdigit() or int(value) < 1:
        raise ConfigError(f"{key}={value} must be a whole number of at least 1")
    return int(value)


def _with_progress(items: Iterable[Any], total: int) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, description="listening", total=total, console=console, disable=not console.is_terminal)
