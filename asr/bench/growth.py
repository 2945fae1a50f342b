"""How cost grows with length: a stream of an hour, and whole utterances."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from asr.bench.result import Row
from asr.bench.timing import median, milliseconds, timed
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.streaming import Recognizer, StreamConfig
from asr.text import CharTokenizer

PICTURE = Path("exp/bench/growth.png")
HOUR_S = 3600
WHOLE_S = (5, 10, 20, 40, 80, 160)
"""Beyond, weights of every frame for every other one take more memory than time."""
STEPPED_S = (5, 10, 20, 40, 80, 160, 320, 640, 1200)
CONTEXT = ChunkContext(chunk_size=32, left_context=128)
STREAM = StreamConfig(chunk_size=32, left_context=128)


@torch.inference_mode()
def run() -> list[Row]:
    """A small model, as growth is the same for all; draws the picture."""
    minutes = _stream_minutes()
    model = _small().model
    whole = {length: _encode_whole(model, length) for length in WHOLE_S}
    stepped = {length: _encode_by_steps(model, length) for length in STEPPED_S}
    _draw(minutes, whole, stepped)
    first, last = median(minutes[:5]), median(minutes[-5:])
    return [
        Row(
            work="streaming, cost per second of audio after an hour, against the first minutes",
            value=last / first,
            must=1.1,
            aim=1.0,
            note=f"{milliseconds(first)} and {milliseconds(last)} per second of audio; drawn in {PICTURE}",
        ),
        Row(
            work="offline encoder by steps, cost per second of audio at 20 min, against 20 s",
            value=stepped[1200] / 1200 / (stepped[20] / 20),
            note=f"drawn in {PICTURE}",
        ),
        Row(
            work="offline encoder at once, cost per second of audio at 160 s, against 20 s",
            value=whole[160] / 160 / (whole[20] / 20),
            note="every frame attends to every other",
        ),
    ]


def _small() -> Recognizer:
    """A streaming model of four thin layers with random weights."""
    torch.manual_seed(1)
    tokenizer = CharTokenizer.train(["abc def"])
    encoder = ZipformerConfig(
        embed_channels=[8, 16, 128],
        embed_expansion=1,
        downsampling_factors=[1, 2, 4, 2],
        num_layers=[1, 1, 1, 1],
        encoder_dims=[96, 128, 160, 128],
        unmasked_dims=[96, 96, 96, 96],
        feedforward_dims=[256, 320, 384, 320],
        num_heads=[4, 4, 4, 4],
        cnn_kernels=[31, 15, 15, 15],
        causal=True,
    )
    config = TransducerConfig(encoder=encoder, vocab_size=tokenizer.vocab_size, predictor_dim=128, joiner_dim=128)
    return Recognizer(Transducer(config).eval(), tokenizer)


def _stream_minutes() -> list[float]:
    """Seconds of computing per second of audio, minute by minute, from samples to text."""
    recognizer = _small()
    stream = recognizer.stream(STREAM)
    costs = []
    for _ in range(HOUR_S // 60):
        start = time.process_time()
        for _ in range(60):
            stream.accept(0.1 * torch.randn(16000), 16000)
            while recognizer.decode([stream]):
                pass
        _ = stream.partial.text
        costs.append((time.process_time() - start) / 60)
    return costs


def _encode_whole(model: Transducer, length_s: int) -> float:
    x = torch.randn(1, 100 * length_s, 80)
    lens = torch.tensor([x.shape[1]])
    return median([timed(lambda: model.encode(x, lens, context=ChunkContext())) for _ in range(3)])


def _encode_by_steps(model: Transducer, length_s: int) -> float:
    from asr.decoding.run import chunks

    x = torch.randn(1, 100 * length_s, 80)
    state = model.init_state(1, CONTEXT)
    start = time.perf_counter()
    for part, lens in chunks(x, torch.tensor([x.shape[1]]), chunk_size=32, lookahead=model.encoder.lookahead):
        state = model.encode(part, lens, context=CONTEXT, state=state).state
    return time.perf_counter() - start


def _draw(minutes: list[float], whole: dict[int, float], stepped: dict[int, float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(np.arange(1, len(minutes) + 1), 1000 * np.asarray(minutes))
    left.set(xlabel="minute of the stream", ylabel="ms per second of audio", ylim=(0, None), title="streaming")
    for name, times in (("at once", whole), ("by steps of 640 ms", stepped)):
        right.loglog(list(times), list(times.values()), marker="o", label=name)
    right.set(xlabel="length, s", ylabel="encoder time, s", title="offline")
    right.legend()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=120)
