"""asr export: ONNX models for deployment, checked against the library and in the real client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    import numpy as np
    from lhotse.cut import Cut
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
  --verify                                        decode the model's test set in the installed sherpa-onnx, and compare;
                                                  of what 8-bit twins say, half must be the same
"""

_WANTED = 0.99  # share of recordings on which client and library must agree
_WANTED_OF_TWINS = 0.5  # share of tokens: 8 bits change some, and a twin that is broken has hardly any right


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
        if graph.quantized_path:
            console.print(f"{graph.quantized_path}  {graph.quantized_size / 1e6:.1f} MB")
    summary: dict[str, Any] = {
        "folder": str(folder),
        "bytes": sum(graph.size for graph in report.graphs),
        "difference": report.difference,
    }
    agreed = True
    if "--verify" in arguments.flags:
        verified, agreed = _verify(loaded, report, console)
        summary |= verified
    (folder / "export.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return 0 if agreed else 1


def _kind(config: ExportConfig) -> str:
    """Transducer and CTC head of one model lie in folders of their own."""
    return config.mode.value if config.head is None else f"{config.head.value}-{config.mode.value}"


def _verify(loaded: LoadedModel, report: ExportReport, console: Console) -> tuple[dict[str, Any], bool]:
    """Decode the first test split three ways, and with 8-bit twins again: what was counted, and whether it will do."""
    from asr.data.loading import load_samples

    cuts = _test_cuts(loaded)
    recordings = [load_samples(cut).numpy() for cut in cuts]
    numbers, found = _decode(loaded, report, recordings, console, quantized=False)
    for cut, row in zip(cuts, found.rows):
        if _tokens(row.client) != _tokens(row.library):
            console.print(f"  {cut.id}: client {_spelt(row.client)!r}, library {_spelt(row.library)!r}", markup=False)
    every = numbers["utterances"]
    agreed = numbers["graphs_equal"] == every and numbers["client_equal"] >= _WANTED * every
    if not report.config.quantize:
        return {"verified": numbers}, agreed
    twins, _ = _decode(loaded, report, recordings, console, quantized=True)
    return {"verified": numbers, "verified_8_bit": twins}, agreed and twins["agreement"] >= _WANTED_OF_TWINS


def _test_cuts(loaded: LoadedModel) -> list[Cut]:
    """The first test split of the model's recipe."""
    from asr.data import cuts_path, read_cuts
    from asr.errors import ConfigError

    origin = loaded.metadata.get("origin", {})
    if not origin.get("folder"):
        raise ConfigError("the model does not say what it was tested on, so --verify has nothing to decode")
    return list(read_cuts(cuts_path(origin["folder"], origin["test"][0])))


def _decode(
    loaded: LoadedModel, report: ExportReport, recordings: Sequence[np.ndarray], console: Console, *, quantized: bool
) -> tuple[dict[str, float], ClientReport]:
    """Decode samples, (N,) each at 16 kHz, with the floats or their 8-bit twins; prints how often they agree."""
    from asr.export import verify_in_client

    with console.status(f"decoding {len(recordings)} utterances in sherpa-onnx, in onnxruntime and in the library"):
        found = verify_in_client(loaded.model, loaded.tokenizer, report, recordings, quantized=quantized)
    numbers = _count(found)
    console.print(
        f"{numbers['utterances']} utterances: on the library's features the {'8-bit' if quantized else 'exported'} "
        f"graphs give the library's tokens on {numbers['graphs_equal']}; sherpa-onnx, from audio, on "
        f"{numbers['client_equal']}, and {100 * numbers['agreement']:.1f} % of all tokens"
    )
    return numbers, found


def _count(found: ClientReport) -> dict[str, float]:
    return {
        "utterances": len(found.rows),
        "graphs_equal": sum(_tokens(row.graphs) == _tokens(row.library) for row in found.rows),
        "client_equal": sum(_tokens(row.client) == _tokens(row.library) for row in found.rows),
        "agreement": found.agreement,
    }


def _tokens(emitted: Sequence[tuple[str, int]]) -> list[str]:
    return [symbol for symbol, _ in emitted]


def _spelt(emitted: Sequence[tuple[str, int]]) -> str:
    return "".join(_tokens(emitted)).replace("▁", " ").strip()
