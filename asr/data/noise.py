"""Recorded noise under speech, in the waveform where there is one, else in the features."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from lhotse.cut import Cut
from torch import Tensor

from asr.data.config import NoiseConfig
from asr.data.draw import Draw
from asr.data.loading import load_features, load_samples
from asr.errors import DataError
from asr.features import Fbank

_TINY = 1e-10


class NoisePool:
    """Noise recordings to draw from. Ratios are of mean powers, in both domains: they do not depend on durations."""

    def __init__(self, cuts: Iterable[Cut], cfg: NoiseConfig, fbank: Fbank) -> None:
        self._cuts = list(cuts)
        self._cfg = cfg
        self._fbank = fbank
        if not self._cuts:
            raise DataError(
                "the list of augment.noise.cuts is empty; prepare noise again, or train with augment.noise=null"
            )

    def into_samples(self, samples: Tensor, draw: Draw) -> Tensor:
        """Add noise to (N,) samples, or not."""
        if not draw.chance(self._cfg.prob):
            return samples
        noise = stretch_of(load_samples(self._pick(draw)), len(samples), draw)
        return samples + noise * math.sqrt(self._gain(samples.square().mean(), noise.square().mean(), draw))

    def into_features(self, features: Tensor, draw: Draw) -> Tensor:
        """Add noise to (T, F) log-mel features, or not; powers are added, which is right on average over phases."""
        if not draw.chance(self._cfg.prob):
            return features
        noise = stretch_of(load_features(self._pick(draw), self._fbank), len(features), draw)
        gain = self._gain(features.exp().mean(), noise.exp().mean(), draw)
        return torch.logaddexp(features, noise + math.log(gain))

    def _pick(self, draw: Draw) -> Cut:
        return self._cuts[draw.integer(0, len(self._cuts) - 1)]

    def _gain(self, speech_power: Tensor, noise_power: Tensor, draw: Draw) -> float:
        """Power gain that brings the noise to a random ratio below the speech."""
        snr = 10.0 ** (draw.uniform(self._cfg.min_snr_db, self._cfg.max_snr_db) / 10.0)
        return max(_TINY, speech_power.item()) / (max(_TINY, noise_power.item()) * snr)


def stretch_of(noise: Tensor, length: int, draw: Draw) -> Tensor:
    """`length` consecutive steps of (N, ...) noise from a random start, going round where it ends."""
    start = draw.integer(0, len(noise) - 1)
    return noise[(start + torch.arange(length)) % len(noise)]
