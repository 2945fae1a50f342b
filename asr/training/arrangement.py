"""Which batches a step sees, in what order: the settings that decide it, and what a changed one means for resuming."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from asr.data import Capacity, DataConfig, ReplayConfig
from asr.errors import CheckpointError

BY_MEMORY = "batch sizes by memory"
# Of all data settings, those that batches do not depend on.
_HARMLESS = {"folder", "dev", "test", "num_workers", "prefetch", "seed"}


@dataclass(frozen=True)
class Arrangement:
    """processes and accumulate: batches of a step; data: the settings that plan an epoch, by their full names."""

    processes: int
    accumulate: int
    data: dict[str, Any]

    @classmethod
    def of(
        cls, data: DataConfig, *, processes: int, accumulate: int, replay: ReplayConfig | None = None
    ) -> Arrangement:
        """That of a run."""
        plain = {item.name: getattr(data, item.name) for item in fields(data) if item.name not in _HARMLESS}
        plain["features"] = data.features.value
        named: dict[str, Any] = {f"data.{name}": value for name, value in plain.items()}
        again = None if replay is None else asdict(replay)
        return cls(processes, accumulate, {**named, "finetune.replay": again, BY_MEMORY: None})

    def note_capacity(self, capacity: Capacity) -> None:
        """Batches are made by what fits into memory."""
        self.data[BY_MEMORY] = " ".join(str(bin.utterances) for bin in capacity.bins)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], default: Arrangement) -> Arrangement:
        """What `to_dict` gave; `default` stands for what an older checkpoint does not say."""
        return cls(**{**default.to_dict(), **values, "data": {**default.data, **values.get("data", {})}})

    def check_same(self, now: Arrangement, path: Path) -> None:
        """Raise CheckpointError, naming it, where a setting is not what it was when `path` was written."""
        before, after = self._settings(), now._settings()
        for name, value in after.items():
            if before[name] != value:
                raise CheckpointError(
                    f"{path} was trained with {name}={before[name]}, not {value}, so its steps saw other batches; "
                    "go back to that, or set training.resume_approximately=true to go on from about the same place"
                )

    def _settings(self) -> dict[str, Any]:
        return {"processes": self.processes, "training.accumulate": self.accumulate, **self.data}

    def consumed_like(self, before: Arrangement, consumed: int) -> int:
        """How many of this arrangement's batches per process are as much of an epoch as `consumed` were `before`."""
        if before == self:
            return consumed
        audio = consumed * before.processes * before.data["data.max_duration_s"]
        steps = audio / (self.processes * self.accumulate * self.data["data.max_duration_s"])
        return round(steps) * self.accumulate
