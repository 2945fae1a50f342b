"""Two differently masked copies of every utterance, whose CTC answers shall agree (CR-CTC)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from asr.data import MaskConfig, spec_augment_rows
from asr.errors import ConfigError


@dataclass(kw_only=True)
class ConsistencyConfig:
    """Consistency regularisation of CTC. A batch holds two copies of its utterances: halve data.max_duration_s."""

    scale: float = 0.2
    """Weight of the disagreement, above 0; 0.2 is usual for CTC alone, 0.02 beside a transducer or attention."""
    warm_steps: int = 0
    """Steps over which the weight grows from 0; the published models of 2024 were trained without."""
    masks: MaskConfig = field(default_factory=lambda: MaskConfig(time_masks=25, time_mask_fraction=0.375))
    """How each copy is masked; augment.masks must not mask besides, but may warp."""

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigError(f"consistency.scale={self.scale} must be above 0; consistency=null switches it off")
        if self.warm_steps < 0:
            raise ConfigError(f"consistency.warm_steps={self.warm_steps} must be 0 or more")

    def scale_at(self, step: int) -> float:
        """The weight at a step, counted from 1."""
        return self.scale * min(step / self.warm_steps, 1.0) if self.warm_steps else self.scale


def two_views(features: Tensor, feature_lens: Tensor, config: ConsistencyConfig) -> Tensor:
    """(2B, T, F): the rows of (B, T, F), masked, and behind them all rows once more, masked otherwise.

    What is masked follows from torch's generator, which training seeds for every step.
    """
    seed = int(torch.randint(2**62, ()))
    return spec_augment_rows(features.repeat(2, 1, 1), feature_lens.repeat(2), config.masks, seed)
