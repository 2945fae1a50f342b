"""Live streams: fifty on two cores, of the digits model and the published small one; how many of the published models
one core can serve."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from asr.bench.arrivals import Load, serve
from asr.bench.result import Row
from asr.bench.timing import CORES
from asr.decoding import SearchConfig
from asr.evaluation.speed import percentiles
from asr.features import Fbank
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.streaming import EndpointConfig, Recognizer, StreamConfig
from asr.text import CharTokenizer

DIGITS = Path("exp/digits")
NUM_STREAMS = 50
NUM_CORES = 2
CHUNK_S = 0.32
CONFIG = StreamConfig(chunk_size=16, left_context=128, search=SearchConfig(), endpoint=EndpointConfig())
SPOKEN = 0.15
"""Share of encoder frames in which trained models emit a token: about four a second."""


def run() -> list[Row]:
    """Fifty streams of the digits model and of the published small one, then as many as one core bears."""
    return [_crowd("digits"), _crowd("small"), *(_published(size) for size in ("small", "medium"))]


def _crowd(model: str) -> Row:
    """Fifty streams of "digits", or of a published size."""
    name = "digits model" if model == "digits" else f"published {model} model"
    work = f"{NUM_STREAMS} live streams of the {name} on {NUM_CORES} cores: p95 chunk latency, ms"
    if model == "digits" and not DIGITS.is_dir():
        return Row(work=work, value=None, must=1000 * CHUNK_S, note=f"there is no {DIGITS}; train recipe=digits")
    # A process for each core, as a server would have: threads would wait for one another at every small operation.
    with ProcessPoolExecutor(NUM_CORES, mp_context=get_context("spawn")) as pool:
        loads = list(pool.map(_serve_share, [model] * NUM_CORES, range(NUM_CORES)))
    late = percentiles([late for load in loads for late in load.late_s])
    busy = ", ".join(f"{load.busy:.0%}" for load in loads)
    worst = max(load.worst_s for load in loads)
    rest = f"p50 {1000 * late[50]:.0f}, p99 {1000 * late[99]:.0f}; p95 of the slowest stream {1000 * worst:.0f} ms"
    note = f"{rest}; chunks of {1000 * CHUNK_S:.0f} ms; cores {busy} busy"
    return Row(work=work, value=1000 * late[95], must=1000 * CHUNK_S, note=note)


def _serve_share(model: str, worker: int) -> Load:
    """In a process of its own: a quarter of a minute of one core's share of the streams."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if CORES:
        os.sched_setaffinity(0, {CORES[-1 - worker % len(CORES)]})
    recordings = speech()
    recognizer = Recognizer.load(DIGITS) if model == "digits" else _talking(model, recordings[0])
    share = NUM_STREAMS // NUM_CORES
    serve(recognizer, recordings, num_streams=share, config=CONFIG, duration_s=1.0)  # warm up
    return serve(recognizer, recordings, num_streams=share, config=CONFIG, duration_s=15.0)


def speech(folder: Path = Path("data/digits"), count: int = 25) -> list[Tensor]:
    """Test utterances of the digits corpus; noise, which costs as much, where it is not there."""
    from asr.features import load_16k

    files = sorted((folder / "audio" / "test").glob("*.flac"))[:count]
    if files:
        return [load_16k(file).samples for file in files]
    generator = torch.Generator().manual_seed(0)
    return [0.05 * torch.randn(80000, generator=generator) for _ in range(count)]


def _published(size: str) -> Row:
    recordings = speech()
    best = most_streams(_talking(size, recordings[0]), recordings)
    late = percentiles(best.late_s) if best.late_s else {}
    figures = f"p95 {1000 * late[95]:.0f} ms, {best.busy:.0%} busy" if late else "not even one"
    note = f"chunks of {1000 * CHUNK_S:.0f} ms, random weights, {best.num_tokens / max(best.audio_s, 1):.1f} tokens/s; "
    return Row(
        work=f"live streams per core, published {size} model",
        value=best.num_streams,
        at_most=False,
        note=note + figures,
    )


def _talking(size: str, samples: Tensor) -> Recognizer:
    """A published model with random weights that speaks as often as a trained one."""
    recognizer = untrained(published_config(size))
    make_talk(recognizer, samples)
    return recognizer


def published_config(size: str) -> TransducerConfig:
    """The published streaming model of a size, as conf/ has it."""
    import yaml

    text = (files("asr.conf") / "encoder" / f"zipformer_{size}_streaming.yaml").read_text(encoding="utf-8")
    encoder = {key: value for key, value in yaml.safe_load(text).items() if key != "defaults"}
    return TransducerConfig(encoder=ZipformerConfig(**encoder))


def untrained(config: TransducerConfig) -> Recognizer:
    """Random weights do the same work as trained ones, once they talk as much."""
    torch.manual_seed(0)
    letters = "".join(chr(0x4E00 + i) for i in range(config.vocab_size - 4))
    return Recognizer(Transducer(config).eval(), CharTokenizer.train([letters]))


@torch.no_grad()
def make_talk(recognizer: Recognizer, samples: Tensor) -> None:
    """Set the blank's bias so that (N,) samples at 16 kHz give about as many tokens as speech has."""
    model = recognizer.model
    features, lens = Fbank()(samples[None], torch.tensor([len(samples)]))
    frames = model.encode(features, lens, context=CONFIG.context).out[0]
    start = model.predictor(model.predictor.start_context(1, frames.device), pad_left=False)[0]
    logits = model.joiner(frames, start.expand(len(frames), -1))
    margin = logits[:, 1:].amax(1) - logits[:, 0]
    model.joiner.output_linear.bias[0] += margin.quantile(1 - SPOKEN)


def most_streams(recognizer: Recognizer, recordings: Sequence[Tensor], *, duration_s: float = 6.4) -> Load:
    """As many streams as are answered in real time."""

    def attempt(num_streams: int) -> Load:
        return serve(recognizer, recordings, num_streams=num_streams, config=CONFIG, duration_s=duration_s)

    return largest(attempt, in_time)


def in_time(load: Load) -> bool:
    """Whether chunks are answered before the next ones are due, also after a while.

    A processor that is always busy may still be in time: the later it is, the more streams share a step.
    """
    return percentiles(load.late_s[len(load.late_s) // 2 :])[95] <= CHUNK_S


def largest(attempt: Callable[[int], Load], good: Callable[[Load], bool]) -> Load:
    """The largest number, to about a sixteenth, of which `attempt` is still good; of 0 streams where none is."""
    best, bad = Load(0, [], 0.0, 0, 0.0), 1
    while good(found := attempt(bad)):
        best, bad = found, 2 * bad
    while bad - best.num_streams > max(best.num_streams // 16, 1):
        middle = (best.num_streams + bad) // 2
        found = attempt(middle)
        best, bad = (found, bad) if good(found) else (best, middle)
    return best
