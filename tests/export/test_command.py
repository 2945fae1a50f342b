"""`asr export --verify`: the files it writes are tried in the client, 8-bit twins too."""

from __future__ import annotations

import json

import pytest

from asr.checkpoint.model import save_model
from asr.cli.main import main
from asr.export import graphs
from asr.export.client import ClientReport, ClientRow
from tests.export.conftest import build_model, build_tokenizer

pytest.importorskip("onnx")
EXPORT = ("--verify", "quantize=true", "chunk_size=8", "left_context=16")


@pytest.fixture
def run(corpus, tmp_path, monkeypatch):
    """The folder of a run that never was, tested on a few real recordings."""
    monkeypatch.setattr(graphs, "_has_dynamo", lambda: False)  # a fifth of the time
    origin = {"folder": str(corpus), "test": ["dev"], "name": "run"}
    save_model(tmp_path / "averaged.safetensors", build_model(), build_tokenizer(), origin=origin)
    return tmp_path


def test_eight_bit_twins_are_tried_too(run, capsys):
    pytest.importorskip("sherpa_onnx")
    assert main(["export", str(run), *EXPORT]) == 0
    summary = json.loads((run / "export-streaming" / "export.json").read_text())
    floats, twins = summary["verified"], summary["verified_8_bit"]
    assert floats["graphs_equal"] == floats["utterances"] == twins["utterances"] > 0
    assert 0.5 < twins["agreement"] < floats["agreement"] <= 1
    assert f"{100 * twins['agreement']:.1f} % of all tokens" in capsys.readouterr().out


@pytest.mark.parametrize("said, status", [("a b c d", 0), ("a b x y", 0), ("x", 1), ("", 1)])
def test_twins_may_change_half_of_what_is_said(run, monkeypatch, said, status):
    def verify(*arguments, quantized):
        library = [(symbol, 0) for symbol in "abcd"]
        client = [(symbol, 1) for symbol in said.split()] if quantized else library
        return ClientReport(rows=[ClientRow(client=client, graphs=client, library=library, feature_difference=0.0)])

    monkeypatch.setattr("asr.export.client.verify_in_client", verify)
    assert main(["export", str(run), *EXPORT]) == status


def test_agreement_counts_tokens_and_not_times():
    def row(client: str, library: str) -> ClientRow:
        sides = [[(symbol, frame) for frame, symbol in enumerate(side)] for side in (client, library)]
        return ClientRow(client=sides[0], graphs=[], library=sides[1], feature_difference=0.0)

    assert ClientReport(rows=[row("bc", "abc"), row("x", "")]).agreement == 0.5
    assert ClientReport(rows=[row("", "")]).agreement == 1.0
