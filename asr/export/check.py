"""Does a written graph compute what the library computes, and say what it is?

The graphs run in onnxruntime, over several steps or lengths, beside the library itself (not the wrappers that were
traced), on random input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.errors import ExportError
from asr.export.config import ExportConfig, ExportMode
from asr.export.heads import OutputHead, output_head
from asr.export.runtime import Graph
from asr.export.specs import step_frames, zipformer_shape
from asr.export.wrappers import to_client_states
from asr.models.transducer import Transducer
from asr.models.zipformer import Zipformer
from asr.nn.chunks import ChunkContext
from asr.tensors import tree_map

STEPS = 4
BATCHES = (1, 3)
"""Neither is the size of the traced example."""
OFFLINE_FRAMES = (9, 10, 66, 101, 163)
_FLOOR = 1e-3
"""Peaks below this count as this much: an output that is zero may differ by rounding."""


class Comparison:
    """Collects the largest difference between a graph and the library, as a share of each output's peak."""

    def __init__(self, graph: Graph, tolerance: float):
        self.graph, self.tolerance, self.largest = graph, tolerance, 0.0

    def add(self, name: str, ours: Tensor, theirs: Tensor, where: str) -> None:
        """Compare one output; raises ExportError beyond the tolerance, and for another shape or type."""
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            self._refuse(name, f"is {_kind(theirs)}, not {_kind(ours)}", where)
        if ours.numel() == 0:
            return
        peak = max(float(ours.abs().max()), _FLOOR)
        difference = float((ours.double() - theirs.double()).abs().max()) / peak
        if not difference <= self.tolerance:  # not finite counts as too far
            limit = f"export.tolerance={self.tolerance:g}"
            self._refuse(name, f"differs from the library by {difference:.2g} of its peak (allowed: {limit})", where)
        self.largest = max(self.largest, difference)

    def _refuse(self, name: str, what: str, where: str) -> None:
        raise ExportError(
            f"{self.graph.name}: {name} {what}, {where}; nothing was written. The graph is wrong: "
            "try another export.opset, and please report it"
        )


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


@torch.no_grad()
def check_encoder(path: Path, model: Transducer, config: ExportConfig) -> float:
    """Compare encoder and head with `model`, in eval mode; returns the largest difference as a share of the peak.

    Raises ExportError where they disagree.
    """
    graph = Graph(path)
    comparison = Comparison(graph, config.tolerance)
    head = output_head(model, config)
    generator = torch.Generator().manual_seed(0)
    if config.mode is ExportMode.STREAMING:
        check_streaming_metadata(graph, model, head.width)
        for batch in BATCHES:
            _compare_steps(graph, model, head, config, comparison, batch, generator)
    else:
        for frames in OFFLINE_FRAMES:
            _compare_utterances(graph, model, head, comparison, frames, generator)
    return comparison.largest


def _compare_steps(
    graph: Graph,
    model: Transducer,
    head: OutputHead,
    config: ExportConfig,
    comparison: Comparison,
    batch: int,
    generator: torch.Generator,
) -> None:
    context = config.context
    frames = step_frames(config.chunk_size)
    state = model.init_state(batch, context)
    fed = [value.clone() for value in to_client_states(state)]
    lens = torch.full((batch,), frames, dtype=torch.int64)
    for step in range(STEPS):
        if step == STEPS // 2 and batch > 1:  # one stream ends, another takes its place: rows have their own clocks
            state, fed = _restart_first_row(state, model.init_state(batch, context))
        x = random_features(model, batch, frames, generator)
        ours = model.encode(x, lens, context=context, state=state)
        out, *fed = graph(x, *fed)
        where = f"step {step} of a batch of {batch}"
        comparison.add(head.output, head.module(ours.out), out, where)
        for (name, _, _), expected, value in zip(graph.outputs[1:], to_client_states(ours.state), fed, strict=True):
            comparison.add(name, expected, value, where)
        state = ours.state


def _restart_first_row(state: Any, empty: Any) -> tuple[Any, list[Tensor]]:
    state = tree_map(lambda old, new: torch.cat([new[:1], old[1:]]), state, empty)
    return state, [value.contiguous() for value in to_client_states(state)]


def _compare_utterances(
    graph: Graph,
    model: Transducer,
    head: OutputHead,
    comparison: Comparison,
    frames: int,
    generator: torch.Generator,
) -> None:
    for batch in BATCHES:
        x = random_features(model, batch, frames, generator)
        shorter = torch.linspace(frames, max(frames // 2, 9), batch).long()
        ours = model.encode(x, shorter, context=ChunkContext())
        out, lens = graph(x, shorter)
        where = f"{batch} utterances of {frames} frames"
        comparison.add(head.lens, ours.lens, lens, where)
        expected = head.module(ours.out)
        if out.shape != expected.shape:
            comparison.add(head.output, expected, out, where)
        for row, valid in enumerate(lens.tolist()):
            comparison.add(head.output, expected[row, :valid], out[row, :valid], f"{where}, row {row}")


def random_features(model: Transducer, batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """Noise with the mean and deviation the model was made for, (batch, frames, F)."""
    norm = model.feature_norm
    noise = torch.randn(batch, frames, model.config.encoder.feature_dim, generator=generator)
    return norm.mean + norm.deviation * noise


@torch.no_grad()
def check_decoder(path: Path, model: Transducer, config: ExportConfig) -> float:
    """Compare a decoder with `model`, ids below zero included; as `check_encoder`."""
    graph = Graph(path)
    comparison = Comparison(graph, config.tolerance)
    shape = model.config
    _require_metadata(graph, {"context_size": shape.context_size, "vocab_size": shape.vocab_size})
    generator = torch.Generator().manual_seed(0)
    for batch in BATCHES:
        start = model.predictor.start_context(batch)
        ids = torch.randint(-1, shape.vocab_size, (batch, shape.context_size), generator=generator)
        for y, where in ((start, "before the first token"), (ids, f"on {batch} random contexts")):
            expected = model.joiner.predictor_proj(model.predictor(y, pad_left=False)).squeeze(1)
            comparison.add("decoder_out", expected, graph(y)[0], where)
    return comparison.largest


@torch.no_grad()
def check_joiner(path: Path, model: Transducer, config: ExportConfig) -> float:
    """Compare a joiner with `model`; as `check_encoder`."""
    graph = Graph(path)
    comparison = Comparison(graph, config.tolerance)
    _require_metadata(graph, {"joiner_dim": model.config.joiner_dim})
    generator = torch.Generator().manual_seed(0)
    for batch in BATCHES:
        pair = torch.randn(2, batch, model.config.joiner_dim, generator=generator)
        expected = model.joiner.output_linear((pair[0] + pair[1]).tanh())
        comparison.add("logit", expected, graph(*pair)[0], f"a batch of {batch}")
    return comparison.largest


def check_streaming_metadata(graph: Graph, model: Transducer, width: int) -> None:
    """Raise ExportError unless the graph has the shapes that a client works out from its metadata, and `width`."""
    numbers = {key: _integers(value) for key, value in graph.metadata.items()}
    stacks = len(zipformer_shape(model).num_layers)
    for key in _PER_STACK:
        if len(numbers.get(key, [])) != stacks:
            raise ExportError(f"{graph.name}: metadata {key}={graph.metadata.get(key)} must have {stacks} entries")
    step, chunk = numbers["T"][0], numbers["decode_chunk_len"][0]
    if step != chunk + Zipformer.lookahead:
        raise ExportError(f"{graph.name}: metadata T={step} must be decode_chunk_len={chunk} + {Zipformer.lookahead}")
    wanted = [["N", step, model.config.encoder.feature_dim], *client_state_shapes(numbers)]
    returned = [["N", chunk // 4, width], *wanted[1:]]
    for tensors, shapes in ((graph.inputs, wanted), (graph.outputs, returned)):
        for (name, found, _), expected in zip(tensors, shapes, strict=True):
            if found != expected:
                raise ExportError(f"{graph.name}: {name} is {found}, but its metadata says {expected}")


_PER_STACK = (
    "num_encoder_layers",
    "encoder_dims",
    "cnn_module_kernels",
    "left_context_len",
    "query_head_dims",
    "value_head_dims",
    "num_heads",
)


def client_state_shapes(numbers: dict[str, list[int]]) -> list[list[int | str]]:
    """Shapes of all states as the client makes them, layer by layer, from its metadata."""
    shapes: list[list[int | str]] = []
    for layers, dim, kernel, left, query, value, heads in zip(*(numbers[key] for key in _PER_STACK), strict=True):
        values: list[int | str] = [left, "N", value * heads]
        conv: list[int | str] = ["N", dim, kernel // 2]
        layer = [[left, "N", query * heads], [1, "N", left, 3 * dim // 4], values, values, conv, conv]
        shapes += layer * layers
    return [*shapes, ["N", 128, 3, 19], ["N"]]


def _integers(text: str) -> list[int]:
    parts = text.split(",")
    return [int(part) for part in parts] if all(part.isdigit() for part in parts) else []


def _require_metadata(graph: Graph, wanted: dict[str, int]) -> None:
    for key, value in wanted.items():
        if graph.metadata.get(key) != str(value):
            raise ExportError(f"{graph.name}: metadata {key}={graph.metadata.get(key)}, but the model has {value}")
