"""The public recogniser on all recordings there are: cut anyhow, mixed anyhow, beside streams that go wrong."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

import asr
import asr.streaming.stream
from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.decoding.run import decode_whole
from asr.errors import StreamError
from asr.features import load_16k
from asr.streaming import Recognizer, Result, Stream, StreamConfig
from tests.models.digits import digits_model
from tests.models.strings import digit_strings
from tests.streaming.tiny_recognizer import offline_features

SETTINGS = [
    StreamConfig(chunk_size=16, left_context=32),
    StreamConfig(chunk_size=32, left_context=128),
    StreamConfig(chunk_size=64, left_context=64),
    StreamConfig(chunk_size=16, left_context=64, search=SearchConfig(method=SearchMethod.BEAM, beam=3)),
    StreamConfig(chunk_size=32, left_context=64, search=SearchConfig(method=SearchMethod.CTC_GREEDY)),
    StreamConfig(chunk_size=64, left_context=128, search=SearchConfig(method=SearchMethod.FAST_BEAM)),
    StreamConfig(chunk_size=32, left_context=128, search=SearchConfig(method=SearchMethod.CTC_BEAM)),
]
LONGEST_S = 10


def masked_pass(recognizer: Recognizer, samples: Tensor, cfg: StreamConfig) -> Result:
    """All features at once, one forward with the chunks' mask, one search."""
    features, lens = offline_features(samples)
    search = build_search(cfg.search, recognizer.model)
    found = decode_whole(recognizer.model, search, features, lens, cfg.context)[0]
    return Result(
        text=recognizer.tokenizer.decode(found.tokens), tokens=found.tokens, timestamps=found.times_s(), start_s=0.0
    )


def piece_size(draw: random.Random) -> int:
    """From one sample to ten seconds, every order of magnitude as likely; sometimes nothing at all."""
    return 0 if draw.random() < 0.05 else int(math.exp(draw.uniform(0, math.log(LONGEST_S * 16000))))


def converse(recognizer: Recognizer, streams: list[Stream], audio: list[Tensor], draw: random.Random) -> None:
    """Feed and decode streams in random order, by random pieces, in random company, until all are done."""
    rest = list(audio)
    while not all(stream.done for stream in streams):
        for i in draw.sample(range(len(streams)), draw.randint(1, len(streams))):
            if len(rest[i]):
                size = piece_size(draw)
                streams[i].accept(rest[i][:size], 16000)
                rest[i] = rest[i][size:]
            else:
                streams[i].finish()
        for _ in range(draw.randint(0, 4)):
            recognizer.decode(draw.sample(streams, draw.randint(1, len(streams))))


@pytest.fixture(scope="module")
def recordings(data_dir: Path) -> list[Tensor]:
    """Every real utterance at 16 kHz, at most eleven seconds of each."""
    files = sorted((data_dir / "utterances").glob("*.flac"))
    if not files:
        pytest.skip(f"no recordings in {data_dir / 'utterances'}; set RILL_DATA_DIR")
    return [load_16k(file).samples[: 11 * 16000] for file in files]


@pytest.mark.parametrize("seed", range(2))
def test_every_stream_answers_as_one_masked_pass(recognizer, recordings, seed, monkeypatch):
    monkeypatch.setattr(asr.streaming.stream, "SETTLE_AT", [256, 3][seed])
    draw = random.Random(seed)
    settings = [SETTINGS[(i + seed) % len(SETTINGS)] for i in range(len(recordings))]
    streams = [recognizer.stream(cfg) for cfg in settings]
    converse(recognizer, streams, recordings, draw)
    expected = [masked_pass(recognizer, samples, cfg) for samples, cfg in zip(recordings, settings)]
    assert [stream.final for stream in streams] == expected
    assert sum(len(result.tokens) for result in expected) > 100


def test_streams_that_go_wrong_harm_nobody(recognizer, recordings):
    """Each misdeed is refused with a sentence, and neither its own stream nor its neighbours hear of it."""
    clips, cfg = recordings[:4], SETTINGS[0]
    streams = [recognizer.stream(cfg) for _ in clips]
    streams[0].accept(clips[0], 16000)
    streams[0].finish()
    misdeeds = [
        (streams[0], clips[0], 16000, "finished"),
        (streams[1], torch.full((160,), float("nan")), 16000, "NaN"),
        (streams[2], clips[2][:800], 44100, "began at 16000 Hz and cannot go on at 44100 Hz"),
    ]
    pieces = [clip.split(7000) for clip in clips]
    for k in range(max(map(len, pieces))):
        for stream, parts in zip(streams[1:], pieces[1:]):
            stream.accept(parts[k] if k < len(parts) else torch.zeros(0), 16000)
        for stream, samples, rate, message in misdeeds:
            with pytest.raises(StreamError, match=message):
                stream.accept(samples, rate)
        recognizer.decode(streams)
    for stream in streams:
        stream.finish()
    while recognizer.decode(streams):
        pass
    assert [stream.final for stream in streams] == [masked_pass(recognizer, clip, cfg) for clip in clips]


@pytest.mark.parametrize("count, seed", [(14, 0), pytest.param(120, 1, marks=pytest.mark.slow)])
def test_a_trained_model_hears_every_word_to_the_last(data_dir, count, seed):
    """Connected digits of the test list: the words of one masked pass, whatever the pieces, company and chunks."""
    recognizer, draw = asr.load(str(digits_model())), random.Random(seed)
    strings = digit_strings(data_dir, count=count)
    settings = [SETTINGS[(i + seed) % len(SETTINGS)] for i in range(count)]
    streams = [recognizer.stream(cfg) for cfg in settings]
    converse(recognizer, streams, [string.samples for string in strings], draw)
    expected = [masked_pass(recognizer, string.samples, cfg) for string, cfg in zip(strings, settings)]
    assert [stream.final.text for stream in streams] == [result.text for result in expected]
    last = [result.text.split()[-1:] == string.text.split()[-1:] for result, string in zip(expected, strings)]
    assert sum(last) > 0.75 * count, "the model hears too little for this to say anything"
