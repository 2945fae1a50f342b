"""asr transcribe and asr stream on files of all kinds: what is wrong names its file, what is done to them is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import asr
from asr.checkpoint.model import save_model
from asr.cli.stream import Moment, final_s
from asr.features import Resampler
from asr.text import CharTokenizer
from tests.models.digits import digits_model
from tests.models.strings import digit_strings
from tests.streaming.test_encoders import tiny_model


@pytest.fixture(scope="module")
def strings(data_dir) -> list[np.ndarray]:
    return [string.samples.numpy() for string in digit_strings(data_dir, count=2)]


def write(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def test_one_bad_file_does_not_keep_others_from_being_read(command, strings, tmp_path):
    """Among them samples that are floats but were never scaled."""
    files = [
        write(tmp_path / "unscaled.wav", 32767 * strings[0]),
        write(tmp_path / "well.wav", strings[0]),
        tmp_path / "none.wav",
    ]
    status, out, err = command("transcribe", digits_model(), *files)
    assert status == 1 and len(out) == 1 and out[0].startswith(f"{files[1]}\t")
    assert [str(file) in line for file, line in zip([files[0], files[2]], err)] == [True, True] and len(err) == 2
    assert "divide 16-bit integers by 32768" in err[0]


def test_a_stream_names_its_bad_file(refused, strings, tmp_path):
    file = write(tmp_path / "unscaled.wav", 32767 * strings[0])
    assert f"{file}: samples reach" in refused("stream", digits_model(), file)


def test_resampling_is_said(command, strings, tmp_path):
    slow = write(tmp_path / "slow.wav", Resampler(16000, 8000)(torch.from_numpy(strings[0])).numpy(), 8000)
    same = write(tmp_path / "same.wav", strings[0])
    _, _, err = command("transcribe", digits_model(), slow, same)
    assert err == [f"{slow}: resampled from 8000 to 16000 Hz"]
    _, out, _ = command("stream", digits_model(), slow)
    assert out[0] == "resampled from 8000 to 16000 Hz"


def test_a_stream_of_a_file_ends_segments_where_it_is_told_to(command, strings, tmp_path):
    pause = np.random.default_rng(0).normal(0, 1e-3, 3 * 16000).astype(np.float32)
    file = write(tmp_path / "two.wav", np.concatenate([strings[0], pause, strings[1]]))
    answers = {}
    for setting in ("endpoint.pause_s=0.8", "endpoint=null"):
        status, out, err = command("stream", digits_model(), file, setting)
        assert status == 0, err
        answers[setting] = [line.split(" s  ", 1)[1] for line in out if " s  " in line[:12]]
    ends = [line for line in answers["endpoint.pause_s=0.8"] if line.endswith("  (end of segment)")]
    first, last = ends[0].split("  (")[0], answers["endpoint.pause_s=0.8"][-1]
    assert len(ends) == 1 and f"{first} {last}" == answers["endpoint=null"][-1]
    assert not any("segment" in line for line in answers["endpoint=null"])


def test_an_answer_is_final_at_the_endpoint_that_only_silence_follows(command, strings, tmp_path):
    """Not at the recording's end, seconds later: that is what somebody waits for who has stopped speaking."""
    pause = np.random.default_rng(0).normal(0, 1e-3, 4 * 16000).astype(np.float32)
    file = write(tmp_path / "one.wav", np.concatenate([strings[0], pause]))
    waited = {}
    for setting in ("endpoint.pause_s=0.8", "endpoint=null"):
        status, out, err = command("stream", digits_model(), file, setting)
        assert status == 0, err
        (row,) = [line.split() for line in out if "final answer after speech ended" in line]
        waited[setting] = float(row[-1])
    assert 0.8 <= waited["endpoint.pause_s=0.8"] < 2.0 < 4.0 < waited["endpoint=null"]


def test_all_is_final_where_nothing_new_follows():
    first, again = Moment(1.0, "one", "", ended=True), Moment(2.5, "two", "one", ended=True)
    assert (
        final_s([first, again, Moment(4.0, "", "one two", ended=True), Moment(5.0, "", "one two", ended=False)]) == 2.5
    )
    assert final_s([first, Moment(5.0, "two", "one", ended=False)]) == 5.0


def test_a_sample_is_scored(command, corpus, tmp_path):
    recognizer = asr.load(digits_model())
    origin = {"folder": str(corpus), "test": ["dev"], "name": "digits"}
    save_model(tmp_path / "model.safetensors", recognizer.model, recognizer.tokenizer, origin=origin)
    status, out, err = command("stream", tmp_path / "model.safetensors", "--sample")
    assert status == 0, err
    spoken, heard = out[0].split(": ", 1)[1], [line for line in out if " s  " in line[:12]][-1].split(" s  ", 1)[1]
    (row,) = [line.split() for line in out if line.strip().startswith("WER %")]
    assert (float(row[-1]) == 0) == (spoken == heard)


@pytest.mark.parametrize("kind", ["conformer", "gru"])
def test_integers_that_nobody_scaled_are_refused_streaming_or_not(kind, refused, tmp_path):
    model = tiny_model(kind)
    tokenizer = CharTokenizer.train(["abcdefghijklmnopqrstuvwxyz"])
    save_model(tmp_path / "averaged.safetensors", model, tokenizer)
    noise = np.random.default_rng(0).integers(-9000, 9000, 16000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, 16000, subtype="FLOAT")
    complaint = refused("transcribe", tmp_path, tmp_path / "a.wav", "chunk_size=16", "left_context=32")
    assert complaint == (
        f"asr transcribe: {tmp_path / 'a.wav'}: samples reach {abs(noise).max():.0f}, not [-1, 1]; "
        "divide 16-bit integers by 32768"
    )
