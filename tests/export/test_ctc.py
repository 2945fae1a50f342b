"""The encoder with its CTC head in one file: names, numbers, and what sherpa-onnx makes of it."""

from __future__ import annotations

import pytest
import torch

from asr.errors import ExportError
from asr.export import ExportConfig, ExportHead, ExportMode, export_model, graphs, specs, verify_in_client
from asr.export.check import check_encoder
from asr.export.client import run_client, with_tail
from asr.export.runtime import Graph
from asr.features import Fbank
from asr.nn.chunks import ChunkContext
from tests.export.conftest import VOCAB_SIZE, build_model, noises

pytest.importorskip("onnx")
STREAMING = ExportConfig(chunk_size=8, left_context=16, quantize=True)


def build_ctc_model(seed: int = 0):
    return build_model(seed=seed, transducer=False, ctc_head=True)


@pytest.fixture(scope="module")
def ctc_model():
    return build_ctc_model()


@pytest.fixture(scope="module")
def streaming_ctc(ctc_model, tokenizer, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "_has_dynamo", lambda: False)  # a fifth of the time; the slow tests take the new exporter
        return export_model(ctc_model, tokenizer, tmp_path_factory.mktemp("ctc") / "model", STREAMING)


def test_one_file_and_its_twin(streaming_ctc):
    folder = streaming_ctc.encoder.path.parent
    names = ["ctc-chunk-8-left-16.int8.onnx", "ctc-chunk-8-left-16.onnx", "tokens.txt"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert streaming_ctc.graphs == [streaming_ctc.encoder]
    assert 0 < streaming_ctc.difference <= 1e-4
    assert streaming_ctc.encoder.quantized_size < streaming_ctc.encoder.size


def test_streams_like_the_encoder_and_ends_in_log_probs(streaming_ctc, ctc_model):
    graph = Graph(streaming_ctc.encoder.path)
    names = [name for name, _, _ in graph.inputs]
    assert names == ["x", *specs.state_names(2)]
    assert [name for name, _, _ in graph.outputs] == ["log_probs", *(f"new_{name}" for name in names[1:])]
    assert graph.outputs[0] == ("log_probs", ["N", 4, VOCAB_SIZE], "tensor(float)")
    assert graph.metadata == specs.streaming_metadata(ctc_model, STREAMING)
    assert graph.metadata.items() <= Graph(streaming_ctc.encoder.quantized_path).metadata.items()


def test_steps_of_the_graph_are_one_long_step_of_the_library(streaming_ctc, ctc_model):
    graph = Graph(streaming_ctc.encoder.path)
    x = torch.randn(3, 16 * 5 + 13, 80, generator=torch.Generator().manual_seed(4)) * 4 - 7
    states, steps = graph.empty_states(3), []
    for start in range(0, 80, 16):
        log_probs, *states = graph(x[:, start : start + 29], *states)
        steps.append(log_probs)
    context = STREAMING.context
    with torch.no_grad():
        state = ctc_model.init_state(3, context)
        ours = ctc_model.encode(x, torch.tensor([93] * 3), context=context, state=state)
        expected = ctc_model.ctc_head(ours.out)
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, atol=1e-3, rtol=1e-3)


def test_the_check_notices_another_model(streaming_ctc):
    with pytest.raises(ExportError, match="log_probs differs from the library"):
        check_encoder(streaming_ctc.encoder.path, build_ctc_model(seed=1), STREAMING)


def test_sherpa_onnx_agrees_together_and_one_by_one(streaming_ctc, ctc_model, tokenizer):
    pytest.importorskip("sherpa_onnx")
    recordings = noises(0.7, 2.9, 1.6)
    report = verify_in_client(ctc_model, tokenizer, streaming_ctc, recordings)
    assert report.agree and all(len(row.client) > 3 for row in report.rows)
    padded = [with_tail(samples, STREAMING) for samples in recordings]
    alone = run_client(streaming_ctc.files(), padded, batch_size=1)
    assert [list(zip(answer.tokens, answer.frames)) for answer in alone] == [row.client for row in report.rows]
    assert all(answer.tokens for answer in run_client(streaming_ctc.files(quantized=True), padded))


def test_recordings_hold_runs_across_steps(ctc_model):
    """Which a search must not take for two tokens; without them the test above would not notice."""
    (samples,) = noises(2.9)
    features = Fbank()(torch.from_numpy(samples)[None], torch.tensor([len(samples)])).features
    with torch.no_grad():
        out = ctc_model.encode(features, torch.tensor([features.shape[1]]), context=STREAMING.context).out
        best = ctc_model.ctc_head(out).argmax(dim=-1)[0]
    first = best[4::4]
    assert ((best[3::4][: len(first)] == first) & (first != 0)).any()


@pytest.mark.slow
def test_whole_recordings(ctc_model, tokenizer, tmp_path):
    config = ExportConfig(mode=ExportMode.OFFLINE, quantize=True)
    report = export_model(ctc_model, tokenizer, tmp_path / "out", config)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.int8.onnx", "model.onnx", "tokens.txt"]
    graph = Graph(report.encoder.path)
    assert [(name, shape) for name, shape, _ in graph.inputs] == [("x", ["N", "T", 80]), ("x_lens", ["N"])]
    assert [(name, shape[-1]) for name, shape, _ in graph.outputs] == [
        ("log_probs", VOCAB_SIZE),
        ("log_probs_len", "N"),
    ]
    assert graph.metadata["model_type"] == "zipformer2_ctc"
    x, lens = torch.randn(2, 131, 80, generator=torch.Generator().manual_seed(5)) * 4 - 7, torch.tensor([131, 90])
    log_probs, out_lens = graph(x, lens)
    with torch.no_grad():
        ours = ctc_model.encode(x, lens, context=ChunkContext())
    assert out_lens.tolist() == ours.lens.tolist()
    for row, valid in enumerate(ours.lens.tolist()):
        expected = ctc_model.ctc_head(ours.out)[row, :valid].detach()
        torch.testing.assert_close(log_probs[row, :valid], expected, atol=1e-3, rtol=1e-3)
    pytest.importorskip("sherpa_onnx")
    found = verify_in_client(ctc_model, tokenizer, report, noises(0.7, 2.9, 1.6))
    assert found.agree and all(len(row.client) > 3 for row in found.rows)
    assert all(answer.tokens for answer in run_client(report.files(quantized=True), noises(1.5)))


@pytest.mark.slow
def test_the_ctc_head_of_a_model_with_both(tokenizer, tmp_path):
    pytest.importorskip("sherpa_onnx")
    model = build_model(ctc_head=True)
    config = ExportConfig(head=ExportHead.CTC, chunk_size=8, left_context=16)
    report = export_model(model, tokenizer, tmp_path / "out", config)
    assert report.decoder is None and Graph(report.encoder.path).outputs[0][1] == ["N", 4, VOCAB_SIZE]
    found = verify_in_client(model, tokenizer, report, noises(0.7, 2.9, 1.6))
    assert found.agree and all(len(row.client) > 3 for row in found.rows)


@pytest.mark.parametrize(
    "heads, wanted, stems",
    [
        ({}, None, ["encoder-chunk-8-left-16", "decoder", "joiner"]),
        ({"ctc_head": True}, None, ["encoder-chunk-8-left-16", "decoder", "joiner"]),
        ({"ctc_head": True}, ExportHead.CTC, ["ctc-chunk-8-left-16"]),
        ({"ctc_head": True, "transducer": False}, None, ["ctc-chunk-8-left-16"]),
    ],
)
def test_the_transducer_goes_first(heads, wanted, stems):
    config = ExportConfig(head=wanted, chunk_size=8, left_context=16)
    assert [spec.stem for spec in specs.graph_specs(build_model(**heads), config)] == stems


@pytest.mark.parametrize(
    "heads, wanted, advice",
    [
        ({}, ExportHead.CTC, "export.head=CTC, .* use TRANSDUCER"),
        ({"ctc_head": True, "transducer": False}, ExportHead.TRANSDUCER, "export.head=TRANSDUCER, .* use CTC"),
    ],
)
def test_a_head_that_is_not_there(heads, wanted, advice):
    with pytest.raises(ExportError, match=advice):
        specs.graph_specs(build_model(**heads), ExportConfig(head=wanted, chunk_size=8, left_context=16))
