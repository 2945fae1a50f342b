"""asr train memory: how full the batches are that fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any


def memory(config: Any) -> int:
    """Choose batches for `training.memory_limit_gb`, and measure each once more, with draws of its own."""
    from rich.console import Console
    from rich.table import Table

    from asr.data import TrainLoader
    from asr.errors import ConfigError
    from asr.training.build import build_trainer
    from asr.training.memory import MemoryProbe, memory_limit

    limit_gb = config.training.memory_limit_gb
    if limit_gb is None:
        raise ConfigError("asr train memory needs training.memory_limit_gb=..., the memory that a run may take")
    trainer = build_trainer(replace(config, run_dir=str(Path(config.run_dir) / "memory")))
    trainer.journal.close()
    precision, longest_s = config.training.precision, config.longest_s
    limit = memory_limit(limit_gb, trainer.world.device)
    probe = MemoryProbe(trainer.objective, trainer.snapshot, precision, limit, longest_s)
    table = Table("up to seconds", "up to tokens", "utterances", "GB at the peak", "of the limit")
    assert isinstance(trainer.data, TrainLoader) and trainer.data.capacity is not None
    for bin in trainer.data.capacity.bins:
        need = probe.need(bin, bin.utterances, draws=2)
        numbers = f"{bin.seconds:.2f}", str(bin.tokens), str(bin.utterances), f"{need / 1e9:.3f}", f"{need / limit:.0%}"
        table.add_row(*numbers)
    Console().print(table)
    return 0
