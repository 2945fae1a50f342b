"""Scale gradients down when their norm leaves the range of the recent past."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.errors import CheckpointError, RillError

logger = logging.getLogger(__name__)

EARLY_STEPS = (10, 20, 40)  # if the period is longer: few, still falling, norms are seen, so the limit is doubled
STRONG = 0.5  # below this factor, say which parameters were to blame


class ClipReport(NamedTuple):
    """What clipping did at one step; `threshold` is None while nothing has been estimated."""

    norm: float
    threshold: float | None
    factor: float


class MedianClipping:
    """A threshold at `scale` times the median norm of the last `period` steps, re-estimated every period.

    Host side only: floats in, floats out. The norm of step 0 is not remembered.

    Args:
        scale: medians a norm may reach unclipped; None never clips (norms are still reported).
        period: steps.
    """

    def __init__(self, scale: float | None, period: int) -> None:
        self.scale = scale
        self.norms = torch.zeros(period, dtype=torch.float64)
        self.threshold: float | None = None
        self.num_clipped = 0  # since the last estimate
        self.last = ClipReport(0.0, None, 1.0)

    def update(self, step: int, weighted_norms: Tensor, names: Sequence[str]) -> float:
        """Take in one step's norms and give the factor for its gradients.

        Args:
            step: steps taken before this one.
            weighted_norms: norm of each parameter's gradient, weighted for comparison, (N,).
            names: names of the N parameters, for the log.
        Returns:
            A factor in [0, 1]; 0 when the norm is not finite.
        Raises:
            RillError: half of the recent norms were not finite.
        """
        norm = float(weighted_norms.square().sum().sqrt())
        norm = norm if math.isfinite(norm) else math.inf
        if step > 0 and self.scale is not None:
            self.norms[step % len(self.norms)] = norm
            self._estimate(step, self.scale)
        factor = 1.0 if math.isfinite(norm) else 0.0
        if self.threshold is not None:
            factor = min(1.0, self.threshold / (norm + 1e-20))
        if factor < 1:
            self.num_clipped += 1
        self.last = ClipReport(norm, self.threshold, factor)
        if 0 < factor < STRONG:
            _report_strong(step, self.last, weighted_norms, names)
        return factor

    def mark_dropped(self) -> None:
        """Record that this step's gradients were dropped altogether, whatever their norm in this group."""
        self.last = self.last._replace(factor=0.0)

    def _estimate(self, step: int, scale: float) -> None:
        early = step in EARLY_STEPS and step < len(self.norms)
        if not early and step % len(self.norms):
            return
        ordered = self.norms.sort().values
        if early:
            ordered = ordered[-step:]
        median = float(ordered[len(ordered) // 4 * 2])
        if not math.isfinite(median):
            raise RillError(
                f"step {step}: half of the last {len(ordered)} gradients were not finite; "
                "lower optim.lr, lengthen its warm-up, or train in float32"
            )
        self.threshold = scale * median * (2 if early else 1)
        quartiles = ", ".join(f"{float(ordered[min(len(ordered) * i // 4, len(ordered) - 1)]):.3g}" for i in range(5))
        logger.info(
            "step %d: gradient norm quartiles %s; clipped %d since last told; threshold %.3g",
            step,
            quartiles,
            self.num_clipped,
            self.threshold,
        )
        self.num_clipped = 0

    def to_state(self) -> dict[str, Any]:
        """All that is remembered: `norms`, a tensor, and numbers."""
        return {"norms": self.norms.clone(), "threshold": self.threshold, "num_clipped": self.num_clipped}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `to_state()`.

        Raises:
            CheckpointError: it was saved with another period.
        """
        if state["norms"].shape != self.norms.shape:
            raise CheckpointError(
                f"the saved optimizer has optim.clipping_update_period={len(state['norms'])} and this one "
                f"{len(self.norms)}; resume with the saved value"
            )
        self.norms = state["norms"].to("cpu", torch.float64, copy=True)
        self.threshold = state["threshold"]
        self.num_clipped = state["num_clipped"]


def _report_strong(step: int, report: ClipReport, weighted_norms: Tensor, names: Sequence[str]) -> None:
    shares = weighted_norms.square() / report.norm**2
    top = shares.topk(min(3, len(shares)))
    blame = ", ".join(f"{names[i]} {share:.0%}" for share, i in zip(top.values.tolist(), top.indices.tolist()))
    logger.info("step %d: gradients scaled by %.3g; mostly because of %s", step, report.factor, blame)
