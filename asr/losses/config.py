"""What the losses of a transducer weigh, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from asr.errors import ConfigError
from asr.losses.backend import Backend
from asr.losses.lattice import Topology


@dataclass(kw_only=True)
class TransducerLossConfig:
    """Settings of the losses; the defaults are those of the published LibriSpeech models."""

    prune_range: int = 5
    """Label positions per frame that the pruned loss looks at, >= 2."""
    lm_scale: float = 0.25
    """Share of the label-only model in the simple loss, in [0, 1]; 0.25 is reported as helpful."""
    am_scale: float = 0.0
    """Share of the acoustic-only model in the simple loss, in [0, 1]; reported as neutral or harmful."""
    simple_scale: float = 0.5
    """Weight of the simple loss after warm-up, >= 0; it starts at 1."""
    warm_steps: int = 2000
    """Batches over which the weights move to their final values, >= 0."""
    delay_penalty: float = 0.0
    """Bonus per frame for emitting early, in nats; useful in causal models, typically below 0.01."""
    fastemit: float = 0.0
    """Share by which gradients of symbols are raised above those of blanks, >= 0; emits earlier, typically 0.01."""
    topology: Topology = Topology.REGULAR
    """Whether a symbol consumes a frame."""
    ctc_scale: float = 0.0
    """Weight of the CTC loss, >= 0; 0 means that there is none, 0.2 is usual beside a transducer, 1 without."""
    attention_scale: float = 0.0
    """Weight of the attention decoder's cross-entropy, >= 0; 0 means that there is none."""
    label_smoothing: float = 0.1
    """Share of the attention decoder's targets that is spread over all symbols, in [0, 1)."""
    backend: Backend = Backend.AUTO
    """Whose code computes the simple and the pruned loss; the results are equal."""

    def __post_init__(self) -> None:
        if self.prune_range < 2:
            raise ConfigError(f"prune_range={self.prune_range} leaves no room for a symbol; use 2 or more")
        if min(self.lm_scale, self.am_scale) < 0 or self.lm_scale + self.am_scale > 1:
            raise ConfigError(
                f"lm_scale={self.lm_scale} and am_scale={self.am_scale} are shares: "
                "neither may be negative nor their sum above 1"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing={self.label_smoothing} must lie in [0, 1)")
        for key in ("simple_scale", "warm_steps", "ctc_scale", "attention_scale", "fastemit"):
            if getattr(self, key) < 0:
                raise ConfigError(f"{key}={getattr(self, key)} must not be negative")


class LossScales(NamedTuple):
    """Weights of the losses in the total."""

    simple: float
    pruned: float
    ctc: float
    attention: float


def loss_scales(cfg: TransducerLossConfig, step: int) -> LossScales:
    """Weights for one batch: at first the simple loss leads, until its windows are worth trusting.

    Args:
        step: how many batches training has seen, this one included (1 for the first).
    """
    if step >= cfg.warm_steps:
        return LossScales(cfg.simple_scale, 1.0, cfg.ctc_scale, cfg.attention_scale)
    progress = step / cfg.warm_steps
    simple = 1.0 - progress * (1.0 - cfg.simple_scale)
    return LossScales(simple, 0.1 + 0.9 * progress, cfg.ctc_scale, cfg.attention_scale)
