"""The sweep of chunks and left contexts: what it writes, and that it does nothing twice."""

from __future__ import annotations

import json

import pytest

from asr.config.compose import compose
from asr.errors import ConfigError


@pytest.fixture(scope="module")
def model(corpus, tmp_path_factory):
    """A model with random weights that says which corpus it is for."""
    from asr.checkpoint.model import save_model
    from asr.text import CharTokenizer
    from tests.streaming.tiny_recognizer import tiny_model

    tokenizer = CharTokenizer.train(["zero one two three four five six seven eight nine"])
    path = tmp_path_factory.mktemp("curve") / "model.safetensors"
    origin = {"folder": str(corpus), "test": ["dev"], "name": "curve"}
    save_model(path, tiny_model(tokenizer.vocab_size), tokenizer, origin=origin)
    return path


SWEEP = ["chunk_sizes=[16,32,null]", "left_contexts=[16,32]"]


def test_a_curve_is_measured_once(model, command):
    status, out, err = command("latency-curve", model, *SWEEP)
    assert status == 0, err
    folder = model.parent / "latency-curve"
    points = json.loads((folder / "latency-curve.json").read_text())
    grid = [(16, 16), (16, 32), (32, 32), (None, None)]
    assert [(point["settings"]["chunk_size"], point["settings"]["left_context"]) for point in points] == grid
    assert (folder / "latency-curve.md").read_text().splitlines() == out and len(out) == 2 + len(grid)
    assert (folder / "latency-curve.png").read_bytes().startswith(b"\x89PNG")
    assert [line for line in err if line[:2] in ("1/", "2/", "3/", "4/")] and not any("kept" in line for line in err)
    status, again, err = command("latency-curve", model, *SWEEP)
    assert status == 0 and again == out and sum(line.endswith(", kept") for line in err) == 4
    status, _, err = command("latency-curve", model, *SWEEP, "search.method=BEAM")
    assert status == 0 and not any("kept" in line for line in err)


def test_a_sweep_has_points():
    config = compose("latency_curve", ["checkpoint=x", "chunk_sizes=[8,64]", "left_contexts=[16,64]"])
    assert config.grid() == [(8, 16), (8, 64), (64, 64)]
    with pytest.raises(ConfigError, match="leave no point"):
        compose("latency_curve", ["checkpoint=x", "chunk_sizes=[64]", "left_contexts=[16]"])
