"""Hours through one stream: memory stays where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from lhotse import Recording, SupervisionSegment

from asr.bench.endurance import Minute, Utterance, endure, growth
from asr.checkpoint.model import load_model, save_model
from asr.cli.main import main
from asr.data import cuts_path, write_cuts
from asr.streaming import EndpointConfig, StreamConfig
from tests.models.digits import digits_model
from tests.models.strings import digit_strings
from tests.streaming.tiny_recognizer import CONTEXT

CONFIG = StreamConfig(chunk_size=64, left_context=CONTEXT.left_context)


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
def test_the_command_watches_a_trained_model(data_dir, tmp_path, capsys):
    loaded = load_model(digits_model())
    origin = {"folder": str(_corpus(data_dir, tmp_path / "corpus")), "test": ["test"]}
    save_model(tmp_path / "model.safetensors", loaded.model, loaded.tokenizer, origin=origin)
    out = tmp_path / "endurance.json"
    assert main(["endurance", str(tmp_path / "model.safetensors"), "hours=0.2", f"out={out}"]) == 0
    assert "flat within 5%" in capsys.readouterr().out
    minutes = json.loads(out.read_text())
    assert len(minutes) == 12 and minutes[-1]["wer"] < 0.15


def _corpus(data_dir: Path, folder: Path) -> Path:
    """A test set of strings that the model may get wrong, in the order of the list."""
    folder.mkdir()
    cuts = []
    for index, string in enumerate(digit_strings(data_dir, count=20)):
        soundfile.write(path := folder / f"{index}.flac", string.samples.numpy(), 16000)
        cut = Recording.from_file(path).to_cut()
        cut.supervisions = [SupervisionSegment(cut.id, cut.recording_id, 0.0, cut.duration, text=string.text)]
        cuts.append(cut)
    write_cuts(cuts, cuts_path(folder, "test"))
    return folder
