"""What a CUDA device does: training in bfloat16, offline decoding, live streams."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asr.bench.result import Row
from asr.bench.timing import median
from asr.decoding import SearchConfig
from asr.decoding.greedy import GreedySearch
from asr.losses import TransducerLossConfig
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.nn.schedule import set_schedule_position
from asr.optim import ScaledAdam, parameter_groups
from asr.training.objective import TransducerObjective

LARGE: dict[str, Any] = {
    "num_layers": [2, 2, 4, 5, 4, 2],
    "encoder_dims": [192, 256, 512, 768, 512, 256],
    "unmasked_dims": [192, 192, 256, 320, 256, 192],
    "feedforward_dims": [512, 768, 1536, 2048, 1536, 768],
}
"""The published large model's sizes, as far as they differ from the medium one's."""
CONFORMERS = {"medium": (384, 6, 16), "large": (512, 8, 24)}
"""Width, heads and layers of torchaudio's Conformer with about as many parameters."""
LENGTH_S = 15
TOKENS = 60
STREAM_STEP_S = 0.32
ROUNDS, WARM_UP = 10, 3


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much to give the device."""

    device: str = "cuda"
    """Where."""
    train_batch: int = 64
    """Utterances of 15 s in a training step."""
    decode_batch: int = 256
    """The same, in decoding."""
    streams: int = 1024
    """Streams that step together."""


def run() -> list[Row]:
    """All rows; without a CUDA device none is measured."""
    if not torch.cuda.is_available():
        return [
            Row(work=work, value=None, aim=aim, at_most=at_most, note="no CUDA device") for work, aim, at_most in WORKS
        ]
    load = Load()
    values = [
        *(value for name in CONFORMERS for value in _training(name, load)),
        hours_trained_per_hour(load),
        offline_speed(load),
        concurrent_streams(load),
    ]
    return [
        Row(work=work, value=value, aim=aim, at_most=at_most)
        for (work, aim, at_most), value in zip(WORKS, values, strict=True)
    ]


WORKS: list[tuple[str, float | None, bool]] = [
    *(
        (f"{name} model, bfloat16 training step on a GPU, {what}", None, True)
        for name in CONFORMERS
        for what in (
            "compiled against as it is, time",
            "against torchaudio's Conformer, time",
            "against torchaudio's Conformer, memory",
        )
    ),
    ("hours of audio trained per hour on a GPU, medium model, bfloat16", 12_000, False),
    ("seconds of audio decoded per second on a GPU, medium model, greedy search", 30_000, False),
    ("concurrent live streams at 320 ms on a GPU, medium model", 5_000, False),
]


def _training(name: str, load: Load) -> list[float]:
    """Ratios of the encoder's forward and backward pass: compiled, then time and memory against the Conformer's."""
    ours, theirs = _model(name, load.device), _conformer(name, load.device)
    x, lens = _features(load.train_batch, load.device)
    slow, slow_lens = torch.randn(len(x), 25 * LENGTH_S, CONFORMERS[name][0], device=load.device), lens // 4
    encode = ours.encode

    def step(module: nn.Module, forward: Callable[[], Tensor]) -> None:
        module.zero_grad(set_to_none=True)
        with torch.autocast(load.device, torch.bfloat16):
            out = forward()
        out.float().square().mean().backward()

    compiled = torch.compile(lambda: encode(x, lens, context=ChunkContext()).out)
    eager = _measure(lambda: step(ours, lambda: encode(x, lens, context=ChunkContext()).out), load)
    fast = _measure(lambda: step(ours, compiled), load)
    other = _measure(lambda: step(theirs, lambda: theirs(slow, slow_lens)[0]), load)
    return [fast.seconds / eager.seconds, eager.seconds / other.seconds, eager.size / max(other.size, 1)]


def hours_trained_per_hour(load: Load) -> float:
    """Whole steps of training, the optimizer's included; data is there already."""
    model = _model("medium", load.device)
    objective = TransducerObjective(model, TransducerLossConfig())
    optimizer = ScaledAdam(parameter_groups(model))
    x, lens = _features(load.train_batch, load.device)
    tokens = torch.randint(1, model.config.vocab_size, (len(x), TOKENS), device=load.device)
    token_lens = torch.full((len(x),), TOKENS, device=load.device)

    def step() -> None:
        with torch.autocast(load.device, torch.bfloat16):
            loss = objective(x, lens, tokens, token_lens, step=10_000)
        loss.total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return load.train_batch * LENGTH_S / _measure(step, load).seconds


@torch.inference_mode()
def offline_speed(load: Load) -> float:
    """Features to tokens, in batches."""
    model = _model("medium", load.device).eval()
    search = GreedySearch(model, SearchConfig())
    x, lens = _features(load.decode_batch, load.device)

    def decode() -> None:
        with torch.autocast(load.device, torch.bfloat16):
            encoded = model.encode(x, lens, context=ChunkContext())
            search.finish(search.advance(encoded.out, encoded.lens, search.init(len(x), load.device)))

    return load.decode_batch * LENGTH_S / _measure(decode, load).seconds


@torch.inference_mode()
def concurrent_streams(load: Load) -> float:
    """How many streams one device could serve, from how long a step of many takes."""
    model = _model("medium", load.device, causal=True).eval()
    context = ChunkContext(chunk_size=16, left_context=128)
    x = torch.randn(load.streams, 2 * 16 + model.encoder.lookahead, 80, device=load.device)
    lens = torch.full((len(x),), x.shape[1], device=load.device)
    state = model.init_state(len(x), context)

    def step() -> None:
        nonlocal state
        with torch.autocast(load.device, torch.bfloat16):
            state = model.encode(x, lens, context=context, state=state).state

    return load.streams * STREAM_STEP_S / _measure(step, load).seconds


# -- parts


def _model(name: str, device: str, *, causal: bool = False) -> Transducer:
    torch.manual_seed(1)
    sizes = LARGE if name == "large" else {}
    model = Transducer(TransducerConfig(encoder=ZipformerConfig(causal=causal, **sizes))).to(device)
    set_schedule_position(model, 10_000.0)
    return model.train()


def _conformer(name: str, device: str) -> nn.Module:
    from torchaudio.models import Conformer

    width, heads, layers = CONFORMERS[name]
    return Conformer(width, heads, 4 * width, layers, 31).to(device).train()


def _features(batch: int, device: str) -> tuple[Tensor, Tensor]:
    x = torch.randn(batch, 100 * LENGTH_S, 80, device=device)
    return x, torch.full((batch,), x.shape[1], device=device)


@dataclass(frozen=True)
class _Cost:
    seconds: float
    size: int


def _measure(work: Callable[[], object], load: Load) -> _Cost:
    """Median time of a call, and the most memory that calls add, bytes (0 but on CUDA)."""
    cuda = load.device == "cuda"
    for _ in range(WARM_UP):
        work()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before, times = torch.cuda.memory_allocated() if cuda else 0, []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return _Cost(median(times), torch.cuda.max_memory_allocated() - before if cuda else 0)
