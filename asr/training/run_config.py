"""Everything about one experiment, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from asr.data.config import AugmentConfig, DataConfig
from asr.errors import ConfigError
from asr.evaluation import Unit
from asr.losses import TransducerLossConfig
from asr.models.transducer import TransducerConfig
from asr.nn.chunks import ChunkContext
from asr.optim import ScaledAdamConfig, ScheduleConfig
from asr.training.config import Parallel, TrainingConfig
from asr.training.consistency import ConsistencyConfig
from asr.training.finetune import FinetuneConfig
from asr.training.lr_range import LrRangeConfig


@dataclass(kw_only=True)
class EvaluationConfig:
    """How the dev set is decoded while training."""

    chunk_size: int | None = 32
    """Chunk of a causal model's frames, 50 Hz; null hears whole utterances."""
    left_context: int | None = 128
    """Left context of a causal model, 50 Hz frames; null is unlimited."""
    max_duration_s: float = 60.0
    """Audio per batch, seconds, padding included."""
    unit: Unit = Unit.WORD
    """What errors are counted in, here and, unless told otherwise, wherever the model is tested."""

    def __post_init__(self) -> None:
        ChunkContext(chunk_size=self.chunk_size, left_context=self.left_context)  # checks both
        if not self.max_duration_s > 0:
            raise ConfigError(f"evaluation.max_duration_s={self.max_duration_s} must be above 0")


@dataclass(kw_only=True)
class RunConfig:
    """The root of `asr train` and `asr prepare`."""

    name: str = "run"
    """Name of the run."""
    run_dir: str = "exp/${name}"
    """Folder of its checkpoints and logs."""
    normalise_features: bool = True
    """Give the model the mean and deviation of the training features; published models have none."""
    corpus: Any = None
    """How the corpus is prepared; the recipe's own settings."""
    model: TransducerConfig = field(default_factory=TransducerConfig)
    """Shape of the model."""
    data: DataConfig = field(default_factory=DataConfig)
    """Corpus and batches."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Variation of training utterances."""
    optim: ScaledAdamConfig = field(default_factory=ScaledAdamConfig)
    """Optimizer."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Learning rate over time."""
    loss: TransducerLossConfig = field(default_factory=TransducerLossConfig)
    """What is minimised."""
    consistency: ConsistencyConfig | None = None
    """Two views of every utterance that shall agree; null is none."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """Length and bookkeeping of the run."""
    lr_range: LrRangeConfig = field(default_factory=LrRangeConfig)
    """What `asr train lr-range` tries."""
    finetune: FinetuneConfig | None = None
    """Go on from a trained model with other data; null: train from the beginning."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the dev set is decoded."""

    def longest_s(self, seconds: float) -> float:
        """How long variation, delay and padding can make a batch whose longest utterance has so many seconds."""
        delay = self.consistency.longest_delay_s if self.consistency else 0.0
        return self.data.padded_s(self.augment.longest_s(seconds) + delay)

    def __post_init__(self) -> None:
        if not self.name or not self.run_dir:
            raise ConfigError("name and run_dir must not be empty; a run needs a folder of its own")
        if self.model.encoder.can_stream:
            self.model.encoder.check_chunk_size(self.evaluation.chunk_size, "evaluation.chunk_size")
        self._check_losses()
        self._check_finetune()

    def _check_finetune(self) -> None:
        if self.finetune is None:
            return
        if self.training.warm_start is not None:
            raise ConfigError("training.warm_start must be null where finetune.start says what to go on from")
        if self.finetune.lora is None:
            return
        if self.training.ema_decay is not None:
            raise ConfigError("training.ema_decay averages whole weights; set it to null, or finetune.lora to null")
        if self.training.parallel is Parallel.FSDP:
            raise ConfigError("training.parallel=FSDP has no whole weights to change; use DDP, or finetune.lora=null")

    def _check_losses(self) -> None:
        """Every loss needs its head, every head a loss."""
        model, loss, augment = self.model, self.loss, self.augment
        heads = {
            "ctc_scale": ("ctc_head", model.ctc_head),
            "attention_scale": ("attention_decoder", model.attention_decoder),
        }
        for key, (name, head) in heads.items():
            if getattr(loss, key) > 0 and not head:
                raise ConfigError(f"loss.{key}={getattr(loss, key)} needs a head of its own; set model.{name}")
        if not model.transducer and loss.ctc_scale <= 0:
            raise ConfigError("model.transducer=false leaves nothing to minimise; set loss.ctc_scale, 1 for CTC alone")
        if self.consistency is None:
            return
        if not model.ctc_head:
            raise ConfigError("consistency needs a CTC head; set model.ctc_head=true, or consistency=null")
        if augment.masks is not None and augment.masks.prob > 0:
            raise ConfigError("consistency masks each copy by itself; set augment.masks.prob=0")
