"""From a configuration to a trainer made of finished parts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from asr.checkpoint.average import ExponentialAverage, RunningAverage
from asr.checkpoint.folder import list_checkpoints
from asr.data import Capacity, all_cuts, bins_for, feature_stats, heard_cuts, left_out, train_loader, usable
from asr.models.transducer import Transducer, TransducerConfig
from asr.nn.lora import plain_state
from asr.nn.schedule import set_schedule_position
from asr.optim import ScaledAdam, build_schedule, parameter_groups
from asr.text import Tokenizer, load_tokenizer
from asr.training.arrangement import Arrangement
from asr.training.canary import Canary
from asr.training.clock import RegularisationClock
from asr.training.compiled import compile_formulas
from asr.training.config import Parallel, TrainingConfig
from asr.training.finetune import prepare_to_tune, start_of
from asr.training.guard import Guard
from asr.training.journal import Journal, QuietJournal
from asr.training.memory import MemoryProbe, fit_batches, memory_limit
from asr.training.objective import TransducerObjective
from asr.training.position import Position
from asr.training.precision import LossScale, allow_tf32
from asr.training.randomness import seed_everything
from asr.training.recompute import recompute_layers
from asr.training.regularisers import RegulariserMemory
from asr.training.rescue import Rescue
from asr.training.run_config import RunConfig
from asr.training.sharding import shard
from asr.training.snapshot import Snapshot
from asr.training.stepper import Stepper
from asr.training.trainer import Trainer
from asr.training.validation import Validation
from asr.training.warm_start import warm_start
from asr.training.world import World, join_world

logger = logging.getLogger(__name__)

_PROBED_CUTS = 100_000  # among which lengths of batches are chosen
_TRAINED = 100_000.0  # where that clock stands for a model that has been trained, as published
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
    training = config.training
    set_up_process(training)
    world = join_world(training.device)
    config, start = start_of(config)
    tokenizer = load_tokenizer(Path(config.data.folder) / "tokenizer.json") if start is None else start.tokenizer
    run_dir = Path(config.run_dir)
    journal = open_journal(run_dir, training) if world.is_first else QuietJournal()
    model = build_model(config, tokenizer) if start is None else start.model
    if start is not None and config.finetune is not None:
        seed_everything(training.seed, 1)
        journal.line(f"fine-tuning {start.path}: {prepare_to_tune(model, config.finetune)}")
    if training.warm_start is not None and not list_checkpoints(run_dir / "checkpoints"):
        journal.line(warm_start(model, tokenizer, Path(training.warm_start)).sentence())
    if remark := other_batch(training, world):
        journal.line(remark)
    objective = TransducerObjective(model.to(world.device), config.loss, config.consistency)
    for remark in lighten(objective, training, world):
        journal.line(remark)
    if training.parallel is Parallel.FSDP and world.size > 1:
        shard(objective)
    snapshot = build_snapshot(config, model, tokenizer, world)
    capacity = fitting_batches(config, objective, snapshot, tokenizer)
    loader = train_loader(
        config.data,
        tokenizer,
        config.augment,
        capacity=capacity,
        replay=config.finetune.replay if config.finetune else None,
        rank=world.rank,
        world_size=world.size,
    )
    if world.is_first and not list_checkpoints(run_dir / "checkpoints"):
        for remark in never_heard(config, tokenizer):
            journal.line(remark)
    schedule = build_schedule(config.schedule, base_lr=config.optim.lr, num_steps=training.num_steps)
    clock = RegularisationClock(regularisation_start(config), regularisation_per_step(config, world))
    rescue = Rescue(objective, snapshot, run_dir, training, clock)
    return Trainer(
        config=training,
        stepper=Stepper(training, objective, snapshot, schedule, clock=clock, rescue=rescue),
        rescue=rescue,
        data=loader,
        run_dir=run_dir,
        journal=journal,
        validate=build_validation(config, model, tokenizer, journal, world),
        validate_first=start is not None,
    )


def open_journal(run_dir: Path, config: TrainingConfig) -> Journal:
    """Where the numbers of a run go."""
    return Journal(run_dir, num_steps=config.num_steps, num_epochs=config.num_epochs, wandb=config.wandb)


def other_batch(config: TrainingConfig, world: World) -> str | None:
    """A warning where a step hears another amount of audio than the settings are for."""
    batches = world.size * config.accumulate
    if batches == config.processes:
        return None
    return (
        f"warning: a step has {batches} batches and the settings are for {config.processes}; training.accumulate "
        f"makes up for missing processes, and training.processes={batches} says that it is meant"
    )


def never_heard(config: RunConfig, tokenizer: Tokenizer) -> Iterator[str]:
    """What of each training set is left out, and why; nothing of shards, which would have to be read to the end."""
    data = config.data
    replay = config.finetune.replay if config.finetune else None
    for one in [] if data.shards is not None else [data, *([replay.like(data)] if replay else [])]:
        if remark := left_out(all_cuts(one), tokenizer, one):
            yield f"{one.folder}: {remark}"


def build_validation(
    config: RunConfig, model: Transducer, tokenizer: Tokenizer, journal: Journal | QuietJournal, world: World
) -> Validation | Canary:
    """What recognises the dev set, and the canary set where there is one."""
    validation = Validation(model, tokenizer, config.data, config.evaluation, journal, world)
    canary = config.finetune.canary if config.finetune else None
    if canary is None:
        return validation
    data = canary.like(config.data)
    return Canary(validation, Validation(model, tokenizer, data, config.evaluation, QuietJournal(), world))


def build_snapshot(config: RunConfig, model: Transducer, tokenizer: Tokenizer, world: World) -> Snapshot:
    """The state of a run that has not begun."""
    data, training = config.data, config.training
    replay = config.finetune.replay if config.finetune else None
    return Snapshot(
        model=model,
        optimizer=ScaledAdam(parameter_groups(model), config.optim),
        average=RunningAverage(plain_state(model), period=training.average_period),
        ema=None if training.ema_decay is None else ExponentialAverage(model, decay=training.ema_decay),
        regularisers=RegulariserMemory(model, training.accumulate),
        guard=Guard(training.guard, training.precision),
        loss_scale=LossScale(),
        position=Position(),
        tokenizer=tokenizer.to_state(),
        origin=_origin(config),
        seeds={"training.seed": training.seed, "data.seed": data.seed},
        arrangement=Arrangement.of(data, processes=world.size, accumulate=training.accumulate, replay=replay),
        world=world,
    )


def lighten(objective: TransducerObjective, config: TrainingConfig, world: World) -> Iterator[str]:
    """Recompute and compile layers as asked; says what could not be done."""
    if config.recompute and not recompute_layers(objective.model):
        yield "training.recompute does nothing for an encoder that is no Zipformer; going on without"
    if config.compile and (reason := compile_formulas(objective, world.device, config.precision)):
        yield reason


def fitting_batches(
    config: RunConfig, objective: TransducerObjective, snapshot: Snapshot, tokenizer: Tokenizer
) -> Capacity | None:
    """How many utterances fit into a batch, measured; None where batches are made by their duration."""
    training, world = config.training, snapshot.world
    if training.memory_limit_gb is None:
        return None
    capacity = None
    if world.is_first:  # alone, or processes would disturb each other's measurements
        limit = memory_limit(training.memory_limit_gb, world.device)
        set_schedule_position(snapshot.model, regularisation_start(config))
        cuts = islice(usable(all_cuts(config.data), tokenizer, config.data), _PROBED_CUTS)
        capacity = fit_batches(
            MemoryProbe(objective, snapshot, training.precision, limit, config.longest_s, training.recompute),
            bins_for(cuts, tokenizer),
        )
    capacity = world.gather(capacity)[0]
    assert capacity is not None
    snapshot.arrangement.note_capacity(capacity)
    return capacity


def set_up_process(config: TrainingConfig) -> None:
    """Threads, and what must hold before anything is computed."""
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    # Probabilities near zero become denormals in gradients, with which matrix products are many times slower.
    torch.set_flush_denormal(True)
    allow_tf32(config.tf32)


def build_model(config: RunConfig, tokenizer: Tokenizer) -> Transducer:
    """The model, freshly initialised from the seed, with the vocabulary of the tokenizer."""
    seed_everything(config.training.seed, 1)
    shape: TransducerConfig = replace(config.model, vocab_size=tokenizer.vocab_size)
    model = Transducer(shape)
    if config.normalise_features:
        mean, deviation = feature_stats(heard_cuts(config.data, config.data.train))
        model.feature_norm.set(mean, deviation)
    return model


def regularisation_start(config: RunConfig) -> float:
    """Where the schedules of dropout and the like begin: at their ends, for a model that was trained before."""
    training = config.training
    if training.regularisation_start is not None:
        return training.regularisation_start
    return _TRAINED if config.finetune is not None or training.warm_start is not None else 0.0


def regularisation_per_step(config: RunConfig, world: World) -> float:
    """How far the schedules of dropout and the like move per step."""
    training = config.training
    if training.regularisation_per_step is not None:
        return training.regularisation_per_step
    return config.data.max_duration_s * world.size * training.accumulate / _REFERENCE_S
