"""A run that goes on from a trained model with other data: what it starts from, and what of it trains."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr.checkpoint.model import LoadedModel, load_model
from asr.data import DataConfig, ReplayConfig
from asr.errors import ConfigError
from asr.models.transducer import Transducer, count_parameters
from asr.nn.lora import add_low_rank
from asr.optim import freeze_parameters

if TYPE_CHECKING:
    from asr.training.run_config import RunConfig


@dataclass(kw_only=True)
class LoraConfig:
    """Changes of low rank; all other parameters stay as they are."""

    rank: int = 8
    """Width of the factors of each change; 1 or more."""
    layers: list[str] = field(default_factory=lambda: ["encoder.*"])
    """Patterns of names of linear layers that change; * stands for anything."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"rank={self.rank} must be at least 1")


@dataclass(kw_only=True)
class CanaryConfig:
    """Utterances that the model knew well; their error rate tells what it forgets."""

    folder: str
    """A prepared corpus, as `data.folder`."""
    split: str = "dev"
    """Which of its splits; none that is trained on."""
    exclude_speakers: list[str] = field(default_factory=list)
    """Speakers left out."""

    def like(self, data: DataConfig) -> DataConfig:
        """The `data` of the canary set."""
        return replace(data, folder=self.folder, dev=self.split, exclude_speakers=self.exclude_speakers)


@dataclass(kw_only=True)
class FinetuneConfig:
    """A trained model that learns from other data. Its shape and its tokenizer are the checkpoint's."""

    start: str
    """A checkpoint, own or imported, or a run's folder."""
    freeze: list[str] = field(default_factory=list)
    """Patterns of names of modules or parameters that do not train, such as "encoder.embed" or "*.bias"."""
    lora: LoraConfig | None = None
    """Train changes of low rank only, which checkpoints hold added to the weights; null: train the weights."""
    replay: ReplayConfig | None = None
    """Data from before among the new; null: none."""
    canary: CanaryConfig | None = None
    """Utterances watched for what is forgotten; null: none."""


def start_of(config: RunConfig) -> tuple[RunConfig, LoadedModel | None]:
    """The model that a run goes on from, and the run's settings with that model's shape; None: it is no fine-tuning.

    Raises:
        CheckpointError: there is no model.
        ConfigError: the losses do not fit its heads.
    """
    if config.finetune is None:
        return config, None
    loaded = load_model(Path(config.finetune.start))
    return replace(config, model=loaded.model.config), loaded


def prepare_to_tune(model: Transducer, config: FinetuneConfig) -> str:
    """Decide what of a model trains; returns it in words.

    Raises:
        ConfigError: a pattern matches nothing, or nothing is left to train.
    """
    total = count_parameters(model)
    how = ""
    if config.lora is not None:
        layers = add_low_rank(model, config.lora.layers, config.lora.rank)
        how = f", as changes of rank {config.lora.rank} to {len(layers)} layers"
    freeze_parameters(model, config.freeze)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return f"trains {trained:,} parameters of a model of {total:,}{how}"
