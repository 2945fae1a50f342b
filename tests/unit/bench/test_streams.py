"""Simulated arrivals: who is late, and by how much."""

from __future__ import annotations

import pytest
import torch

from asr.bench.arrivals import Load, serve
from asr.bench.streams import in_time, largest, make_talk, published_config, speech, untrained
from asr.models.transducer import TransducerConfig, count_parameters
from asr.models.zipformer import ZipformerConfig
from asr.streaming import EndpointConfig, StreamConfig

CONFIG = StreamConfig(chunk_size=16, left_context=32, endpoint=EndpointConfig(max_length_s=0.6))


@pytest.fixture(scope="module")
def recognizer():
    encoder = ZipformerConfig(
        embed_channels=[4, 4, 8],
        downsampling_factors=[1, 2],
        num_layers=[1, 1],
        encoder_dims=[16, 24],
        unmasked_dims=[16, 16],
        feedforward_dims=[16, 24],
        num_heads=[2, 2],
        cnn_kernels=[15, 7],
        causal=True,
    )
    return untrained(TransducerConfig(encoder=encoder, vocab_size=30, predictor_dim=8, joiner_dim=16))


class Clock:
    """Each reading is `step_s` after the last one: every turn of work takes just that long."""

    def __init__(self, step_s: float):
        self.step_s, self.now = step_s, 0.0

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


def run(recognizer, *, step_s: float, num_streams: int = 3, duration_s: float = 2.0) -> Load:
    return serve(
        recognizer,
        [torch.randn(20000)],
        num_streams=num_streams,
        config=CONFIG,
        duration_s=duration_s,
        busy_s=Clock(step_s),
    )


def test_an_idle_processor_is_late_by_its_work_alone(recognizer):
    load = run(recognizer, step_s=0.001)
    # 2 s hold five chunks of 0.32 s and the lookahead, for each of three streams
    assert len(load.late_s) == 15 and load.late_s == pytest.approx([0.001] * 15)
    assert load.worst_s == pytest.approx(0.001)
    assert load.audio_s == pytest.approx(6.0)
    assert load.busy < 0.1 and in_time(load)


def test_an_overloaded_processor_falls_behind(recognizer):
    load = run(recognizer, step_s=0.5, duration_s=4.0)
    assert load.busy > 0.9 and not in_time(load)
    assert load.late_s[-1] > load.late_s[0] > 0.4


@pytest.mark.parametrize("capacity", [0, 1, 2, 7, 23, 64])
def test_the_largest_number_is_found(capacity):
    best = largest(lambda n: Load(n, [], 0.0, 0, 0.0), lambda load: load.num_streams <= capacity)
    assert capacity - max(capacity // 16, 1) < best.num_streams <= capacity or best.num_streams == capacity == 0


def test_published_sizes():
    assert count_parameters(untrained(published_config("small")).model) == 23_627_887


def test_there_is_always_something_to_hear(tmp_path):
    assert len(speech(tmp_path, count=2)) == 2


def test_random_weights_can_be_made_to_talk(recognizer):
    """Neither at every frame nor at none."""
    noise = torch.randn(40000)
    make_talk(recognizer, noise)
    tokens = recognizer.transcribe(noise, 16000, CONFIG).tokens
    assert 0 < len(tokens) < 40
