"""Hours through one stream: memory stays where it was."""

from __future__ import annotations

import json

import pytest

from asr.bench.endurance import Minute, Utterance, endure, growth
from asr.streaming import EndpointConfig, StreamConfig
from tests.conftest import REPO
from tests.streaming.tiny_recognizer import CONTEXT

CONFIG = StreamConfig(chunk_size=64, left_context=CONTEXT.left_context)
DIGITS = REPO / "exp" / "digits"


def spoken(recognizer, clips, config: StreamConfig = CONFIG) -> list[Utterance]:
    """Clips with what this recogniser, of random weights, takes them for."""
    return [Utterance(clip, recognizer.transcribe(clip, 16000, config).text) for clip in clips]


def test_every_minute_is_told_and_every_word_is_read(recognizer, clips, monkeypatch):
    monkeypatch.setattr("asr.bench.endurance.MINUTE_S", 6)
    monkeypatch.setattr("asr.bench.endurance.SCORED_EVERY", 1)
    minutes = list(endure(recognizer, spoken(recognizer, clips), CONFIG, minutes=2))
    assert [minute.minute for minute in minutes] == [1, 2]
    assert all(minute.resident_bytes > 10**7 and minute.compute_s > 0 for minute in minutes)
    assert all(minute.errors.reference_words > 2 for minute in minutes)
    cut = StreamConfig(chunk_size=64, left_context=CONTEXT.left_context, endpoint=EndpointConfig(max_length_s=1.0))
    segments = list(endure(recognizer, spoken(recognizer, clips), cut, minutes=2))
    words = [m.errors.reference_words + m.errors.insertions - m.errors.deletions for m in segments]
    assert min(words) > 2  # of many segments, not of the last one alone


def test_growth_is_counted_from_the_first_minute():
    minutes = [Minute(i + 1, size, 1.0, None) for i, size in enumerate([100, 104, 90])]
    assert growth(minutes) == pytest.approx(0.04)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", [None, EndpointConfig()])
def test_half_an_hour_leaves_nothing_behind(recognizer, clips, endpoint):
    config = StreamConfig(chunk_size=64, left_context=CONTEXT.left_context, endpoint=endpoint)
    assert growth(list(endure(recognizer, spoken(recognizer, clips), config, minutes=30))) <= 0.05


@pytest.mark.slow
def test_the_command_watches_a_trained_model(tmp_path, capsys):
    if not (DIGITS / "averaged.safetensors").exists():
        pytest.skip("no trained digits model; run `asr prepare`, `asr train` and `asr average` for recipe=digits")
    from asr.cli.main import main

    out = tmp_path / "endurance.json"
    assert main(["endurance", str(DIGITS), "hours=0.2", f"out={out}"]) == 0
    assert "flat within 5%" in capsys.readouterr().out
    minutes = json.loads(out.read_text())
    assert len(minutes) == 12 and minutes[-1]["wer"] < 0.05
