"""Random variations: each does what its name says, within its bounds, and only by its own draws."""

from __future__ import annotations

import math

import pytest
import torch

from asr.data import (
    AugmentConfig,
    Augmenter,
    ColourConfig,
    LevelConfig,
    MaskConfig,
    NoiseConfig,
    SilenceConfig,
    WarpConfig,
)
from asr.data import spec_augment_rows as mask_rows
from asr.data.colour import change_colour, vary_colour
from asr.data.draw import Draw, derive_seed
from asr.data.level import add_silence, background, change_level
from asr.data.masks import spec_augment
from asr.data.noise import NoisePool, stretch_of
from asr.data.warp import change_tempo, warp_frequency, warp_time
from asr.errors import ConfigError, DataError
from asr.features import LOG_FLOOR, Fbank


def speech_over_noise(num_samples: int, *, level_db: float = 0.0) -> torch.Tensor:
    """Features of bursts at a level over noise that does not depend on it."""
    generator = torch.Generator().manual_seed(5)
    noise = 0.001 * torch.randn(num_samples, generator=generator)
    bursts = (torch.arange(num_samples) // 4000 % 2 == 1).float() * torch.randn(num_samples, generator=generator)
    samples = noise + 0.1 * 10 ** (level_db / 20) * bursts
    return Fbank()(samples[None], torch.tensor([num_samples])).features[0]


LOUD = speech_over_noise(32000)


@pytest.mark.parametrize("level_db", [-20.0, -12.0, -3.0, 0.0])
def test_a_lower_level_in_features_is_a_lower_level_in_speech(level_db):
    changed = change_level(LOUD, level_db, Draw(1))
    truly = speech_over_noise(32000, level_db=level_db)
    # Frames differ, because the background is another piece of the same noise; levels do not.
    for frames in (slice(5, 20), slice(30, 45), slice(105, 120)):
        assert changed[frames].exp().mean().log() == pytest.approx(truly[frames].exp().mean().log().item(), abs=0.25)


def test_without_filling_up_the_background_would_sink():
    quiet = LOUD[5:20]
    assert change_level(LOUD, -20.0, Draw(1))[5:20].mean() == pytest.approx(quiet.mean().item(), abs=0.2)
    assert (quiet + math.log(0.01)).mean() < quiet.mean() - 4


def test_a_higher_level_raises_everything():
    torch.testing.assert_close(change_level(LOUD, 6.0, Draw(1)), LOUD + math.log(10) * 0.6)


def test_colour_is_a_straight_line_between_its_bends():
    gain = (change_colour(LOUD, torch.tensor([10.0, 0.0, -10.0])) - LOUD) * 10 / math.log(10)
    torch.testing.assert_close(gain[0], torch.linspace(10, -10, 80), atol=1e-4, rtol=0)
    torch.testing.assert_close(gain, gain[:1].expand_as(gain), atol=1e-4, rtol=0)


def test_colours_differ_and_stay_within_their_bound():
    cfg = ColourConfig(prob=1.0, max_db=8.0)
    gains = torch.stack([(vary_colour(LOUD, cfg, Draw(seed)) - LOUD)[0] for seed in range(20)]) * 10 / math.log(10)
    assert gains.abs().max() <= 8.0 + 1e-4
    assert len(gains.round(decimals=2).unique(dim=0)) == 20
    assert vary_colour(LOUD, ColourConfig(prob=0.0), Draw(1)) is LOUD


def test_background_is_made_of_the_quietest_frames():
    frames = background(LOUD, 500, Draw(2))
    assert frames.shape == (500, 80)
    assert frames.mean(1).max() <= LOUD.mean(1).sort().values[len(LOUD) // 20]
    assert len(frames.unique(dim=0)) > 1


def test_nothing_falls_below_digital_silence():
    silence = torch.full((30, 80), LOG_FLOOR)
    assert change_level(silence, -20.0, Draw(0)).min() == pytest.approx(LOG_FLOOR)


def test_silence_goes_to_the_ends_and_speech_stays():
    cfg = SilenceConfig(lead_prob=1.0, tail_prob=1.0, max_frames=10, digital_share=0.5)
    kinds = set()
    for seed in range(40):
        longer = add_silence(LOUD, cfg, Draw(seed))
        leads = [n for n in range(1, 11) if torch.equal(longer[n : n + len(LOUD)], LOUD)]
        assert len(leads) >= 1
        assert len(LOUD) + 2 <= len(longer) <= len(LOUD) + 20
        kinds.add((bool((longer[0] == LOG_FLOOR).all()), bool((longer[-1] == LOG_FLOOR).all())))
    assert len(kinds) == 4


def test_tempo_changes_length_and_keeps_the_ends():
    slower, faster = change_tempo(LOUD, 0.8), change_tempo(LOUD, 1.25)
    assert (len(slower), len(faster)) == (250, 160)
    for varied in (slower, faster):
        torch.testing.assert_close(varied[[0, -1]], LOUD[[0, -1]])
    assert len(change_tempo(LOUD, 1.25, min_frames=190)) == 190
    assert len(change_tempo(LOUD, 1.25, min_frames=1000)) == len(LOUD)


def test_frequency_warping_moves_bins():
    ramp = torch.arange(80.0).expand(3, 80)
    torch.testing.assert_close(warp_frequency(ramp, 0.9), ramp * 0.9)
    torch.testing.assert_close(warp_frequency(ramp, 1.1), (ramp * 1.1).clamp_max(79))
    torch.testing.assert_close(warp_frequency(LOUD, 1.0), LOUD)


def test_time_warping_keeps_length_and_leaves_short_utterances_alone():
    warped = warp_time(LOUD, 20, Draw(3))
    assert warped.shape == LOUD.shape
    assert not torch.equal(warped, LOUD)
    assert torch.equal(warp_time(LOUD[:41], 20, Draw(3)), LOUD[:41])


@pytest.mark.parametrize("num_frames", [1, 3, 30, 101, 700])
def test_masks_stay_within_their_bounds(num_frames):
    cfg = MaskConfig(prob=1.0, freq_masks=2, freq_mask_bins=10, time_masks=4, time_mask_fraction=0.2)
    features = torch.randn(num_frames, 80, generator=torch.Generator().manual_seed(0))
    most_bins = most_frames = 0
    for seed in range(60):
        masked = spec_augment(features, cfg, Draw(seed))
        changed = masked != features
        assert (masked[changed] == features.mean()).all()
        most_frames = max(most_frames, int(changed.all(1).sum()))
        most_bins = max(most_bins, int(changed.all(0).sum()) if num_frames > 10 else 0)
    assert most_frames <= 0.2 * num_frames
    assert most_bins <= 20
    if num_frames >= 100:
        assert most_frames > 0.05 * num_frames and most_bins > 8


def test_masked_share_follows_the_probability():
    features = torch.randn(100, 80)
    masked = sum(not torch.equal(spec_augment(features, MaskConfig(prob=0.3), Draw(s)), features) for s in range(300))
    assert 60 < masked < 120


def test_masking_a_padded_batch_equals_masking_its_rows():
    x, lens = torch.randn(3, 120, 80), torch.tensor([120, 37, 80])
    masked = mask_rows(x, lens, MaskConfig(prob=1.0), seed=4)
    draw = Draw(4)
    for row, n in enumerate(lens.tolist()):
        assert torch.equal(masked[row, :n], spec_augment(x[row, :n], MaskConfig(prob=1.0), draw))
        assert torch.equal(masked[row, n:], x[row, n:])


@pytest.fixture(scope="module")
def pool(cuts):
    return NoisePool(cuts, NoiseConfig(prob=1.0, min_snr_db=10.0, max_snr_db=10.0), Fbank())


def test_noise_in_the_waveform_has_the_ratio_asked_for(pool):
    samples = 0.1 * torch.randn(50000)
    added = pool.into_samples(samples, Draw(1)) - samples
    ratio = 10 * math.log10(samples.square().mean() / added.square().mean())
    assert ratio == pytest.approx(10.0, abs=1e-3)


def test_noise_in_the_features_has_the_ratio_asked_for(pool):
    added = pool.into_features(LOUD, Draw(1)).exp() - LOUD.exp()
    assert 10 * math.log10(LOUD.exp().mean() / added.mean()) == pytest.approx(10.0, abs=0.01)


def test_noise_goes_round():
    assert stretch_of(torch.arange(5), 12, Draw(0)).diff().remainder(5).tolist() == [1] * 11


def test_an_empty_pool_is_refused():
    with pytest.raises(DataError, match="augment.noise"):
        NoisePool([], NoiseConfig(), Fbank())


def test_the_whole_is_determined_by_the_seed_and_leaves_its_input_alone(pool):
    cfg = AugmentConfig(warp=WarpConfig(tempo=0.1, frequency=0.1), noise=NoiseConfig(prob=0.5))
    augmenter, before = Augmenter(cfg, pool), LOUD.clone()
    outcomes = []
    for seed in range(20):
        once, again = (augmenter.features(LOUD, Draw(seed), min_frames=150) for _ in range(2))
        assert torch.equal(once, again)
        assert len(once) >= 150 and once.isfinite().all() and once.shape[1] == 80
        outcomes.append(once)
    assert torch.equal(LOUD, before)
    assert len({round(x.double().sum().item(), 6) for x in outcomes}) == 20


def test_everything_off_changes_nothing():
    off = Augmenter(AugmentConfig(warp=None, level=None, silence=None, noise=None, masks=None))
    assert torch.equal(off.features(LOUD, Draw(0)), LOUD)


def test_global_random_state_is_neither_used_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = Augmenter(AugmentConfig()).features(LOUD, Draw(7))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(Augmenter(AugmentConfig()).features(LOUD, Draw(7)), one)


def test_seeds_differ_by_what_they_are_for():
    seeds = {derive_seed(*parts) for parts in [(0, 1), (1, 0), (0, 0), ("a", 0), (0, 11), (1, 1)]}
    assert len(seeds) == 6
    assert derive_seed("order", 3) == derive_seed("order", 3)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (lambda: MaskConfig(prob=1.5), "augment.masks.prob"),
        (lambda: MaskConfig(freq_masks=-1), "augment.masks.freq_masks"),
        (lambda: MaskConfig(time_mask_frames=0), "augment.masks.time_mask_frames"),
        (lambda: LevelConfig(min_db=1.0, max_db=0.0), "augment.level.min_db"),
        (lambda: ColourConfig(bends=1), "augment.colour.bends"),
        (lambda: SilenceConfig(max_frames=0), "augment.silence.max_frames"),
        (lambda: WarpConfig(tempo=0.9), "augment.warp.tempo"),
        (lambda: NoiseConfig(min_snr_db=30.0), "augment.noise.min_snr_db"),
    ],
)
def test_meaningless_settings_are_named(config, key):
    with pytest.raises(ConfigError, match=key):
        config()
