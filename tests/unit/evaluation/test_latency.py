"""Latency and speed."""

from __future__ import annotations

import pytest

from asr.evaluation.latency import (
    AlgorithmicLatency,
    Speed,
    algorithmic_latency,
    measure_speed,
    percentiles,
)


def test_latency_follows_from_chunk_and_lookahead():
    found = algorithmic_latency(chunk_size=16, lookahead=13)
    assert found == AlgorithmicLatency(mean_s=0.29, worst_s=0.45)
    assert algorithmic_latency(chunk_size=None, lookahead=13) is None


def test_percentiles_interpolate():
    assert percentiles([4.0, 1.0, 3.0, 2.0], (0, 50, 100)) == {0: 1.0, 50: 2.5, 100: 4.0}
    assert percentiles([]) == {}


def test_speed_adds_up_its_steps():
    speed = measure_speed([0.1, 0.3], audio_s=4.0)
    assert speed.real_time_factor == pytest.approx(0.1)
    assert speed.step_percentiles_ms[50] == pytest.approx(200.0)
    assert Speed(audio_s=0.0, compute_s=0.0, step_percentiles_ms={}).real_time_factor == 0.0
