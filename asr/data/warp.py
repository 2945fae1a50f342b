"""Features stretched along time or frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from asr.data.config import WarpConfig
from asr.data.draw import Draw


def vary_warp(features: Tensor, cfg: WarpConfig, draw: Draw, *, min_frames: int) -> Tensor:
    """Change tempo and frequency of (T, F) features at random, but leave `min_frames` where there are so many."""
    if cfg.tempo:
        features = change_tempo(features, math.exp(draw.uniform(-cfg.tempo, cfg.tempo)), min_frames=min_frames)
    if cfg.frequency:
        features = warp_frequency(features, 1.0 + draw.uniform(-cfg.frequency, cfg.frequency))
    return features


def change_tempo(features: Tensor, factor: float, *, min_frames: int = 1) -> Tensor:
    """(T, F) to (about T / factor, F), linear between frames."""
    num_frames = max(round(len(features) / factor), min(min_frames, len(features)))
    return interpolate(features.t()[None], size=num_frames, mode="linear", align_corners=True)[0].t()


def warp_frequency(features: Tensor, factor: float) -> Tensor:
    """Bin j of the result is bin j * factor of (T, F) features, linear between bins; the highest bin is repeated."""
    num_bins = features.shape[1]
    position = (torch.arange(num_bins, dtype=features.dtype) * factor).clamp_max(num_bins - 1)
    below = position.floor().long()
    above = (below + 1).clamp_max(num_bins - 1)
    share = position - below
    return features[:, below] * (1 - share) + features[:, above] * share


def warp_time(features: Tensor, max_frames: int, draw: Draw) -> Tensor:
    """Move a random moment of (T, F) features by up to `max_frames`, stretching one side and squeezing the other.

    SpecAugment (Park et al. 2019, section 2), with bicubic interpolation as in lhotse; the length stays. Utterances
    that leave no moment to choose come back unchanged.
    """
    num_frames = len(features)
    if num_frames - max_frames <= max_frames + 1:
        return features
    centre = draw.integer(max_frames + 1, num_frames - max_frames - 1)
    target = draw.integer(centre - max_frames, centre + max_frames)
    left = _stretch(features[:centre], target)
    return torch.cat([left, _stretch(features[centre:], num_frames - target)])


def _stretch(features: Tensor, num_frames: int) -> Tensor:
    size = (num_frames, features.shape[1])
    return interpolate(features[None, None], size=size, mode="bicubic", align_corners=False)[0, 0]
