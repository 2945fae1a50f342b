"""One step of a live stream: the library, and exported graphs in onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from asr.bench.result import Row
from asr.bench.timing import timed
from asr.export.config import ExportConfig
from asr.export.graphs import quantize, save, trace
from asr.export.runtime import Graph
from asr.export.specs import graph_specs, step_frames
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig

CONFIG = ExportConfig(chunk_size=16, left_context=128)
STEP_S = 0.02 * CONFIG.chunk_size
STEPS = 150
WARM_UP = 10


def run() -> list[Row]:
    """The medium causal encoder, 320 ms at a time."""
    torch.manual_seed(1)
    model = Transducer(TransducerConfig(encoder=ZipformerConfig(causal=True))).eval()
    rows = [
        _row("streaming step of 320 ms, library, batch 1, real-time factor", _library(model, 1), must=0.20, aim=0.12),
        _row("the same per stream at batch 8", _library(model, 8), streams=8, must=0.05, aim=0.03),
    ]
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "encoder.onnx", Path(folder) / "encoder.int8.onnx"
        spec = graph_specs(model, CONFIG)[0]
        save(trace(spec, CONFIG.opset), spec.metadata, plain)
        quantize(plain, small, list(spec.quantized_ops))
        rows.append(_row("the same, exported, in onnxruntime, float32", _graph(plain), must=0.12, aim=0.09))
        rows.append(_row("the same, exported, in onnxruntime, 8-bit weights", _graph(small), must=0.06, aim=0.045))
    return rows


def _row(work: str, step: Callable[[], object], *, streams: int = 1, must: float, aim: float) -> Row:
    times = np.asarray([timed(step) for _ in range(WARM_UP + STEPS)])[WARM_UP:] / (STEP_S * streams)
    low, median, high, p95 = np.percentile(times, [25, 50, 75, 95]).tolist()
    return Row(
        work=work,
        value=p95,
        must=must,
        aim=aim,
        spread=(low, high),
        note=f"95th percentile of {STEPS} steps; median {median:.3f}",
    )


def _library(model: Transducer, batch: int) -> Callable[[], object]:
    """Encoder steps that carry their state on."""
    x = torch.randn(batch, step_frames(CONFIG.chunk_size), 80)
    lens = torch.full((batch,), x.shape[1])
    state = model.init_state(batch, CONFIG.context)

    @torch.inference_mode()
    def step() -> None:
        nonlocal state
        state = model.encode(x, lens, context=CONFIG.context, state=state).state

    return step


def _graph(path: Path) -> Callable[[], object]:
    graph = Graph(path)
    x = torch.randn([1, *graph.inputs[0][1][1:]])
    state = graph.empty_states(1)

    def step() -> None:
        nonlocal state
        _, *state = graph(x, *state)

    return step
