"""All random variations of a training utterance, in their order."""

from __future__ import annotations

from torch import Tensor

from asr.data.colour import vary_colour
from asr.data.config import AugmentConfig
from asr.data.draw import Draw
from asr.data.level import add_silence, vary_level
from asr.data.masks import spec_augment
from asr.data.noise import NoisePool
from asr.data.reverb import ReverbPool
from asr.data.warp import vary_warp


class Augmenter:
    """Varies one utterance at a time, so that what happens to it cannot depend on its neighbours or on padding."""

    def __init__(self, cfg: AugmentConfig, noise: NoisePool | None = None, reverb: ReverbPool | None = None) -> None:
        self.cfg = cfg
        self._noise = noise
        self._reverb = reverb

    def samples(self, samples: Tensor, draw: Draw) -> Tensor:
        """What is done to a waveform, (N,), where features are computed on the fly."""
        if self._reverb:
            samples = self._reverb.into_samples(samples, draw)
        return self._noise.into_samples(samples, draw) if self._noise else samples

    def features(self, features: Tensor, draw: Draw, *, min_frames: int = 1, noisy: bool = False) -> Tensor:
        """Vary (T, F) features into (T', F).

        Args:
            features: log-mel, natural log, 100 Hz.
            draw: source of all randomness.
            min_frames: fewest frames to leave, because of the transcript.
            noisy: noise is in already, added to the waveform.
        """
        cfg = self.cfg
        if cfg.warp:
            features = vary_warp(features, cfg.warp, draw, min_frames=min_frames)
        if cfg.level:
            features = vary_level(features, cfg.level, draw)
        if cfg.colour:
            features = vary_colour(features, cfg.colour, draw)
        if cfg.silence:
            features = add_silence(features, cfg.silence, draw)
        if self._noise and not noisy:
            features = self._noise.into_features(features, draw)
        if cfg.masks:
            features = spec_augment(features, cfg.masks, draw)
        return features
