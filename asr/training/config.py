"""How a training run proceeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from asr.errors import ConfigError
from asr.training.guard import GuardConfig
from asr.training.precision import Precision


class Parallel(Enum):
    """What several processes have of a model."""

    DDP = "ddp"
    """All of it, each."""
    FSDP = "fsdp"
    """A share of every tensor, for models that one device cannot hold with gradients and optimizer; slower."""


@dataclass(kw_only=True)
class TrainingConfig:
    """Length, bookkeeping and regularisation clock of one run. Everything counts steps, never elapsed time."""

    num_steps: int = 100_000
    """Optimizer steps of the whole run; where num_epochs is set, no more than these."""
    num_epochs: int | None = None
    """Passes over the training data, as published recipes count; null: only steps are counted."""
    processes: int = 1
    """Processes (GPUs) that the other settings are for, with one batch each; another number of batches a step is
    warned of."""
    seed: int = 42
    """Seed of the parameters and of all that the model draws while it trains; data has a seed of its own."""
    device: str | None = None
    """Such as "cpu" or "cuda"; null: each process its own GPU where there is one."""
    warm_start: str | None = None
    """A checkpoint, or a run's folder, whose weights a new run starts from, as far as they fit; null: none."""
    parallel: Parallel = Parallel.DDP
    """What several processes have of the model; without meaning for one."""
    accumulate: int = 1
    """Batches per process and step; their gradients are averaged, as those of several processes are."""
    precision: Precision = Precision.FP32
    """Number format of matrix products; parameters and losses stay in float32."""
    recompute: bool = False
    """Keep only each layer's input and work the rest out again in backward: slower, with much less memory."""
    compile: bool = False
    """Compile formulas of regularisers and attention with torch.compile; where it cannot, the run goes on without."""
    tf32: bool = False
    """Whether NVIDIA GPUs may round the factors of float32 products; several times faster."""
    memory_limit_gb: float | None = None
    """Fill batches up to this much memory per process, measured with the real loss; 0: what a GPU has free; null: batch
    by `data.max_duration_s`."""
    num_threads: int | None = None
    """CPU threads of the training process; null leaves torch's choice."""
    regularisation_start: float | None = None
    """Position at which the schedules of dropout and the like begin; one unit stands for 600 s of audio; null: 0, or
    100 000, where all of them have ended, for a run with finetune.start or warm_start."""
    regularisation_per_step: float | None = None
    """Units by which that position moves per step; null: the audio of one full batch over 600 s."""
    log_every: int = 50
    """Steps between lines of metrics."""
    wandb: str | None = None
    """A Weights & Biases project that gets all numbers besides TensorBoard; needs wandb; null: none."""
    validate_every: int = 3000
    """Steps between validations; 0 leaves only the one at the end."""
    checkpoint_every: int = 4000
    """Steps between checkpoints; one is always written at the end."""
    keep_checkpoints: int = 5
    """How many of the newest checkpoints stay."""
    keep_epochs: int = 0
    """How many checkpoints stay besides, those of the newest ends of epochs, by which published averages are counted;
    they have no part in `keep_checkpoints`. 0: none is written because an epoch ends, nor kept for it."""
    keep_best: int = 1
    """How many checkpoints stay besides, those of the lowest error rates on the dev set; 0 or more."""
    ema_decay: float | None = None
    """Also average parameters exponentially, with this weight on the past, such as 0.999; null: do not."""
    average_period: int = 200
    """Steps between updates of the running model average."""
    resume_approximately: bool = False
    """Go on although settings have changed that decide which batches a step sees, from about the same place."""
    guard: GuardConfig = field(default_factory=GuardConfig)
    """What happens when steps go wrong."""

    def __post_init__(self) -> None:
        counts = "num_steps log_every checkpoint_every keep_checkpoints average_period accumulate"
        for name in counts.split():
            if getattr(self, name) < 1:
                raise ConfigError(f"training.{name}={getattr(self, name)} must be at least 1")
        for name in ("num_epochs", "processes"):
            if (getattr(self, name) or 1) < 1:
                raise ConfigError(f"training.{name}={getattr(self, name)} must be at least 1")
        if self.memory_limit_gb is not None and self.memory_limit_gb < 0:
            raise ConfigError(f"training.memory_limit_gb={self.memory_limit_gb} must be 0 or more, or null")
        if self.memory_limit_gb is not None and self.parallel is Parallel.FSDP:
            raise ConfigError("training.memory_limit_gb measures whole models; set it to null, or parallel=DDP")
        for name in ("keep_best", "keep_epochs"):
            if getattr(self, name) < 0:
                raise ConfigError(f"training.{name}={getattr(self, name)} must be 0 or more")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(f"training.ema_decay={self.ema_decay} must lie between 0 and 1; null: none is kept")
        if self.validate_every < 0:
            raise ConfigError(f"training.validate_every={self.validate_every} must be 0 (only at the end) or more")
        if (self.regularisation_start or 0) < 0 or (self.regularisation_per_step or 0) < 0:
            raise ConfigError("training.regularisation_start and training.regularisation_per_step must not be negative")
        if self.num_threads is not None and self.num_threads < 1:
            raise ConfigError(f"training.num_threads={self.num_threads} must be at least 1; null leaves torch's choice")
