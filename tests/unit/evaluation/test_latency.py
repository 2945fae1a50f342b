"""Delays as listeners feel them, and the computing that adds to them."""

from __future__ import annotations

import pytest
import torch

from asr.evaluation.latency import (
    AlgorithmicLatency,
    Shown,
    SpokenWord,
    Spread,
    Watched,
    algorithmic_latency,
    appearances,
    measure_delays,
    needed_s,
)
from asr.evaluation.speed import Speed, measure_speed, percentiles
from asr.evaluation.wer import Unit
from asr.features import FbankConfig, OnlineFbank


def test_latency_follows_from_chunk_and_lookahead():
    found = algorithmic_latency(chunk_size=16, lookahead=13)
    assert found == AlgorithmicLatency(mean_s=0.2975, worst_s=0.4575)
    assert algorithmic_latency(chunk_size=None, lookahead=13) is None


@pytest.mark.parametrize("num_features", [1, 2, 45])
def test_features_need_just_the_audio_that_is_declared(num_features):
    num_samples = round(16000 * needed_s(num_features))
    online, noise = OnlineFbank(FbankConfig()), torch.randn(num_samples)
    assert len(online.accept(noise[:-1])) == num_features - 1
    assert len(online.accept(noise[-1:])) == 1


SAID = [SpokenWord("one", 0.2, 0.5), SpokenWord("two", 0.6, 0.9), SpokenWord("six", 1.0, 1.4)]
SEEN = [
    Shown(0.4, "o"),
    Shown(0.8, "one"),
    Shown(1.2, "one too"),
    Shown(1.6, "one two"),
    Shown(2.0, "one two sick"),
]


def test_a_word_appears_when_it_is_there_for_good():
    assert appearances(SEEN, Unit.WORD) == [0.8, 1.6, 2.0]
    assert appearances([Shown(1.0, "a b"), Shown(2.0, "c b"), Shown(3.0, "a b")], Unit.WORD) == [3.0, 3.0]
    assert appearances([Shown(1.0, "一"), Shown(2.0, "一二")], Unit.CHARACTER) == [1.0, 2.0]
    assert appearances([], Unit.WORD) == appearances([Shown(1.0, "")], Unit.WORD) == []


def test_delays_of_a_test_set():
    """Wrong, missing and made-up words are not timed, but do not shift the others."""
    silent = Watched([SpokenWord("two", 0.5, 1.0)], [Shown(1.5, "")], 1.5)
    early = Watched([SpokenWord("two", 0.5, 1.0)], [Shown(0.9, "uh two")], 1.2)
    alignments = [[("one", "one"), ("two", "two"), ("six", "sick")], [("two", "")], [("", "uh"), ("two", "two")]]
    found = measure_delays([Watched(SAID, SEEN, 2.0), silent, early], alignments, unit=Unit.WORD, positions="known")
    assert found.num_words == 3 and found.emission is not None
    assert found.emission.mean_s == pytest.approx((0.3 + 0.7 - 0.1) / 3, abs=1e-4)
    assert found.first_token == Spread(mean_s=0.3, p50_s=0.3, p95_s=0.39)
    assert found.finalisation is not None and found.finalisation.p50_s == 0.5
    assert (found.num_updates, found.num_revisions) == (6, 1)


def test_nothing_timed_is_no_delay():
    found = measure_delays(
        [Watched([], [Shown(1.0, "one")], 1.0)], [[("one", "one")]], unit=Unit.WORD, positions="none"
    )
    assert (found.emission, found.first_token, found.finalisation, found.num_words) == (None, None, None, 0)


def test_percentiles_interpolate():
    assert percentiles([4.0, 1.0, 3.0, 2.0], (0, 50, 100)) == {0: 1.0, 50: 2.5, 100: 4.0}
    assert percentiles([]) == {}


def test_speed_adds_up_its_steps():
    speed = measure_speed([0.1, 0.3], audio_s=4.0, num_threads=2)
    assert speed.real_time_factor == pytest.approx(0.1)
    assert speed.streams_per_core == pytest.approx(5.0)
    assert speed.step_percentiles_ms[50] == pytest.approx(200.0)
    assert Speed(audio_s=0.0, compute_s=0.0, step_percentiles_ms={}).real_time_factor == 0.0
