"""One export of a small model, from file names to what sherpa-onnx makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr.decoding import SearchConfig
from asr.decoding.greedy import GreedySearch
from asr.errors import ExportError
from asr.export import verify_in_client
from asr.export.check import check_decoder, check_encoder, check_joiner, check_streaming_metadata, client_state_shapes
from asr.export.client import run_client, with_tail
from asr.export.greedy import GraphSearch, num_steps
from asr.export.runtime import Graph
from asr.features import Fbank
from tests.export.conftest import VOCAB_SIZE, build_model, noises

onnx = pytest.importorskip("onnx")


def test_writes_the_promised_files(streaming_export):
    folder = streaming_export.encoder.path.parent
    stems = ["decoder", "encoder-chunk-8-left-16", "joiner"]
    expected = sorted([f"{stem}{kind}.onnx" for stem in stems for kind in ("", ".int8")] + ["tokens.txt"])
    assert sorted(path.name for path in folder.iterdir()) == expected
    assert [path.name for path in folder.parent.iterdir()] == ["model"], "the temporary folder stayed behind"
    assert 0 < streaming_export.difference <= 1e-4
    assert streaming_export.encoder.size == streaming_export.encoder.path.stat().st_size
    assert streaming_export.encoder.quantized_size < streaming_export.encoder.size


def test_files_tell_nothing_of_where_they_were_made(streaming_export):
    for path in streaming_export.encoder.path.parent.glob("*.onnx"):
        assert b".py" not in path.read_bytes(), f"{path.name} holds source paths"


def test_names_and_order_are_the_clients(streaming_export):
    graph = Graph(streaming_export.encoder.path)
    kinds = ["cached_key", "cached_nonlin_attn", "cached_val1", "cached_val2", "cached_conv1", "cached_conv2"]
    states = [f"{kind}_{layer}" for layer in range(2) for kind in kinds] + ["embed_states", "processed_lens"]
    assert [name for name, _, _ in graph.inputs] == ["x", *states]
    assert [name for name, _, _ in graph.outputs] == ["encoder_out", *(f"new_{name}" for name in states)]
    assert [kind for _, _, kind in graph.inputs] == ["tensor(float)"] * 14 + ["tensor(int64)"]
    assert graph.inputs[0][1] == ["N", 29, 80]
    assert graph.outputs[0][1] == ["N", 4, 12]
    decoder, joiner = Graph(streaming_export.decoder.path), Graph(streaming_export.joiner.path)
    assert (decoder.inputs, decoder.outputs) == (
        [("y", ["N", 2], "tensor(int64)")],
        [("decoder_out", ["N", 12], "tensor(float)")],
    )
    assert [name for name, _, _ in joiner.inputs] == ["encoder_out", "decoder_out"]
    assert joiner.outputs == [("logit", ["N", VOCAB_SIZE], "tensor(float)")]


def test_metadata_and_tokens(streaming_export, tokenizer):
    encoder = Graph(streaming_export.encoder.path).metadata
    wanted = {
        "model_type": "zipformer2",
        "T": "29",
        "decode_chunk_len": "16",
        "num_encoder_layers": "1,1",
        "encoder_dims": "16,24",
        "cnn_module_kernels": "7,5",
        "left_context_len": "16,8",
        "query_head_dims": "4,4",
        "value_head_dims": "6,6",
        "num_heads": "2,4",
    }
    assert wanted.items() <= encoder.items()
    assert Graph(streaming_export.decoder.path).metadata == {"context_size": "2", "vocab_size": str(VOCAB_SIZE)}
    assert Graph(streaming_export.joiner.path).metadata == {"joiner_dim": "12"}
    for graph in (streaming_export.encoder, streaming_export.decoder, streaming_export.joiner):
        assert Graph(graph.path).metadata.items() <= Graph(graph.quantized_path).metadata.items()
    lines = streaming_export.tokens.read_text(encoding="utf-8").splitlines()
    assert lines == [f"{symbol} {index}" for index, symbol in enumerate(tokenizer.symbols)]


def test_states_that_the_client_makes_by_itself():
    shapes = client_state_shapes(
        {
            "num_encoder_layers": [2],
            "encoder_dims": [192],
            "cnn_module_kernels": [31],
            "left_context_len": [64],
            "query_head_dims": [32],
            "value_head_dims": [12],
            "num_heads": [4],
        }
    )
    layer = [[64, "N", 128], [1, "N", 64, 144], [64, "N", 48], [64, "N", 48], ["N", 192, 15], ["N", 192, 15]]
    assert shapes == [*layer, *layer, ["N", 128, 3, 19], ["N"]]


def test_metadata_that_contradicts_the_graph_is_refused(streaming_export, model, tmp_path):
    for key, value, complaint in (
        ("left_context_len", "16,16", "cached_key_1"),
        ("num_heads", "2", "2 entries"),
        ("T", "30", "decode_chunk_len"),
        ("cnn_module_kernels", "7,7", "cached_conv1_1"),
    ):
        path = tmp_path / "encoder.onnx"
        _with_metadata(streaming_export.encoder.path, path, key, value)
        with pytest.raises(ExportError, match=complaint):
            check_streaming_metadata(Graph(path), model, model.config.joiner_dim)


def _with_metadata(source, target, key: str, value: str | None) -> None:
    """Copy a graph with one entry changed, or left out."""
    proto = onnx.load(source)
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    del proto.metadata_props[:]
    entries.pop(key)
    onnx.helper.set_model_props(proto, entries if value is None else {**entries, key: value})
    onnx.save(proto, target)


def test_the_check_notices_another_model(streaming_export, model):
    other = build_model(seed=1)
    config = streaming_export.config
    check_encoder(streaming_export.encoder.path, model, config)
    for check, graph in (
        (check_encoder, streaming_export.encoder),
        (check_decoder, streaming_export.decoder),
        (check_joiner, streaming_export.joiner),
    ):
        with pytest.raises(ExportError, match="differs from the library"):
            check(graph.path, other, config)


def test_decoder_takes_nothing_for_a_zero_embedding(streaming_export, model):
    decoder = Graph(streaming_export.decoder.path)
    with torch.no_grad():
        bare = model.predictor.embedding.weight
        embedded = torch.stack([torch.zeros(16), bare[5]])
        out = torch.relu(model.predictor.conv(embedded.t()[None]))[0, :, 0]
        expected = model.joiner.predictor_proj(out)
    torch.testing.assert_close(decoder(torch.tensor([[-1, 5]]))[0][0], expected, atol=1e-5, rtol=1e-5)
    last_row = decoder(torch.tensor([[VOCAB_SIZE - 1, 5]]))[0][0]
    assert not torch.allclose(last_row, expected, atol=1e-2)


def test_rows_of_a_batch_do_not_meet(streaming_export, model):
    graph = Graph(streaming_export.encoder.path)
    x = torch.randn(3, 29, 80) * 4 - 7
    first = graph(x, *graph.empty_states(3))
    second = graph(x.flip(0), *first[1:])
    for row in range(3):
        states = [
            value[:, row : row + 1] if shape[1:2] == ["N"] else value[row : row + 1]
            for value, (_, shape, _) in zip(first[1:], graph.inputs[1:])
        ]
        alone = graph(x.flip(0)[row : row + 1], *states)[0]
        torch.testing.assert_close(alone[0], second[0][row], atol=1e-5, rtol=1e-4)


def test_greedy_over_graphs_says_what_the_library_says(streaming_export, model):
    (samples,) = noises(3.0)
    features = Fbank()(torch.from_numpy(samples)[None], torch.tensor([len(samples)])).features[0]
    steps = num_steps(len(features), 29, 16)
    with torch.no_grad():
        context = streaming_export.config.context
        x = features[None, : 16 * steps + 13]
        out = model.encode(x, torch.tensor([x.shape[1]]), context=context, state=model.init_state(1, context))
    search = GreedySearch(model, SearchConfig())
    expected = search.finish(search.advance(out.out, out.lens, search.init(1)))[0]
    found = GraphSearch(streaming_export.files())(features)
    assert len(expected.tokens) > 5
    assert (found.tokens, found.frames) == (expected.tokens, expected.timestamps)


@pytest.mark.parametrize("frames, steps", [(0, 0), (45, 0), (46, 1), (77, 1), (78, 2)])
def test_the_client_waits_for_one_frame_more_than_a_step_reads(frames, steps):
    assert num_steps(frames, 45, 32) == steps


def test_sherpa_onnx_agrees_together_and_one_by_one(streaming_export, model, tokenizer):
    pytest.importorskip("sherpa_onnx")
    recordings = noises(0.7, 2.9, 1.6)
    report = verify_in_client(model, tokenizer, streaming_export, recordings)
    assert report.agree and report.num_different == 0
    assert all(len(row.client) > 3 for row in report.rows)
    assert max(row.feature_difference for row in report.rows) < 5e-3
    padded = [with_tail(samples, streaming_export.config) for samples in recordings]
    alone = run_client(streaming_export.files(), padded, batch_size=1)
    for row, answer in zip(report.rows, alone, strict=True):
        assert list(zip(answer.tokens, answer.frames)) == row.client


def test_a_report_tells_where_client_and_library_part(streaming_export, tokenizer):
    pytest.importorskip("sherpa_onnx")
    report = verify_in_client(build_model(seed=1), tokenizer, streaming_export, noises(1.5))
    assert not report.agree and report.num_different == 1


def test_eight_bit_twins_load_and_decode(streaming_export):
    pytest.importorskip("sherpa_onnx")
    (answer,) = run_client(streaming_export.files(quantized=True), [np.pad(noises(1.5)[0], (0, 16000))])
    assert answer.tokens
    decoder = Graph(streaming_export.decoder.quantized_path)(torch.tensor([[-1, 0]]))[0]
    torch.testing.assert_close(
        decoder, Graph(streaming_export.decoder.path)(torch.tensor([[-1, 0]]))[0], atol=0.05, rtol=0.1
    )


@pytest.mark.parametrize("key, word", [("T", "does not exist in the metadata"), ("model_type", "cannot serve")])
def test_a_model_that_kills_the_client_gives_a_sentence(streaming_export, tmp_path, key, word):
    pytest.importorskip("sherpa_onnx")
    files = streaming_export.files()
    broken = tmp_path / "encoder.onnx"
    _with_metadata(files.encoder, broken, key, None)
    with pytest.raises(ExportError, match=word) as caught:
        run_client(type(files)(**{**vars(files), "encoder": broken}), noises(0.5))
    assert "\n" not in str(caught.value) and "encoder.onnx" in str(caught.value)
