"""asr export: ONNX models for deployment, checked against the library and in the real client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from rich.console import Console

    from asr.checkpoint.model import LoadedModel
    from asr.export import ClientReport, ExportConfig, ExportReport

USAGE = """usage: asr export EXP [--verify] [key=value ...]

Writes encoder, decoder and joiner as ONNX, or of a model without a transducer encoder and CTC head in one file, with
tokens.txt, as sherpa-onnx loads them. A graph that disagrees with the library is not written. EXP is a checkpoint, or
the folder of a run. Needs the extra "onnx".

  mode=STREAMING chunk_size=32 left_context=128   50 Hz frames per step, and remembered before (or mode=OFFLINE)
  head=CTC                                        the CTC head of a model that has a transducer too
  quantize=true                                   8-bit twins as well
  out=FOLDER                                      where to
  --verify                                        decode the model's test set in the installed sherpa-onnx, and compare
"""

_WANTED = 0.99  # share of recordings on which client and library must agree


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, flags=("--verify",), at_least=1, at_most=1)
    config = settings("export", arguments, checkpoint=arguments.positional[0])
    from rich.console import Console

    from asr.checkpoint.model import load_model
    from asr.export import export_model

    loaded, console = load_model(config.checkpoint), Console(soft_wrap=True, highlight=False)
    folder = Path(config.out or loaded.folder / f"export-{_kind(config)}")
    with console.status("exporting"):
        report = export_model(loaded.model, loaded.tokenizer, folder, config)
    for graph in report.graphs:
        console.print(f"{graph.path}  {graph.size / 1e6:.1f} MB, differs from the library by {graph.difference:.1e}")
    summary = {
        "folder": str(folder),
        "bytes": sum(graph.size for graph in report.graphs),
        "difference": report.difference,
    }
    agreed = True
    if "--verify" in arguments.flags:
        summary["verified"], agreed = _verify(loaded, report, console)
    (folder / "export.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return 0 if agreed else 1


def _kind(config: ExportConfig) -> str:
    """Transducer and CTC head of one model lie in folders of their own."""
    return config.mode.value if config.head is None else f"{config.head.value}-{config.mode.value}"


def _verify(loaded: LoadedModel, report: ExportReport, console: Console) -> tuple[dict[str, int], bool]:
    """Decode the first test split three ways; says what differs."""
    from asr.data import cuts_path, read_cuts
    from asr.data.loading import load_samples
    from asr.errors import ConfigError
    from asr.export import verify_in_client

    origin = loaded.metadata.get("origin", {})
    if not origin.get("folder"):
        raise ConfigError("the model does not say what it was tested on, so --verify has nothing to decode")
    cuts = list(read_cuts(cuts_path(origin["folder"], origin["test"][0])))
    with console.status(f"decoding {len(cuts)} utterances in sherpa-onnx, in onnxruntime and in the library"):
        found = verify_in_client(loaded.model, loaded.tokenizer, report, [load_samples(cut).numpy() for cut in cuts])
    numbers = _count(found)
    console.print(
        f"{numbers['utterances']} utterances: on the library's features the exported graphs give the library's tokens "
        f"on {numbers['graphs_equal']}; sherpa-onnx, from audio, on {numbers['client_equal']}"
    )
    for cut, row in zip(cuts, found.rows):
        if _tokens(row.client) != _tokens(row.library):
            console.print(f"  {cut.id}: client {_spelt(row.client)!r}, library {_spelt(row.library)!r}", markup=False)
    every = numbers["utterances"]
    return numbers, numbers["graphs_equal"] == every and numbers["client_equal"] >= _WANTED * every


def _count(found: ClientReport) -> dict[str, int]:
    return {
        "utterances": len(found.rows),
        "graphs_equal": sum(_tokens(row.graphs) == _tokens(row.library) for row in found.rows),
        "client_equal": sum(_tokens(row.client) == _tokens(row.library) for row in found.rows),
    }


def _tokens(emitted: Sequence[tuple[str, int]]) -> list[str]:
    return [symbol for symbol, _ in emitted]


def _spelt(emitted: Sequence[tuple[str, int]]) -> str:
    return "".join(_tokens(emitted)).replace("▁", " ").strip()
