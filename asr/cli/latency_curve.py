"""asr latency-curve: what waiting buys, on one checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from lhotse import CutSet

    from asr.checkpoint.model import LoadedModel
    from asr.config.decode_config import LatencyCurveConfig
    from asr.evaluation import Report

USAGE = """usage: asr latency-curve EXP [key=value ...]

Decodes a test set at many chunk sizes and left contexts and draws errors against latency. EXP is a checkpoint, or the
folder of a run. Points that were measured before are kept; the same command goes on where a stopped one left off.

  chunk_sizes=[8,16,32,64,null] left_contexts=[64,128,256]
                            50 Hz frames; null hears whole utterances
  search.method=BEAM        and whatever else `asr decode` takes
  data.splits=[dev]         the test set; the first one that is named counts
  out=FOLDER                latency-curve.png, .md and .json, and every point; default: EXP/latency-curve
"""

SWEPT = ("chunk_size", "left_context", "chunk_sizes", "left_contexts", "out", "num_threads")


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=1)
    config = settings("latency_curve", arguments, checkpoint=arguments.positional[0])
    import torch
    from rich.console import Console

    from asr.checkpoint.model import load_model
    from asr.cli.test_sets import test_sets
    from asr.evaluation.curve import draw_curve, markdown_table

    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    loaded = load_model(config.checkpoint)
    out = Path(config.out) if config.out else loaded.folder / "latency-curve"
    sets = test_sets(config.data, loaded.metadata.get("origin", {}), scratch=out / "lists")
    name, cuts = next(iter(sets.items()))
    _forget_others(out / "points", config, loaded)
    reports = list(_points(loaded, config, name, cuts, out / "points"))
    table = markdown_table(reports)
    (out / "latency-curve.md").write_text(table, encoding="utf-8")
    everything = [json.loads(report.to_json()) for report in reports]
    (out / "latency-curve.json").write_text(json.dumps(everything, indent=1, ensure_ascii=False), encoding="utf-8")
    draw_curve(reports, out / "latency-curve.png", title=f"{loaded.folder.name}, {name}")
    print(table, end="")
    Console(stderr=True).print(f"picture and tables: {out}", highlight=False)
    return 0


def _points(loaded: LoadedModel, config: LatencyCurveConfig, name: str, cuts: CutSet, out: Path) -> Iterator[Report]:
    """Every point, measured now or before, told on stderr as it comes."""
    from rich.console import Console

    from asr.cli.decode import beside_search, decode_set, report_path
    from asr.evaluation import load_report

    # A model that cannot stream has one point, however the sweep is set.
    grid = config.grid() if loaded.model.encoder.supports_step else [(None, None)]
    console = Console(stderr=True)
    for number, (chunk_size, left_context) in enumerate(grid, start=1):
        lookahead = 0 if chunk_size is None else config.lookahead
        point = replace(config, chunk_size=chunk_size, left_context=left_context, lookahead=lookahead)
        beside = beside_search(loaded, point)
        path = report_path(out, name, point.search, chunk_size, left_context, lookahead, beside=beside)
        kept = path.exists()
        report = load_report(path) if kept else decode_set(loaded, point, name, cuts, out)
        where = "whole utterances" if chunk_size is None else f"chunk {chunk_size}, left {left_context}"
        done = ", kept" if kept else ""
        console.print(f"{number}/{len(grid)} {where}: {100 * report.counts.rate:.2f} %{done}", highlight=False)
        yield report


def _forget_others(folder: Path, config: LatencyCurveConfig, loaded: LoadedModel) -> None:
    """Points of other weights, or of other settings than those that are swept, are measured anew."""
    file = loaded.path.stat()
    made_with = {key: value for key, value in asdict(config).items() if key not in SWEPT}
    made_with["weights"] = {"bytes": file.st_size, "changed": file.st_mtime_ns}
    text, note = json.dumps(made_with, indent=1, default=str), folder / "made-with.txt"
    if not note.exists() or note.read_text(encoding="utf-8") != text:
        for old in folder.glob("*.json"):
            old.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(text, encoding="utf-8")
