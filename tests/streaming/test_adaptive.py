"""The adaptive window: chunk sizes that follow the conditions within one stream, and equal one masked pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asr.cli.adaptive import with_noise
from asr.decoding import SearchConfig, build_search
from asr.decoding.run import decode_whole
from asr.errors import ConfigError
from asr.nn.chunks import ChunkContext
from asr.streaming import AdaptiveConfig, Recognizer, StreamConfig
from asr.streaming.policy import ChunkPolicy, estimate_snr_db
from asr.streaming.trial import hear
from tests.streaming.tiny_recognizer import offline_features

POLICY = AdaptiveConfig(chunk_sizes=[8, 16, 32], snr_db=[30.0, 20.0])
CONFIG = StreamConfig(left_context=32, adaptive=POLICY)


@pytest.fixture(scope="module")
def changing(clips) -> Tensor:
    """Speech, speech in noise, and speech again: (N,) at 16 kHz."""
    speech = max(clips, key=len)
    return torch.cat([speech, with_noise(speech, 0.0, "noise"), with_noise(speech, 0.0, "more"), speech, speech])


def test_sizes_follow_the_noise(recognizer, changing):
    (heard,) = hear(recognizer, [changing], CONFIG)
    assert set(heard.chunk_sizes) == {8, 16, 32} or {heard.chunk_sizes[0], max(heard.chunk_sizes)} == {8, 32}
    assert heard.chunk_sizes[0] == 8


@pytest.mark.parametrize("lookahead", [0, 4])
def test_equals_one_masked_pass_over_the_same_boundaries(recognizer, changing, clips, lookahead):
    config = StreamConfig(left_context=32, adaptive=POLICY, lookahead=lookahead)
    recordings = [changing, clips[0], with_noise(clips[1], 5.0, "x")]
    for samples, heard in zip(recordings, hear(recognizer, recordings, config)):
        context = ChunkContext.varying([heard.chunk_sizes], left_context=32, lookahead=lookahead)
        assert heard.text == masked_text(recognizer, samples, context)


def masked_text(recognizer: Recognizer, samples: Tensor, context: ChunkContext) -> str:
    features, lens = offline_features(samples)
    search = build_search(SearchConfig(), recognizer.model)
    (answer,) = decode_whole(recognizer.model, search, features, lens, context)
    return recognizer.tokenizer.decode(answer.tokens)


def test_pieces_do_not_matter(recognizer, changing):
    answers = []
    for piece in (len(changing), 4111):
        stream, sizes = recognizer.stream(CONFIG), []
        for part in changing.split(piece):
            stream.accept(part, 16000)
            while stream.ready:
                sizes.append(stream.context.chunk_size)
                recognizer.decode([stream])
        answers.append((sizes, stream.partial.tokens))
    assert answers[0] == answers[1] and len(set(answers[0][0])) > 1


def test_a_sound_waits_longer_in_longer_chunks(recognizer, clips):
    waits = []
    for size in (8, 32):
        (heard,) = hear(recognizer, clips[:1], StreamConfig(chunk_size=size, left_context=32))
        assert set(heard.chunk_sizes) == {size}
        waits.append(heard.wait_s)
    assert waits[1] - waits[0] == pytest.approx((32 - 8) / 50 / 2)


def test_noise_is_told_from_the_distance_of_loud_and_faint():
    assert estimate_snr_db([0.0] * 10) is None
    assert estimate_snr_db([-60.0] * 50 + [-20.0] * 50) == pytest.approx(40.0)
    assert estimate_snr_db([-25.0] * 50 + [-20.0] * 50) == pytest.approx(5.0)


def test_policy_forgets():
    policy = ChunkPolicy(POLICY)
    quiet = torch.cat([torch.full((50, 80), -16.0), torch.zeros(50, 80)])
    policy.accept(quiet)
    assert policy.chunk_size == 8
    for _ in range(3):
        policy.accept(torch.zeros(100, 80))
    assert policy.chunk_size == 32


@pytest.mark.parametrize(
    "values, message",
    [
        ({"chunk_sizes": [32, 16]}, "adaptive.chunk_sizes=.* must be two or more, rising"),
        ({"chunk_sizes": [16]}, "adaptive.chunk_sizes=.* must be two or more, rising"),
        ({"snr_db": [10.0, 20.0]}, "adaptive.snr_db=.* must fall"),
        ({"snr_db": [10.0]}, "adaptive.snr_db=.* must fall, and be one fewer"),
    ],
)
def test_what_makes_no_sense_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        AdaptiveConfig(**values)


def test_left_context_must_suit_every_size():
    with pytest.raises(ConfigError, match="left_context=48 must be a multiple of every chunk size, also of 32"):
        StreamConfig(left_context=48, adaptive=POLICY)


def test_the_model_must_suit_every_size(recognizer):
    with pytest.raises(ConfigError, match="chunk_size=6 must be a multiple of"):
        recognizer.stream(StreamConfig(left_context=48, adaptive=AdaptiveConfig(chunk_sizes=[6, 16, 48])))
