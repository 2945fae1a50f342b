"""Running numbers between two lines of the log."""

from __future__ import annotations

import time
from typing import Any

from asr.data import Batch
from asr.optim import ScaledAdam
from asr.training.objective import Loss
from asr.training.position import Position


class Meter:
    """Sums losses, frames and utterances since the last line; knows the speed."""

    def __init__(self) -> None:
        self.is_new = True
        self.bad_in_a_row = 0
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, float] = {}
        self._frames = 0.0
        self._utterances = 0
        self._since = time.monotonic()

    def add(self, loss: Loss, batch: Batch) -> None:
        """Take in one step."""
        self.is_new = False
        for name, value in {"loss": loss.total.detach(), **loss.parts}.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._frames += float(batch.feature_lens.sum()) / 4
        self._utterances += len(batch.ids)

    @property
    def utterances_per_s(self) -> float:
        return self._utterances / max(time.monotonic() - self._since, 1e-9)

    def losses(self) -> dict[str, float]:
        """Losses per encoder frame."""
        return {name: value / max(self._frames, 1.0) for name, value in self._sums.items()}

    def summary(self, optimizer: ScaledAdam) -> str:
        """A few words for the progress bar."""
        loss = self.losses().get("loss", float("nan"))
        return f"loss {loss:.3f} lr {optimizer.param_groups[0]['lr']:.4f} {self.utterances_per_s:.1f} utt/s"

    def drain(self, optimizer: ScaledAdam, position: Position) -> dict[str, Any]:
        """Numbers since the last drain, for the log."""
        clip = optimizer.last_clip
        numbers = {
            **self.losses(),
            "lr": optimizer.param_groups[0]["lr"],
            "utterances_per_s": self.utterances_per_s,
            "grad_norm": clip.norm,
            "clip_factor": clip.factor,
            "nonfinite_grads": optimizer.nonfinite_steps,
            "nonfinite_losses": position.bad_losses,
            "epoch": position.epoch,
            "hours": position.audio_s / 3600,
            "cpu_s": position.cpu_s,
        }
        self._reset()
        return numbers
