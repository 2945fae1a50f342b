"""Reading of audio files, good and bad; change of sample rate."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample
from torchaudio.transforms import Resample

from asr.bench.endurance import resident_bytes
from asr.errors import AudioError
from asr.features import Resampler, load_16k, read_audio


@pytest.fixture
def tone() -> np.ndarray:
    return (0.3 * np.sin(np.arange(16000) * 0.05)).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_reads_common_formats(tmp_path, tone, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", tone, 16000)
    audio = read_audio(tmp_path / f"a.{suffix}")
    assert audio.samples.dtype == torch.float32
    assert (len(audio.samples), audio.sample_rate, audio.notes) == (16000, 16000, ())
    assert np.abs(audio.samples.numpy() - tone).max() < 0.05


def test_mixes_channels_and_says_so(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", np.stack([tone, 0 * tone], 1), 16000, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav")
    assert "2 channels" in audio.notes[0]
    np.testing.assert_allclose(audio.samples.numpy(), tone / 2, atol=1e-7)


def test_reads_a_stretch(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", tone, 16000, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav", start_s=0.25, duration_s=0.5)
    np.testing.assert_array_equal(audio.samples.numpy(), tone[4000:12000])


def test_brings_to_16k_and_says_so(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", tone, 8000)
    audio = load_16k(tmp_path / "a.wav")
    assert (len(audio.samples), audio.sample_rate) == (32000, 16000)
    assert "8000" in audio.notes[0]


def damaged(folder, tone, case):
    path = folder / f"{case}.wav"
    match case:
        case "missing":
            pass
        case "folder":
            path.mkdir()
        case "zero bytes":
            path.write_bytes(b"")
        case "header only":
            soundfile.write(path, tone[:0], 16000)
        case "text":
            path.write_text("this is no audio\n" * 50)
        case "half a wav":
            soundfile.write(path, tone, 16000)
            path.write_bytes(path.read_bytes()[:9000])
        case "half a flac":
            soundfile.write(path, tone, 16000, format="FLAC")
            path.write_bytes(path.read_bytes()[:4000])
        case "half an ogg":
            soundfile.write(path, np.random.default_rng(0).normal(size=160000) * 0.1, 16000, format="OGG")
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "nan":
            soundfile.write(path, np.where(np.arange(16000) == 77, np.nan, tone), 16000, subtype="FLOAT")
        case "infinite":
            soundfile.write(path, np.where(np.arange(16000) == 77, np.inf, tone), 16000, subtype="FLOAT")
        case "unscaled":
            soundfile.write(path, np.stack([32768 * tone, -32768 * tone], 1), 16000, subtype="FLOAT")
    return path


CASES = ["missing", "folder", "zero bytes", "header only", "text", "half a wav", "half a flac", "half an ogg"]
CASES += ["nan", "infinite", "unscaled"]


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, tone, case):
    path = damaged(tmp_path, tone, case)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_little_over_full_scale_is_heard(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", 9 * tone, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").samples.numpy(), 9 * tone)


def test_a_stretch_beyond_the_end_is_refused(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", tone, 16000)
    with pytest.raises(AudioError, match="beyond"):
        read_audio(tmp_path / "a.wav", start_s=2.0)
    with pytest.raises(AudioError, match="breaks off"):
        read_audio(tmp_path / "a.wav", start_s=0.5, duration_s=1.0)


def test_a_wav_written_into_a_pipe_is_read(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", tone, 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    content[4:8] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav").samples) == 16000


def test_reads_the_recordings(data_dir):
    for path in sorted((data_dir / "utterances").glob("*.flac")):
        audio = load_16k(path)
        assert audio.sample_rate == 16000
        assert 0.001 < audio.samples.square().mean().sqrt() < 1


@pytest.mark.parametrize(("old", "new"), [(8000, 16000), (44100, 16000), (48000, 16000), (16000, 8000), (22050, 16000)])
def test_resampling_equals_torchaudio(old, new):
    samples = torch.randn(5001)
    ours = Resampler(old, new)(samples)
    torch.testing.assert_close(ours, Resample(old, new)(samples), rtol=0, atol=1e-6)
    # The functional form makes its kernel in single precision.
    torch.testing.assert_close(ours, resample(samples, old, new), rtol=0, atol=1e-4)


def test_pieces_of_many_lengths_leave_nothing_behind():
    """A server met every length there is, and the library below kept a plan for each."""
    stream = Resampler(48000, 16000).stream()
    samples = torch.randn(40000)
    stream.accept(samples)
    before = resident_bytes()
    for length in range(30000, 40000, 40):
        stream.accept(samples[:length])
    assert resident_bytes() - before < 10 * 2**20


def test_same_rate_changes_nothing():
    samples = torch.randn(100)
    assert torch.equal(Resampler(16000, 16000)(samples), samples)


@pytest.mark.parametrize(("old", "new"), [(0, 16000), (16000, -1), (15999, 16000)])
def test_impossible_rates_are_refused(old, new):
    with pytest.raises(AudioError, match="resample"):
        Resampler(old, new)
