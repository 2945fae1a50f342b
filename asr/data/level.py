"""Level and silence, in the feature domain: louder or quieter speech over a background that stays as it was."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asr.data.config import LevelConfig, SilenceConfig
from asr.data.draw import Draw
from asr.features import LOG_FLOOR

QUIET_SHARE = 0.05
"""Share of an utterance's frames, the quietest ones, that count as its background."""


def background(features: Tensor, num_frames: int, draw: Draw) -> Tensor:
    """(num_frames, F) frames of background: the quietest frames of (T, F) `features`, in random order.

    Real frames, not their mean: background flickers, and a model takes notice when it does not.
    """
    count = max(1, min(len(features), max(3, round(QUIET_SHARE * len(features)))))
    quietest = features.mean(1).topk(count, largest=False).indices
    return features[quietest[draw.indices(num_frames, count)]]


def vary_level(features: Tensor, cfg: LevelConfig, draw: Draw) -> Tensor:
    """Change the level of (T, F) features by a random number of decibels."""
    if not draw.chance(cfg.prob):
        return features
    return change_level(features, draw.uniform(cfg.min_db, cfg.max_db), draw)


def change_level(features: Tensor, level_db: float, draw: Draw) -> Tensor:
    """Raise or lower (T, F) features by `level_db`, as if the speaker did and not the microphone.

    A gain g < 1 leaves g of the background's power, so (1 - g) of it is added, in the power domain. A gain above 1
    raises all of it: there is no way to take background out.
    """
    gain = 10.0 ** (level_db / 10.0)
    changed = features + math.log(gain)
    if gain < 1.0:
        changed = torch.logaddexp(changed, background(features, len(features), draw) + math.log1p(-gain))
    return changed.clamp_min(LOG_FLOOR)


def add_silence(features: Tensor, cfg: SilenceConfig, draw: Draw) -> Tensor:
    """Put silence, digital or of the utterance's own background, in front of and behind (T, F) features, or not."""
    lead = _silence(features, cfg, draw) if draw.chance(cfg.lead_prob) else features[:0]
    tail = _silence(features, cfg, draw) if draw.chance(cfg.tail_prob) else features[:0]
    return torch.cat([lead, features, tail])


def _silence(features: Tensor, cfg: SilenceConfig, draw: Draw) -> Tensor:
    num_frames = draw.integer(1, cfg.max_frames)
    if draw.chance(cfg.digital_share):
        return features.new_full((num_frames, features.shape[1]), LOG_FLOOR)
    return background(features, num_frames, draw)
