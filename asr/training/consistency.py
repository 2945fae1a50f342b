"""Two differently masked copies of every utterance, whose CTC answers shall agree (CR-CTC)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from asr.data import MaskConfig, spec_augment_rows
from asr.errors import ConfigError
from asr.features import PADDING_VALUE, Background

FEATURES_PER_FRAME = 4
"""Feature frames (100 Hz) per frame of the encoder's output (25 Hz)."""
LENGTH_STEP = 16
"""Feature frames by which a batch grows where a copy begins later: kernels keep their plans for few lengths."""


@dataclass(kw_only=True)
class ConsistencyConfig:
    """Consistency regularisation of CTC. A batch holds two copies of its utterances: halve data.max_duration_s."""

    scale: float = 0.2
    """Weight of the disagreement, above 0; 0.2 is usual for CTC alone, 0.02 beside a transducer or attention."""
    warm_steps: int = 0
    """Steps over which the weight grows from 0; the published models of 2024 were trained without."""
    masks: MaskConfig = field(default_factory=lambda: MaskConfig(time_masks=25, time_mask_fraction=0.375))
    """How each copy is masked; augment.masks must not mask besides, but may warp."""
    max_delay: int = 0
    """Most frames (25 Hz) that the second copy begins later by, as drawn for each batch, its own background before it:
    chunks end elsewhere in it, and what was guessed at a chunk's end is compared with what came of it. 0: both begin
    together, as published; 15: anywhere in a chunk of 32."""

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigError(f"consistency.scale={self.scale} must be above 0; consistency=null switches it off")
        for name in ("warm_steps", "max_delay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"consistency.{name}={getattr(self, name)} must be 0 or more")

    @property
    def longest_delay_s(self) -> float:
        """How much longer `two_views` may make a batch, seconds."""
        return -(-self.max_delay * FEATURES_PER_FRAME // LENGTH_STEP) * LENGTH_STEP / 100

    def scale_at(self, step: int) -> float:
        """The weight at a step, counted from 1."""
        return self.scale * min(step / self.warm_steps, 1.0) if self.warm_steps else self.scale


class Views(NamedTuple):
    """Two copies of every utterance, the second ones behind the first ones."""

    features: Tensor
    """(2B, T', F) at 100 Hz."""
    lens: Tensor
    """(2B,)"""
    delay: int
    """Frames (25 Hz) of background that the second copies begin with."""


def two_views(features: Tensor, feature_lens: Tensor, config: ConsistencyConfig) -> Views:
    """The rows of (B, T, F), masked, and all rows once more, masked otherwise and beginning later.

    Masks and delay follow from torch's generator, which training seeds for every step.
    """
    seed = int(torch.randint(2**62, ()))
    copies, lens = features.repeat(2, 1, 1), feature_lens.repeat(2)
    copies = spec_augment_rows(copies, lens, config.masks, seed)
    delay = int(torch.randint(config.max_delay + 1, ())) if config.max_delay else 0
    if delay:
        first, second = copies.chunk(2)
        lead = FEATURES_PER_FRAME * delay
        later = torch.cat([_backgrounds(features, feature_lens, lead), second], dim=1)
        later = pad(later, (0, 0, 0, -lead % LENGTH_STEP), value=PADDING_VALUE)
        first = pad(first, (0, 0, 0, later.shape[1] - first.shape[1]), value=PADDING_VALUE)
        copies, lens = torch.cat([first, later]), torch.cat([feature_lens, feature_lens + lead])
    return Views(copies, lens, delay)


def _backgrounds(features: Tensor, feature_lens: Tensor, count: int) -> Tensor:
    """`count` frames of each row's background, (B, count, F)."""
    found = []
    for row, num_frames in zip(features, feature_lens.tolist(), strict=True):
        background = Background(features.shape[2])
        background.accept(row[:num_frames])
        found.append(background.tail(count))
    return torch.stack(found)
