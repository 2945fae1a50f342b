"""What a run will take, before it is started, and where each number comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from asr.data import FeatureSource, cuts_path, feats_path, read_cuts, train_loader
from asr.models.transducer import Transducer, count_parameters
from asr.nn.chunks import ChunkContext
from asr.text import load_tokenizer
from asr.training.probe import Probe, probe_bins
from asr.training.run_config import RunConfig

WORK_S = 30.0
"""Audio for which an encoder's work is usually published."""
_BYTES_PER_PARAMETER = {"weights": 4, "gradients": 4, "ScaledAdam": 8, "running average": 8}
_PART_NAMES = ("encoder", "predictor", "joiner", "simple_am_proj", "simple_lm_proj", "ctc_head", "attention_decoder")


class Figure(NamedTuple):
    """One number of a plan, and how it was found."""

    what: str
    value: str
    source: str


class Audio(NamedTuple):
    """What an epoch holds, all speeds counted."""

    hours: float
    utterances: int | None
    source: str


def make_plan(config: RunConfig) -> Iterator[Figure]:
    """Figures one by one, the quick ones first; the last ones are measured on this machine and take a while.

    Nothing is written. Where the corpus is not prepared, its published size stands in.
    """
    audio = epoch_audio(config)
    if audio is None:
        yield Figure("data", "unknown", f"{config.data.folder} is not prepared and its corpus has no published size")
    else:
        count = "" if audio.utterances is None else f", {audio.utterances:,} utterances"
        yield Figure("data per epoch", f"{audio.hours:,.1f} h at {len(config.data.speeds)} speeds{count}", audio.source)
    steps = steps_per_epoch(config, audio)
    if steps is not None:
        yield Figure("steps per epoch", f"{steps[0]:,}", steps[1])
        yield _all_steps(config, steps[0])
    yield from _model_figures(config)
    yield from _measured_figures(config, audio)


def epoch_audio(config: RunConfig) -> Audio | None:
    """Count the list of cuts, or fall back on what was published of the corpus."""
    data = config.data
    factor = sum(1.0 / speed for speed in data.speeds)
    stored = data.features is FeatureSource.STORED
    path = feats_path(data.folder, data.train) if stored else cuts_path(data.folder, data.train)
    if path.exists():
        durations = [cut.duration for cut in read_cuts(path, lazy=True)]
        speeds = 1.0 if stored else factor
        copies = 1 if stored else len(data.speeds)
        return Audio(sum(durations) * speeds / 3600, len(durations) * copies, f"counted in {path}")
    published = getattr(config.corpus, "published_hours", lambda split: None)(data.train)
    return None if published is None else Audio(published * factor, None, "published size; not prepared here")


def steps_per_epoch(config: RunConfig, audio: Audio | None) -> tuple[int, str] | None:
    """Planned batch by batch where the corpus is prepared, else the least that full batches without padding take."""
    data, training = config.data, config.training
    if audio is not None and audio.utterances is not None and (Path(data.folder) / "tokenizer.json").exists():
        tokenizer = load_tokenizer(Path(data.folder) / "tokenizer.json")
        replay = config.finetune.replay if config.finetune else None
        loader = train_loader(data, tokenizer, None, replay=replay, rank=0, world_size=training.processes)
        steps = -(-loader.num_batches(0) // training.accumulate)
        return steps, f"the first epoch, planned for {training.processes} processes"
    if audio is None:
        return None
    batch_s = data.max_duration_s * training.processes * training.accumulate
    source = f"full batches of {data.max_duration_s:g} s on {training.processes} processes; padding adds to it"
    return int(audio.hours * 3600 / batch_s), source


def _all_steps(config: RunConfig, per_epoch: int) -> Figure:
    training = config.training
    if training.num_epochs is None:
        epochs = training.num_steps / max(per_epoch, 1)
        return Figure("steps", f"{training.num_steps:,}, {epochs:.1f} epochs", "training.num_steps")
    steps = min(per_epoch * training.num_epochs, training.num_steps)
    return Figure("steps", f"{steps:,}, {training.num_epochs} epochs", "training.num_epochs times steps per epoch")


def _model_figures(config: RunConfig) -> Iterator[Figure]:
    with torch.device("meta"):
        model = Transducer(config.model)
    parts = {name: count_parameters(getattr(model, name, None)) for name in _PART_NAMES}
    shown = ", ".join(f"{name} {count:,}" for name, count in parts.items() if count)
    yield Figure("parameters", f"{count_parameters(model):,}", f"counted: {shown}")
    work = encoder_flops(model)
    if work is not None:
        source = "two per multiply-add of products and convolutions, one pass over a whole utterance"
        yield Figure(f"encoder, {WORK_S:g} s of audio", f"{work / 1e9:.1f} GFLOPs", source)
    total = sum(_BYTES_PER_PARAMETER.values()) * count_parameters(model)
    each = ", ".join(f"{name} {size}" for name, size in _BYTES_PER_PARAMETER.items())
    yield Figure("memory that a batch does not change", _gigabytes(total), f"bytes per parameter: {each}")


def encoder_flops(model: Transducer) -> int | None:
    """Floating-point operations of the encoder for 30 s; None where torch cannot count. `model` is on `meta`."""
    try:
        return _count(model, torch.device("meta"))
    except ImportError:  # torch before 2.3
        return None
    except RuntimeError:  # an encoder that looks at numbers, which there are none of
        return _count(Transducer(model.config), torch.device("cpu"))


def _count(model: Transducer, device: torch.device) -> int:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    frames, context = int(100 * WORK_S), ChunkContext()
    was_training = model.training
    # Attention in plain products: the counter passes over some of the fused kernels.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad(), device:
        encoder = model.eval().encoder
        features = encoder.pad_whole(torch.zeros(1, frames, model.config.encoder.feature_dim), context)
        encoder(features, torch.tensor([frames]), encoder.init_state(1, device=device), context)
    model.train(was_training)
    return counter.get_total_flops()


def _measured_figures(config: RunConfig, audio: Audio | None) -> Iterator[Figure]:
    probes: list[Probe] = []
    for probe in probe_bins(config):
        probes.append(probe)
        full = probe.bytes_per_s * config.data.max_duration_s
        measured = (
            f"{probe.rows} utterances measured on {probe.device}: {_gigabytes(probe.bytes_per_s * probe.audio_s)}"
        )
        yield Figure(f"memory of a batch of {probe.duration_s:g} s utterances", _gigabytes(full), f"{measured}, scaled")
    per_audio_s = sum(probe.step_s for probe in probes) / sum(probe.audio_s for probe in probes)
    rate = Figure("speed", f"{1 / per_audio_s:.1f} s of audio per second", f"steps measured on {probes[0].device}")
    yield rate
    if audio is not None:
        hours = audio.hours * per_audio_s / config.training.processes
        source = f"data per epoch at that speed, on {config.training.processes} such devices"
        yield Figure("time per epoch", f"{hours:,.2f} h", source)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
