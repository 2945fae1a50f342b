"""The comparison of the adaptive window with fixed sizes, as a command."""

from __future__ import annotations

import pytest

from asr.checkpoint.model import save_model
from asr.text import CharTokenizer
from tests.streaming.tiny_recognizer import tiny_model

SIZES = ["adaptive.chunk_sizes=[16,32]", "adaptive.snr_db=[20]", "left_context=32", "noise_db=[null,0]"]


def test_one_table_of_all_sizes_and_conditions(corpus, command, tmp_path):
    tokenizer = CharTokenizer.train(["zero one two three four five six seven eight nine"])
    origin = {"folder": str(corpus), "test": ["dev"], "name": "adaptive"}
    save_model(tmp_path / "model.safetensors", tiny_model(tokenizer.vocab_size), tokenizer, origin=origin)
    status, out, err = command("adaptive", tmp_path / "model.safetensors", *SIZES)
    assert status == 0, err
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out]
    assert [row[:2] for row in rows[2:]] == [
        [condition, way] for condition in ("as it is", "0 dB", "all, mean") for way in ("16", "32", "adaptive")
    ]
    waits = [float(row[3]) for row in rows[2:]]
    assert waits[0] == waits[3] < waits[1] == waits[4]
    assert all(waits[0] <= wait <= waits[1] for wait in waits)
    assert waits[8] == pytest.approx((waits[2] + waits[5]) / 2, abs=0.02)
