"""What ScaledAdam can be told."""

from __future__ import annotations

from dataclasses import dataclass

from asr.errors import ConfigError


@dataclass(kw_only=True)
class ScaledAdamConfig:
    """How ScaledAdam moves the parameters; the defaults are those of the published Zipformer recipes."""

    lr: float = 0.045
    """Base learning rate: relative change of a tensor per step, roughly; > 0."""
    beta1: float = 0.9
    """Decay of the average over finished updates, per step; in [0, 1)."""
    beta2: float = 0.98
    """Decay of the average of squared gradients, per step; in (0, 1)."""
    eps: float = 1e-8
    """Added to the root of the squared-gradient average; > 0."""
    scalar_lr_scale: float = 0.1
    """Factor on the rate for one-element tensors and for the size of every other tensor; > 0."""
    param_min_rms: float = 1e-5
    """Tensors smaller than this (root mean square) move as if they had this size; > 0."""
    param_max_rms: float = 3.0
    """No size step grows a tensor past this root mean square; > 0."""
    scalar_max: float = 10.0
    """One-element tensors stay within plus and minus this; > 0."""
    size_update_period: int = 4
    """Steps between updates of the sizes; >= 1."""
    clipping_scale: float | None = 2.0
    """Gradients whose norm exceeds this many running medians are scaled down; None: never."""
    clipping_update_period: int = 100
    """Steps over which the median is taken, and between its updates; >= 2."""

    def __post_init__(self) -> None:
        for key in ("lr", "eps", "scalar_lr_scale", "param_min_rms", "param_max_rms", "scalar_max"):
            _require(getattr(self, key) > 0, key, getattr(self, key), "must be > 0")
        _require(0 <= self.beta1 < 1, "beta1", self.beta1, "must lie in [0, 1)")
        _require(0 < self.beta2 < 1, "beta2", self.beta2, "must lie in (0, 1)")
        _require(self.size_update_period >= 1, "size_update_period", self.size_update_period, "must be >= 1")
        _require(
            self.clipping_update_period >= 2, "clipping_update_period", self.clipping_update_period, "must be >= 2"
        )
        _require(
            self.clipping_scale is None or self.clipping_scale > 0,
            "clipping_scale",
            self.clipping_scale,
            "must be > 0, or null to clip nothing",
        )


def _require(good: bool, key: str, value: object, wish: str) -> None:
    if not good:
        raise ConfigError(f"optim.{key}={value} {wish}")
