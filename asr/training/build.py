"""From a configuration to a trainer made of finished parts."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from asr.checkpoint.average import RunningAverage
from asr.data import DataConfig, feature_stats, heard_cuts, train_loader
from asr.models.transducer import Transducer, TransducerConfig
from asr.optim import ScaledAdam, build_schedule, parameter_groups
from asr.text import Tokenizer, load_tokenizer
from asr.training.config import TrainingConfig
from asr.training.journal import Journal
from asr.training.objective import TransducerObjective
from asr.training.position import Position
from asr.training.randomness import seed_everything
from asr.training.run_config import RunConfig
from asr.training.snapshot import Snapshot
from asr.training.trainer import Trainer
from asr.training.validation import Validation

logger = logging.getLogger(__name__)

_REFERENCE_S = 600.0  # audio that one unit of the regularisation clock stands for, as published


def _origin(config: RunConfig) -> dict[str, Any]:
    """What a checkpoint says of its corpus, for the commands that choose and test."""
    data = config.data
    excluded = {"exclude_speakers": list(data.exclude_speakers)} if data.exclude_speakers else {}
    corpus = {"name": config.name, "folder": data.folder, "dev": data.dev, "test": data.test}
    return {**corpus, "unit": config.evaluation.unit.value, **excluded}


def build_trainer(config: RunConfig) -> Trainer:
    """Assemble everything that `config` asks for.

    Raises DataError where the corpus is not prepared, ConfigError where settings contradict each other.
    """
    set_up_process(config.training)
    tokenizer = load_tokenizer(Path(config.data.folder) / "tokenizer.json")
    model = build_model(config, tokenizer)
    loader = train_loader(config.data, tokenizer, config.augment)
    run_dir = Path(config.run_dir)
    journal = Journal(run_dir, num_steps=config.training.num_steps)
    snapshot = Snapshot(
        model=model,
        optimizer=ScaledAdam(parameter_groups(model), config.optim),
        average=RunningAverage(model.state_dict(), period=config.training.average_period),
        position=Position(),
        tokenizer=tokenizer.to_state(),
        origin=_origin(config),
        seeds={"training.seed": config.training.seed, "data.seed": config.data.seed},
    )
    return Trainer(
        config=config.training,
        objective=TransducerObjective(model, config.loss, config.consistency),
        snapshot=snapshot,
        schedule=build_schedule(config.schedule, base_lr=config.optim.lr, num_steps=config.training.num_steps),
        data=loader,
        run_dir=run_dir,
        journal=journal,
        regularisation_per_step=regularisation_per_step(config.training, config.data),
        validate=Validation(model, tokenizer, config.data, config.evaluation, journal),
    )


def set_up_process(config: TrainingConfig) -> None:
    """Threads, and what must hold before anything is computed."""
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    # Probabilities near zero become denormals in gradients, with which matrix products are many times slower.
    torch.set_flush_denormal(True)


def build_model(config: RunConfig, tokenizer: Tokenizer) -> Transducer:
    """The model, freshly initialised from the seed, with the vocabulary of the tokenizer."""
    seed_everything(config.training.seed, 1)
    shape: TransducerConfig = replace(config.model, vocab_size=tokenizer.vocab_size)
    model = Transducer(shape)
    if config.normalise_features:
        mean, deviation = feature_stats(heard_cuts(config.data, config.data.train))
        model.feature_norm.set(mean, deviation)
    return model


def regularisation_per_step(training: TrainingConfig, data: DataConfig) -> float:
    """How far the schedules of dropout and the like move per step."""
    if training.regularisation_per_step is not None:
        return training.regularisation_per_step
    return data.max_duration_s / _REFERENCE_S
