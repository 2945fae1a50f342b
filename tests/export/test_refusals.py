"""What cannot be exported is refused in one sentence, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.errors import ConfigError, ExportError
from asr.export import ExportConfig, ExportMode, client, export_model, extras, graphs, specs, wrappers
from asr.export.client import run_client
from asr.export.files import ClientFiles
from asr.export.runtime import Graph
from asr.models.recurrent import LstmConfig
from asr.models.transducer import Transducer, TransducerConfig
from asr.text.words import WordTokenizer
from tests.export.conftest import build_model, build_tokenizer, noises

pytest.importorskip("onnx")
SMALL = ExportConfig(chunk_size=8, left_context=16)


@pytest.fixture
def traced(monkeypatch):
    """Use the exporter of older torch, which takes a fifth of the time."""
    monkeypatch.setattr(graphs, "_has_dynamo", lambda: False)


def refused(folder, *, model=None, tokenizer=None, config=SMALL, match: str) -> None:
    with pytest.raises((ExportError, ConfigError), match=match) as caught:
        export_model(model or build_model(), tokenizer or build_tokenizer(), folder, config)
    assert "\n" not in str(caught.value)
    assert not folder.exists() and not list(folder.parent.iterdir())


def test_encoder_of_another_kind(tmp_path):
    encoder = LstmConfig(feature_dim=20, embed_channels=[4, 6, 8], dim=12)
    model = Transducer(TransducerConfig(encoder=encoder, vocab_size=build_tokenizer().vocab_size)).eval()
    refused(tmp_path / "out", model=model, match="encoder is a lstm; sherpa-onnx is served Zipformers only")


def test_front_end_of_another_width(tmp_path):
    refused(tmp_path / "out", model=build_model(front_end=32), match="ends in 32 channels; sherpa-onnx serves 128 only")


def test_model_that_cannot_stream(tmp_path):
    refused(tmp_path / "out", model=build_model(causal=False), match="causal=false")


def test_another_tokenizer(tmp_path):
    tokenizer = WordTokenizer(["<blk>", "<sos/eos>", "<unk>", "yes", "no"])
    refused(tmp_path / "out", tokenizer=tokenizer, match="5 symbols and the model 20")


def test_chunk_that_does_not_fit_the_model(tmp_path):
    config = ExportConfig(chunk_size=7, left_context=14)
    refused(tmp_path / "out", config=config, match="chunk_size=7 must be a multiple of 2")


@pytest.mark.parametrize(
    "values, name",
    [({"opset": 11}, "opset"), ({"tolerance": 0.0}, "tolerance"), ({"left_context": 48}, "left_context")],
)
def test_settings_without_meaning(values, name):
    with pytest.raises(ConfigError, match=f"export.{name}="):
        ExportConfig(**values)


def test_missing_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    refused(tmp_path / "out", match=r'pip install "rill-asr\[onnx\]"')


def test_no_twins_to_serve(tmp_path, traced):
    report = export_model(build_model(), build_tokenizer(), tmp_path / "out", SMALL)
    assert report.difference <= SMALL.tolerance
    with pytest.raises(ExportError, match="export.quantize=true"):
        report.files(quantized=True)


def swap_values(original):
    """Forget the first attention's values in favour of the second's: right shapes, wrong numbers."""

    def broken(states, layers):
        state = original(states, layers)
        stacks = tuple(
            tuple(layer._replace(value1=layer.value2, value2=layer.value1) for layer in stack) for stack in state.stacks
        )
        return state._replace(stacks=stacks)

    return broken


def test_a_wrapper_that_mixes_up_states_is_refused(tmp_path, traced, monkeypatch):
    monkeypatch.setattr(wrappers, "from_client_states", swap_values(wrappers.from_client_states))
    refused(tmp_path / "out", match="differs from the library .* step 1 of a batch of 1; nothing was written")


def test_a_wrapper_without_normalisation_is_refused(tmp_path, traced, monkeypatch):
    encode = wrappers.StreamingEncoder.forward

    def forgetful(self, x, states):
        norm = self.model.feature_norm
        return encode(self, x * norm.deviation + norm.mean, states)

    monkeypatch.setattr(wrappers.StreamingEncoder, "forward", forgetful)
    refused(tmp_path / "out", match="encoder_out differs from the library")


def test_a_decoder_that_looks_up_what_is_not_there_is_refused(tmp_path, traced, monkeypatch):
    def bare(self, y):
        return self.projection(self.predictor(y % self.predictor.vocab_size, pad_left=False).squeeze(1))

    monkeypatch.setattr(wrappers.Decoder, "forward", bare)
    refused(tmp_path / "out", match="decoder.onnx: decoder_out differs from the library .* before the first token")


def test_a_failed_export_leaves_the_old_one(tmp_path, traced, monkeypatch):
    folder = tmp_path / "out"
    export_model(build_model(), build_tokenizer(), folder, SMALL)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(wrappers, "from_client_states", swap_values(wrappers.from_client_states))
    with pytest.raises(ExportError):
        export_model(build_model(seed=1), build_tokenizer(), folder, SMALL)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_twins_of_an_older_export_go(tmp_path, traced):
    folder = tmp_path / "out"
    export_model(build_model(), build_tokenizer(), folder, replace(SMALL, quantize=True))
    (folder / "encoder-chunk-16-left-32.int8.onnx").write_bytes(b"of another export")
    export_model(build_model(seed=1), build_tokenizer(), folder, SMALL)
    assert [path.name for path in folder.glob("*.int8.onnx")] == ["encoder-chunk-16-left-32.int8.onnx"]


def test_export_changes_nothing_in_the_model(tmp_path, traced):
    model = build_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_model(model, build_tokenizer(), tmp_path / "out", SMALL)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_offline_export_needs_the_new_exporter(tmp_path, traced):
    refused(tmp_path / "out", config=ExportConfig(mode=ExportMode.OFFLINE), match="needs torch 2.6 or newer")


def test_a_file_that_is_no_graph(tmp_path):
    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"no graph at all")
    with pytest.raises(ExportError, match="onnxruntime does not load encoder.onnx"):
        Graph(path)


def test_a_file_that_is_not_there_in_the_client(tmp_path):
    pytest.importorskip("sherpa_onnx")
    nowhere = tmp_path / "none.onnx"
    files = ClientFiles(
        mode=ExportMode.STREAMING, encoder=nowhere, decoder=nowhere, joiner=nowhere, tokens=tmp_path / "tokens.txt"
    )
    with pytest.raises(ExportError, match="sherpa-onnx cannot serve none.onnx .* AssertionError"):
        run_client(files, noises(0.2))


def test_a_client_that_takes_too_long(tmp_path):
    pytest.importorskip("sherpa_onnx")
    paths = dict.fromkeys(["encoder", "decoder", "joiner", "tokens"], tmp_path)
    with pytest.raises(ExportError, match="did not finish"):  # no process starts in so short a time
        run_client(ClientFiles(mode=ExportMode.STREAMING, **paths), noises(0.1), timeout_s=1e-3)


def test_more_audio_may_take_longer(tmp_path, monkeypatch):
    pytest.importorskip("sherpa_onnx")
    waited = []
    monkeypatch.setattr(client, "_run_worker", lambda folder, files, timeout_s: waited.append(timeout_s))
    monkeypatch.setattr(client, "_read_answers", lambda folder: [])
    paths = dict.fromkeys(["encoder", "decoder", "joiner", "tokens"], tmp_path)
    run_client(ClientFiles(mode=ExportMode.STREAMING, **paths), [np.zeros(16000 * 20, dtype=np.float32)] * 3)
    assert waited == [600 + 2 * 60]


def test_state_axes_are_named_for_every_state():
    names = wrappers.state_names(2)
    assert len(names) == 6 * 2 + 2
    assert [specs.state_batch_axis(name) for name in names[:6]] == [{1: "N"}] * 4 + [{0: "N"}] * 2


def test_the_clients_process_is_spared_torch():
    pytest.importorskip("sherpa_onnx")
    code = "import sys, asr.export.client_worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(extras.__file__).parents[2]).returncode == 0
