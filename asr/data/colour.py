"""Another microphone: a smooth frequency response of random shape, in the feature domain."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from asr.data.config import ColourConfig
from asr.data.draw import Draw
from asr.features import LOG_FLOOR


def vary_colour(features: Tensor, cfg: ColourConfig, draw: Draw) -> Tensor:
    """Raise and lower the mel bins of (T, F) features along a random curve, the same in every frame, or not at all.

    Few voices are few microphones too: one that carries no treble teaches that an "s" has none.
    """
    if not draw.chance(cfg.prob):
        return features
    bends = torch.tensor([draw.uniform(-cfg.max_db, cfg.max_db) for _ in range(cfg.bends)])
    return change_colour(features, bends)


def change_colour(features: Tensor, bends_db: Tensor) -> Tensor:
    """Add a gain to each bin of (T, F) features: (K,) decibels at equal distances over the bins, linear between."""
    curve = interpolate(bends_db[None, None], size=features.shape[1], mode="linear", align_corners=True)[0, 0]
    return (features + curve * (math.log(10.0) / 10.0)).clamp_min(LOG_FLOOR)
