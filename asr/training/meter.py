"""Running numbers between two lines of the log."""

from __future__ import annotations

import time
from typing import Any

from asr.data import Batch
from asr.optim import ScaledAdam
from asr.training.objective import Loss
from asr.training.snapshot import Snapshot
from asr.training.world import World


class Meter:
    """Sums losses, frames and utterances since the last line; knows the speed."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, float] = {}
        self._frames = 0.0
        self._utterances = 0
        self._since = time.monotonic()

    def add(self, loss: Loss, batch: Batch) -> None:
        """Take in one batch; of one that does not count only what its losses are called, which processes must agree on
        when they add up their sums."""
        for name, value in {"loss": loss.total.detach(), **loss.parts}.items():
            self._sums[name] = self._sums.get(name, 0.0) + (float(value) if batch.counts else 0.0)
        if not batch.counts:
            return
        self._frames += float(batch.feature_lens.sum()) / 4
        self._utterances += len(batch.ids)

    @property
    def utterances_per_s(self) -> float:
        return self._utterances / max(time.monotonic() - self._since, 1e-9)

    def losses(self) -> dict[str, float]:
        """Losses per encoder frame, on this process."""
        return {name: value / max(self._frames, 1.0) for name, value in self._sums.items()}

    def _pool(self, world: World) -> None:
        """Make the sums those of all processes."""
        names = sorted(self._sums)
        numbers = world.total([*(self._sums[name] for name in names), self._frames, self._utterances])
        self._sums = dict(zip(names, numbers))
        self._frames, self._utterances = numbers[-2], round(numbers[-1])

    def summary(self, optimizer: ScaledAdam) -> str:
        """A few words for the progress bar."""
        loss = self.losses().get("loss", float("nan"))
        return f"loss {loss:.3f} lr {optimizer.param_groups[0]['lr']:.4f} {self.utterances_per_s:.1f} utt/s"

    def drain(self, snapshot: Snapshot) -> dict[str, Any]:
        """Numbers of all processes since the last drain, for the log; every process must call this."""
        optimizer, position, guard = snapshot.optimizer, snapshot.position, snapshot.guard.state
        self._pool(snapshot.world)
        clip = optimizer.last_clip
        numbers = {
            **self.losses(),
            "lr": optimizer.param_groups[0]["lr"],
            "utterances_per_s": self.utterances_per_s,
            "grad_norm": clip.norm,
            "clip_factor": clip.factor,
            "nonfinite_grads": optimizer.nonfinite_steps,
            "nonfinite_losses": position.bad_losses,
            "exploded_losses": guard.exploded,
            "fallbacks": guard.fallbacks,
            "loss_scale": snapshot.scale,
            "epoch": position.epoch,
            "hours": position.audio_s / 3600,
            "cpu_s": position.cpu_s,
            "wall_s": position.wall_s,
        }
        self._reset()
        return numbers
