"""SpecAugment: bands and stretches of an utterance, blanked."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asr.data.config import MaskConfig, MaskFill
from asr.data.draw import Draw
from asr.data.warp import warp_time


def spec_augment(features: Tensor, cfg: MaskConfig, draw: Draw) -> Tensor:
    """Warp and mask (T, F) features at random (Park et al. 2019).

    Number and width of masks follow from the utterance's own length and blanks are filled with its own mean, or each
    bin's; the published recipes take both from the padded batch, where an utterance is masked more beside a longer one.
    """
    if draw.chance(cfg.time_warp_prob):
        features = warp_time(features, cfg.time_warp_frames, draw)
    if not draw.chance(cfg.prob):
        return features
    num_frames, num_bins = features.shape
    blank = torch.zeros(num_frames, num_bins, dtype=torch.bool)
    for start, end in _freq_masks(num_bins, cfg, draw):
        blank[:, start:end] = True
    for start, end in _time_masks(num_frames, cfg, draw):
        blank[start:end] = True
    fill = features.mean(dim=0) if cfg.fill is MaskFill.BIN else features.mean()
    return torch.where(blank.to(features.device), fill, features)


def spec_augment_rows(features: Tensor, feature_lens: Tensor, cfg: MaskConfig, seed: int) -> Tensor:
    """The same for a padded batch (B, T, F) with lengths (B,): for objectives that mask by themselves."""
    draw = Draw(seed)
    out = features.clone()
    for row, num_frames in enumerate(feature_lens.tolist()):
        out[row, :num_frames] = spec_augment(features[row, :num_frames], cfg, draw)
    return out


def _freq_masks(num_bins: int, cfg: MaskConfig, draw: Draw) -> list[tuple[int, int]]:
    return [_place(draw.integer(0, min(cfg.freq_mask_bins, num_bins)), num_bins, draw) for _ in range(cfg.freq_masks)]


def _time_masks(num_frames: int, cfg: MaskConfig, draw: Draw) -> list[tuple[int, int]]:
    """As many as the frames that may be lost call for, each at most an equal share of them."""
    available = int(cfg.time_mask_fraction * num_frames)
    count = min(cfg.time_masks, math.ceil(available / cfg.time_mask_frames))
    if count == 0:
        return []
    widest = min(cfg.time_mask_frames, available // count)
    return [_place(draw.integer(0, widest), num_frames, draw) for _ in range(count)]


def _place(width: int, length: int, draw: Draw) -> tuple[int, int]:
    start = draw.integer(0, length - width)
    return start, start + width
