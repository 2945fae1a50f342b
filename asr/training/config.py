"""How a training run proceeds."""

from __future__ import annotations

from dataclasses import dataclass

from asr.errors import ConfigError


@dataclass(kw_only=True)
class TrainingConfig:
    """Length, bookkeeping and regularisation clock of one run. Everything counts steps, never elapsed time."""

    num_steps: int = 100_000
    """Optimizer steps of the whole run; where num_epochs is set, no more than these."""
    num_epochs: int | None = None
    """Passes over the training data, as published recipes count; null: only steps are counted."""
    processes: int = 1
    """Processes (GPUs) that the other settings are for; another number is another batch, and is warned of."""
    seed: int = 42
    """Seed of the parameters and of all that the model draws while it trains; data has a seed of its own."""
    num_threads: int | None = None
    """CPU threads of the training process; null leaves torch's choice."""
    regularisation_start: float = 0.0
    """Position at which the schedules of dropout and the like begin; one unit stands for 600 s of audio."""
    regularisation_per_step: float | None = None
    """Units by which that position moves per step; null: the audio of one full batch over 600 s."""
    log_every: int = 50
    """Steps between lines of metrics."""
    validate_every: int = 3000
    """Steps between validations; 0 leaves only the one at the end."""
    checkpoint_every: int = 4000
    """Steps between checkpoints; one is always written at the end."""
    keep_checkpoints: int = 5
    """How many of the newest checkpoints stay."""
    average_period: int = 200
    """Steps between updates of the running model average."""
    max_bad_steps: int = 100
    """Steps in a row without a finite loss or gradient after which the run gives up."""

    def __post_init__(self) -> None:
        counts = "num_steps log_every checkpoint_every keep_checkpoints average_period max_bad_steps"
        for name in counts.split():
            if getattr(self, name) < 1:
                raise ConfigError(f"training.{name}={getattr(self, name)} must be at least 1")
        for name in ("num_epochs", "processes"):
            if (getattr(self, name) or 1) < 1:
                raise ConfigError(f"training.{name}={getattr(self, name)} must be at least 1")
        if self.validate_every < 0:
            raise ConfigError(f"training.validate_every={self.validate_every} must be 0 (only at the end) or more")
        if self.regularisation_start < 0 or (self.regularisation_per_step or 0) < 0:
            raise ConfigError("training.regularisation_start and training.regularisation_per_step must not be negative")
        if self.num_threads is not None and self.num_threads < 1:
            raise ConfigError(f"training.num_threads={self.num_threads} must be at least 1; null leaves torch's choice")
