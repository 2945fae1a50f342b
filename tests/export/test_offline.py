"""Whole recordings: graphs with any number of rows and frames, and what sherpa-onnx makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr.export import ExportConfig, ExportMode, export_model, verify_in_client
from asr.export.client import run_client
from asr.export.runtime import Graph
from asr.nn.chunks import ChunkContext
from tests.export.conftest import build_model, noises

pytest.importorskip("onnx")
pytestmark = pytest.mark.slow


def test_any_length(offline_export, model):
    generator = torch.Generator().manual_seed(3)
    graph = Graph(offline_export.encoder.path)
    assert [(name, shape) for name, shape, _ in graph.inputs] == [("x", ["N", "T", 80]), ("x_lens", ["N"])]
    assert [name for name, _, _ in graph.outputs] == ["encoder_out", "encoder_out_lens"]
    assert graph.metadata["model_type"] == "zipformer2"
    for frames in [*range(9, 45), 500, 1203]:
        x = torch.randn(2, frames, 80, generator=generator) * 4 - 7
        lens = torch.tensor([frames, max(9, frames - 5)])
        out, out_lens = graph(x, lens)
        with torch.no_grad():
            ours = model.encode(x, lens, context=ChunkContext())
            expected = model.joiner.encoder_proj(ours.out)
        assert out.shape == expected.shape and out.shape[1] == ((frames - 7) // 2 + 1) // 2
        assert out_lens.tolist() == ours.lens.tolist()
        for row, valid in enumerate(ours.lens.tolist()):
            # So lively a model carries a change of its input by one rounding to 1e-5 of its largest output; the two
            # sides round differently in every layer.
            bound = 3e-4 * expected[row, :valid].abs().max().clamp_min(1.0).item()
            torch.testing.assert_close(out[row, :valid], expected[row, :valid], atol=bound, rtol=0)
    assert graph(torch.zeros(1, 500, 80), torch.tensor([500]))[0].shape[1] == 123


def test_sherpa_onnx_agrees_together_and_one_by_one(offline_export, model, tokenizer):
    pytest.importorskip("sherpa_onnx")
    recordings = noises(0.7, 2.9, 1.6)
    report = verify_in_client(model, tokenizer, offline_export, recordings)
    assert report.agree and all(len(row.client) > 3 for row in report.rows)
    assert all(np.isnan(row.feature_difference) for row in report.rows)
    alone = run_client(offline_export.files(), recordings, batch_size=1)
    assert [list(zip(answer.tokens, answer.frames)) for answer in alone] == [row.client for row in report.rows]
    assert all(answer.tokens for answer in run_client(offline_export.files(quantized=True), recordings))


def test_a_model_that_cannot_stream(tokenizer, tmp_path):
    model = build_model(causal=False, front_end=16, context_size=1)
    report = export_model(model, tokenizer, tmp_path / "out", ExportConfig(mode=ExportMode.OFFLINE))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "decoder.onnx",
        "encoder.onnx",
        "joiner.onnx",
        "tokens.txt",
    ]
    assert verify_in_client(model, tokenizer, report, noises(1.3)).agree
