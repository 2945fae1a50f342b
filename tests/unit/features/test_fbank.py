"""Log-mel features: the published numbers, and no influence of padding."""

from __future__ import annotations

import pytest
import torch
from torchaudio.compliance import kaldi

from asr.errors import ConfigError
from asr.features import LOG_FLOOR, PADDING_VALUE, Fbank, FbankConfig, load_16k


def kaldi_fbank(samples: torch.Tensor, **changes) -> torch.Tensor:
    options = {
        "num_mel_bins": 80,
        "high_freq": -400.0,
        "snip_edges": False,
        "dither": 0.0,
        "energy_floor": 0.0,
        "sample_frequency": 16000.0,
    }
    return kaldi.fbank(samples[None], **{**options, **changes})


def agrees(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs()
    assert difference.max() <= 2e-3
    assert difference.mean() <= 1e-5


def alone(samples: torch.Tensor) -> torch.Tensor:
    return Fbank()(samples[None], torch.tensor([len(samples)])).features[0]


@pytest.mark.parametrize("num_samples", [16000, 15999, 12345, 479, 480, 401])
def test_equals_kaldi_on_noise(num_samples):
    samples = 0.1 * torch.randn(num_samples)
    agrees(alone(samples), kaldi_fbank(samples))


def test_equals_kaldi_on_a_chirp():
    time_s = torch.arange(32000) / 16000
    samples = 0.5 * torch.sin(2 * torch.pi * (100 + 1800 * time_s) * time_s)
    agrees(alone(samples), kaldi_fbank(samples))


def test_equals_kaldi_and_lhotse_on_speech(data_dir):
    from lhotse import Fbank as LhotseFbank
    from lhotse import FbankConfig as LhotseConfig

    theirs = LhotseFbank(LhotseConfig(num_mel_bins=80, dither=0.0))
    for path in sorted((data_dir / "utterances").glob("*.flac"))[:6]:
        samples = load_16k(path).samples
        agrees(alone(samples), kaldi_fbank(samples))
        agrees(alone(samples), torch.from_numpy(theirs.extract(samples.numpy(), 16000)))


def test_full_band_and_other_rates_equal_kaldi_too():
    samples = 0.1 * torch.randn(8000)
    ours = Fbank(FbankConfig(high_hz=0.0))(samples[None], torch.tensor([8000])).features[0]
    agrees(ours, kaldi_fbank(samples, high_freq=0.0))
    ours = Fbank(FbankConfig(sample_rate=8000, num_bins=40))(samples[None], torch.tensor([8000])).features[0]
    agrees(ours, kaldi_fbank(samples, sample_frequency=8000.0, num_mel_bins=40))


def test_the_upper_edge_matters():
    samples = 0.1 * torch.randn(8000)
    assert (alone(samples) - kaldi_fbank(samples, high_freq=0.0)).abs().mean() > 0.05


def test_digital_silence_gives_the_floor():
    torch.testing.assert_close(alone(torch.zeros(1600)), torch.full((10, 80), LOG_FLOOR))


def test_padding_and_neighbours_change_nothing():
    lens = torch.tensor([5000, 4321, 79, 80, 0, 200])
    samples = 0.1 * torch.randn(len(lens), 6000)
    features, feature_lens = Fbank()(samples, lens)
    assert feature_lens.tolist() == [(n + 80) // 160 for n in lens.tolist()]
    for row, (n, t) in enumerate(zip(lens.tolist(), feature_lens.tolist(), strict=True)):
        torch.testing.assert_close(features[row, :t], alone(samples[row, :n]), rtol=0, atol=1e-5)
        assert (features[row, t:] == PADDING_VALUE).all()


def test_a_recording_shorter_than_the_window_is_mirrored_as_often_as_needed():
    samples = torch.tensor([0.1, -0.2, 0.3]).repeat(27)[:80]
    # The only window starts 120 samples before the recording, which begins here after two copies of 80.
    mirrored = torch.cat([samples, samples.flip(0)] * 3)
    window = mirrored[160 - 120 :][:400]
    torch.testing.assert_close(alone(samples), Fbank().frame_filter(window[None]))


@pytest.mark.parametrize(
    "bad", [{"low_hz": 9000.0}, {"high_hz": 9000.0}, {"num_bins": 0}, {"shift_ms": 0.0}, {"shift_ms": 30.0}]
)
def test_meaningless_settings_are_refused(bad):
    with pytest.raises(ConfigError, match="features."):
        FbankConfig(**bad)
