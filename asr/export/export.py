"""Write a model as the files a sherpa-onnx client loads."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asr.errors import ExportError
from asr.export.check import check_decoder, check_encoder, check_joiner
from asr.export.config import ExportConfig, ExportMode
from asr.export.extras import require
from asr.export.files import ClientFiles
from asr.export.graphs import quantize, save, trace
from asr.export.lengths import accept_any_length
from asr.export.runtime import Graph
from asr.export.specs import GraphSpec, graph_specs, zipformer_shape
from asr.models.transducer import Transducer
from asr.text.tokenizer import Tokenizer, write_tokens_txt

TOKENS = "tokens.txt"
Check = Callable[[Path, Transducer, ExportConfig], float]
CHECKS: tuple[Check, ...] = (check_encoder, check_decoder, check_joiner)


@dataclass(frozen=True, kw_only=True)
class ExportedGraph:
    """One part of the model, as written."""

    path: Path
    """The file."""
    size: int
    """Bytes."""
    difference: float
    """Largest difference from the library, as a share of each output's peak."""
    quantized_path: Path | None = None
    """The 8-bit twin, where one was asked for."""
    quantized_size: int = 0
    """Its bytes."""

    def file(self, quantized: bool) -> Path:
        """The file, or its 8-bit twin; raises ExportError where there is none."""
        if not quantized:
            return self.path
        if self.quantized_path is None:
            raise ExportError("there are no 8-bit graphs here; export with export.quantize=true")
        return self.quantized_path


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export wrote."""

    config: ExportConfig
    encoder: ExportedGraph
    tokens: Path
    decoder: ExportedGraph | None = None
    """None in a CTC model, whose encoder is all there is."""
    joiner: ExportedGraph | None = None
    """As `decoder`."""

    @property
    def graphs(self) -> list[ExportedGraph]:
        """All graphs, the encoder first."""
        return [graph for graph in (self.encoder, self.decoder, self.joiner) if graph is not None]

    def files(self, *, quantized: bool = False) -> ClientFiles:
        """What a client loads; with `quantized` the 8-bit twins, and the decoder as it is.

        Raises ExportError where no such twins were written.
        """
        return ClientFiles(
            mode=self.config.mode,
            encoder=self.encoder.file(quantized),
            decoder=None if self.decoder is None else self.decoder.path,
            joiner=None if self.joiner is None else self.joiner.file(quantized),
            tokens=self.tokens,
        )

    @property
    def difference(self) -> float:
        """Largest difference of all graphs."""
        return max(graph.difference for graph in self.graphs)


def export_model(
    model: Transducer, tokenizer: Tokenizer, folder: Path, config: ExportConfig | None = None
) -> ExportReport:
    """Write encoder, decoder, joiner and tokens.txt into `folder`, once all of them have proved right.

    Of a CTC head there is one graph, with the encoder in it. Existing files of the same names are replaced, and their
    8-bit twins go where no new ones are asked for; where anything fails, `folder` stays as it was.

    Raises:
        ExportError: the client cannot serve such a model, it lacks the head asked for, a graph disagrees with the
            library, or the tokenizer has another vocabulary than the model.
    """
    config = config or ExportConfig()
    require("onnx", "onnxscript", "onnxruntime")
    if tokenizer.vocab_size != model.config.vocab_size:
        raise ExportError(
            f"the tokenizer has {tokenizer.vocab_size} symbols and the model {model.config.vocab_size}; "
            "export a model with the tokenizer it was trained with"
        )
    # A copy, because a model in training, or on a GPU, must stay there.
    model = copy.deepcopy(model).cpu().float().eval()
    specs = graph_specs(model, config)
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        differences = [
            _write_graph(spec, check, model, config, Path(temporary))
            for spec, check in zip(specs, CHECKS, strict=False)  # a CTC model has the first graph only
        ]
        write_tokens_txt(tokenizer, Path(temporary) / TOKENS)
        _move_all(Path(temporary), folder)
    if not config.quantize:
        for spec in specs:  # twins of the graphs that were there before
            _quantized(folder / f"{spec.stem}.onnx").unlink(missing_ok=True)
    graphs = [_describe(folder, spec, difference, config) for spec, difference in zip(specs, differences, strict=True)]
    parts = dict(zip(("encoder", "decoder", "joiner"), graphs))
    return ExportReport(config=config, tokens=folder / TOKENS, **parts)


def _write_graph(spec: GraphSpec, check: Check, model: Transducer, config: ExportConfig, folder: Path) -> float:
    path = folder / f"{spec.stem}.onnx"
    graph = trace(spec, config.opset)
    if config.mode is ExportMode.OFFLINE and "blocks" in spec.inputs:
        accept_any_length(graph, zipformer_shape(model))
    save(graph, spec.metadata, path)
    difference = check(path, model, config)
    if config.quantize:
        quantized = _quantized(path)
        quantize(path, quantized, list(spec.quantized_ops))
        Graph(quantized)  # loads, or raises
    return difference


def _move_all(source: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        os.replace(path, folder / path.name)


def _quantized(path: Path) -> Path:
    return path.with_name(f"{path.stem}.int8.onnx")


def _describe(folder: Path, spec: GraphSpec, difference: float, config: ExportConfig) -> ExportedGraph:
    path = folder / f"{spec.stem}.onnx"
    graph = ExportedGraph(path=path, size=path.stat().st_size, difference=difference)
    if not config.quantize:
        return graph
    quantized = _quantized(path)
    return ExportedGraph(
        path=path,
        size=graph.size,
        difference=difference,
        quantized_path=quantized,
        quantized_size=quantized.stat().st_size,
    )
