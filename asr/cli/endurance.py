"""asr endurance: hours of audio through one stream."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from asr.bench.endurance import Minute

USAGE = """usage: asr endurance EXP [key=value ...]

Plays the model's test set in a loop into one stream and writes, for every minute of audio, the memory of the process,
the computing time and the errors. Fails where memory grows by more than 5 % after the first minute.

  hours=10                    of audio; takes a few per cent of that
  chunk_size=32 left_context=128 search.method=BEAM endpoint.pause_s=1.2
                              the stream's settings; endpoint=null never ends a segment
  out=FILE                    default: EXP/endurance.json
"""

TOLERANCE = 0.05


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=1)
    config = settings("endurance", arguments, checkpoint=arguments.positional[0])
    import torch

    from asr.bench.endurance import endure, growth, read_utterances
    from asr.checkpoint.model import load_model
    from asr.errors import ConfigError
    from asr.streaming import Recognizer

    torch.set_num_threads(1)
    loaded = load_model(config.checkpoint)
    origin = loaded.metadata.get("origin", {})
    if not origin.get("folder"):
        raise ConfigError("the model does not say what it was tested on, so there is nothing to play to it")
    utterances = read_utterances(Path(origin["folder"]), split=origin["test"][0])
    recognizer = Recognizer(loaded.model, loaded.tokenizer)
    out = Path(config.out) if config.out else loaded.folder / "endurance.json"
    minutes: list[Minute] = []
    for minute in endure(recognizer, utterances, config, minutes=max(round(60 * config.hours), 2)):
        minutes.append(minute)
        if minute.minute in (1, 2, 5, 10, 30) or minute.errors:
            print(_line(minutes), flush=True)
            _write(out, minutes)
    _write(out, minutes)
    grown = growth(minutes)
    verdict = "flat" if grown <= TOLERANCE else "NOT flat"
    print(f"memory grew by {grown:.1%} after the first minute: {verdict} within {TOLERANCE:.0%}; kept in {out}")
    return 0 if grown <= TOLERANCE else 1


def _line(minutes: list[Minute]) -> str:
    """How things stand, of the last hour."""
    last, hour = minutes[-1], minutes[-60:]
    factor = sum(minute.compute_s for minute in hour) / (60 * len(hour))
    words = f", {last.errors.rate:.2%} of {last.errors.reference_words} words wrong" if last.errors else ""
    return (
        f"{last.minute:5d} min  {last.resident_bytes / 2**20:7.1f} MiB resident, real-time factor {factor:.3f}{words}"
    )


def _write(out: Path, minutes: list[Minute]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "minute": minute.minute,
            "resident_bytes": minute.resident_bytes,
            "compute_s": round(minute.compute_s, 3),
            "wer": minute.errors.rate if minute.errors else None,
        }
        for minute in minutes
    ]
    out.write_text(json.dumps(rows), encoding="utf-8")
