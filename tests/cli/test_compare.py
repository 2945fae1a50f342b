"""Runs beside each other, and streamed beside direct outputs."""

from __future__ import annotations

import pytest

from asr.checkpoint.model import save_model
from asr.models.transducer import Transducer
from asr.text import CharTokenizer
from tests.streaming.test_encoders import tiny_model as tiny_encoder
from tests.streaming.tiny_recognizer import tiny_model

TOKENIZER = CharTokenizer.train(["zero one two three four five six seven eight nine"])


@pytest.fixture
def run(corpus, tmp_path):
    """The folder of a run that never was."""

    def make(name: str, model: Transducer):
        (tmp_path / name).mkdir()
        origin = {"folder": str(corpus), "test": ["dev"], "name": name}
        save_model(tmp_path / name / "averaged.safetensors", model, TOKENIZER, origin=origin)
        return tmp_path / name

    return make


def test_runs_in_one_table(run, command, refused):
    folder = run("first", tiny_model(TOKENIZER.vocab_size))
    assert "has no result on dev; run `asr decode" in refused("compare", folder)
    (folder / "metrics.jsonl").write_text('{"kind": "train", "step": 7, "cpu_s": 2.0, "hours": 0.01}\n')
    for chunks in (["chunk_size=16", "left_context=32"], ["chunk_size=null"]):
        assert command("decode", folder, *chunks)[0] == 0
    status, out, err = command("compare", folder, folder)
    assert status == 0, err
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out[2:]]
    assert rows[:2] == rows[2:] and all(row[:2] == ["first", "zipformer"] for row in rows)
    assert sorted(row[3:7] for row in rows[:2]) == [["7", "2", "18.0", "16/32"], ["7", "2", "18.0", "whole"]]
    assert all(float(row[-1]) > 0 for row in rows)  # how fast each was, streamed or not


def test_streamed_and_direct_are_drawn(run, command, tmp_path):
    folder = run("drawn", tiny_model(TOKENIZER.vocab_size))
    picture = tmp_path / "difference.png"
    status, out, err = command("equality", folder, "chunk_size=16", "left_context=32", "lookahead=4", f"out={picture}")
    assert status == 0, err
    assert float(out[-1].split()[2]) < 1e-4
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_stream_is_not_drawn(tmp_path, refused):
    model = tiny_encoder("conformer")
    tokenizer = CharTokenizer.train(["abcdefghijklmnopqrstuvwxyz"])
    assert tokenizer.vocab_size == model.config.vocab_size
    save_model(tmp_path / "averaged.safetensors", model, tokenizer)
    assert "hears whole utterances only" in refused("equality", tmp_path)
