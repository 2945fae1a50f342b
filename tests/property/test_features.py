"""However a recording arrives, its features and its samples are the same."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.features import Fbank, OnlineFbank, Resampler, load_16k

FBANK = Fbank()
PIECES = st.lists(st.one_of(st.just(0), st.just(1), st.integers(1, 50), st.integers(100, 3000)), max_size=30)


def pieces_of(samples: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    """Cut into the sizes given; what is left over is the last piece."""
    pieces = []
    for size in sizes:
        pieces.append(samples[:size])
        samples = samples[size:]
    return [*pieces, samples]


def offline(samples: torch.Tensor) -> torch.Tensor:
    return FBANK(samples[None], torch.tensor([len(samples)])).features[0]


def online(pieces: list[torch.Tensor], fbank: OnlineFbank) -> torch.Tensor:
    return torch.cat([*(fbank.accept(piece) for piece in pieces), fbank.finish()])


@settings(max_examples=80, deadline=None)
@given(num_samples=st.one_of(st.integers(0, 800), st.integers(0, 9000)), sizes=PIECES, seed=st.integers(0, 999))
def test_online_features_are_the_offline_ones(num_samples, sizes, seed):
    samples = 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))
    fbank = OnlineFbank()
    found = online(pieces_of(samples, sizes), fbank)
    assert found.shape == ((num_samples + 80) // 160, 80)
    torch.testing.assert_close(found, offline(samples), rtol=0, atol=1e-5)
    # After `finish` the same object serves the next recording.
    torch.testing.assert_close(online([samples.flip(0)], fbank), offline(samples.flip(0)), rtol=0, atol=1e-5)


def test_one_sample_at_a_time_on_speech(data_dir):
    path = sorted((data_dir / "utterances").glob("*.flac"))[0]
    samples = load_16k(path).samples[8000:12000]
    found = online(list(samples.split(1)), OnlineFbank())
    torch.testing.assert_close(found, offline(samples), rtol=0, atol=1e-5)


def test_a_frame_comes_as_soon_as_its_window_is_there_and_memory_stays_constant():
    fbank = OnlineFbank()
    samples = 0.1 * torch.randn(40000)
    for position, piece in enumerate(samples.split(40)):
        fbank.accept(piece)
        num_samples = 40 * (position + 1)
        assert fbank._num_frames == max(0, (num_samples - 280) // 160 + 1)
        assert fbank._pending.untyped_storage().nbytes() <= 4 * 400


@settings(max_examples=60, deadline=None)
@given(
    num_samples=st.integers(0, 5000),
    sizes=PIECES,
    rates=st.sampled_from([(8000, 16000), (48000, 16000), (44100, 16000), (16000, 8000), (11025, 16000)]),
)
def test_resampling_does_not_depend_on_the_pieces(num_samples, sizes, rates):
    samples = torch.randn(num_samples, generator=torch.Generator().manual_seed(num_samples))
    resampler = Resampler(*rates)
    stream = resampler.stream()
    found = torch.cat([*(stream.accept(piece) for piece in pieces_of(samples, sizes)), stream.finish()])
    assert len(found) == -(-num_samples * rates[1] // rates[0])
    torch.testing.assert_close(found, resampler(samples), rtol=0, atol=1e-5)
