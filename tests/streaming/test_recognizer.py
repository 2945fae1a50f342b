"""Streams answer what one masked pass answers, however their audio is cut and whoever decodes beside them."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
import torch
from torch import Tensor

import asr
from asr.checkpoint.model import save_model
from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.decoding.run import decode_whole
from asr.errors import ConfigError, StreamError
from asr.features import Background, Resampler
from asr.streaming import Recognizer, Result, Stream, StreamConfig
from tests.streaming.tiny_recognizer import CONTEXT, offline_features, tiny_model

CTC = (SearchMethod.CTC_GREEDY, SearchMethod.CTC_BEAM)
BEAM = SearchConfig(method=SearchMethod.BEAM, beam=3)
SEARCHES = [SearchConfig(), BEAM, *(SearchConfig(method=method) for method in CTC)]
every_search = pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.method.value)


def config(**values) -> StreamConfig:
    return StreamConfig(chunk_size=CONTEXT.chunk_size, left_context=CONTEXT.left_context, **values)


def one_pass(recognizer: Recognizer, samples: Tensor, cfg: StreamConfig) -> Result:
    """The definition: all features at once, one masked forward, one search."""
    features, lens = offline_features(samples)
    background = Background(features.shape[2])
    background.accept(features[0])
    tail = background.tail(round(100 * cfg.tail_s))[None]
    search = build_search(cfg.search, recognizer.model)
    hypothesis = decode_whole(
        recognizer.model, search, torch.cat([features, tail], 1), lens + tail.shape[1], cfg.context
    )[0]
    return Result(
        text=recognizer.tokenizer.decode(hypothesis.tokens),
        tokens=hypothesis.tokens,
        timestamps=hypothesis.times_s(),
        start_s=0.0,
    )


def feed(recognizer: Recognizer, stream: Stream, samples: Tensor, sizes, *, rate: int = 16000) -> Result:
    """Piece by piece, decoding whatever is ready, to the end."""
    for piece in samples.split(sizes):
        stream.accept(piece, rate)
        while recognizer.decode([stream]):
            assert not stream.done or stream.final
    stream.finish()
    while not stream.done:
        assert recognizer.decode([stream]) == 1
    return stream.final


def cuts(total: int, *, seed: int) -> list[int]:
    """Random piece sizes, empty ones and single samples among them."""
    draw, sizes = random.Random(seed), []
    while sum(sizes) < total:
        size = draw.choice([0, 1, 7, 160, 1000, 5000, 20000])
        sizes.append(min(draw.randint(0, size) if size > 1 else size, total - sum(sizes)))
    return sizes


@every_search
def test_equals_one_masked_pass_for_any_length(recognizer, clips, search):
    cfg = config(search=search)
    lengths = [0, 1, 79, 80, 500, 1359, 1360, 1361, 1520, 5000, 5280, 7000, 12345]
    found = [recognizer.transcribe(clips[3][:n], 16000, cfg) for n in lengths]
    found += [recognizer.transcribe(clip, 16000, cfg) for clip in clips]
    expected = [one_pass(recognizer, samples, cfg) for samples in [*(clips[3][:n] for n in lengths), *clips]]
    assert found == expected
    assert len({result.text for result in found}) > 5


@pytest.mark.parametrize("num_samples", range(8000, 10400, 400))
def test_the_last_frames_are_decoded(recognizer, clips, num_samples):
    """Whatever the audio leaves of its last chunk, a token can come out of the very last frame, and none after it."""
    result = recognizer.transcribe(clips[3][:num_samples], 16000, config(search=SearchConfig(blank_penalty=100.0)))
    num_features = (num_samples + 80) // 160
    num_frames = ((num_features - 7) // 2 + 1) // 2
    assert result.timestamps == [round(0.04 * t, 3) for t in range(num_frames)]


def test_encoder_frames_equal_those_of_one_masked_pass(recognizer, clips, monkeypatch):
    features, lens = offline_features(clips[3])
    whole = recognizer.model.encode(features, lens, context=CONTEXT)
    steps, encode = [], recognizer.model.encode

    def record(*args, **kwargs):
        steps.append(encode(*args, **kwargs))
        return steps[-1]

    monkeypatch.setattr(recognizer.model, "encode", record)
    recognizer.transcribe(clips[3], 16000, config())
    stepped = torch.cat([step.out[:, : int(step.lens[0])] for step in steps], dim=1)
    torch.testing.assert_close(stepped, whole.out[:, : int(whole.lens[0])], atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_any_size(recognizer, clips, seed):
    clip = clips[seed]
    found = feed(recognizer, recognizer.stream(config()), clip, cuts(len(clip), seed=seed))
    assert found == one_pass(recognizer, clip, config())


def test_single_samples(recognizer, clips):
    clip = clips[3][:6000]
    found = feed(recognizer, recognizer.stream(config()), clip, 1)
    assert found == one_pass(recognizer, clip, config()) and found.tokens


@every_search
@pytest.mark.parametrize("seed", range(2))
def test_company_changes_nothing(recognizer, clips, search, seed):
    """Streams that start late, get audio unevenly, end at different times and have different chunks."""
    draw = random.Random(seed)
    other = StreamConfig(chunk_size=32, left_context=64, search=search)
    cfgs = [other if i % 3 == 2 else config(search=search) for i in range(len(clips))]
    expected = [recognizer.transcribe(clip, 16000, cfg) for clip, cfg in zip(clips, cfgs)]
    streams = [recognizer.stream(cfg) for cfg in cfgs]
    position = [0] * len(clips)
    together = 0
    while not all(stream.done for stream in streams):
        for i, (stream, clip) in enumerate(zip(streams, clips)):
            size = draw.choice([0, 3000, 20000])
            if position[i] < len(clip):
                stream.accept(clip[position[i] : position[i] + size], 16000)
                position[i] += size
            else:
                stream.finish()
        advanced = recognizer.decode(draw.sample(streams, draw.randint(1, len(streams))))
        together = max(together, advanced)
    assert [stream.final for stream in streams] == expected
    assert together > 2


def test_a_step_serves_all_streams_of_equal_settings(recognizer, clips, monkeypatch):
    sizes, encode = [], recognizer.model.encode
    monkeypatch.setattr(recognizer.model, "encode", lambda x, *a, **k: sizes.append(len(x)) or encode(x, *a, **k))
    streams = [recognizer.stream(cfg) for cfg in (config(), config(), config(search=BEAM), config())]
    for stream in streams:
        stream.accept(clips[3], 16000)
    recognizer.decode([streams[0]])
    assert recognizer.decode([*streams, streams[0]]) == 4
    assert sizes == [1, 3, 1]


@pytest.mark.parametrize("rate", [8000, 44100])
def test_other_sample_rates(recognizer, clips, rate):
    """A recording at another rate is heard as its resampled whole."""
    clip = Resampler(16000, rate)(clips[3])
    expected = one_pass(recognizer, Resampler(rate, 16000)(clip), config())
    assert expected.tokens
    assert recognizer.transcribe(clip, rate, config()) == expected
    found = feed(recognizer, recognizer.stream(config()), clip, cuts(len(clip), seed=5), rate=rate)
    assert found == expected


def test_a_stream_without_audio_says_nothing(recognizer):
    silent = Result(text="", tokens=[], timestamps=[], start_s=0.0)
    for cfg in (config(), config(tail_s=1.0)):
        stream = recognizer.stream(cfg)
        assert not stream.ready and not stream.done and stream.partial == silent
        stream.finish()
        stream.finish()
        assert stream.done and recognizer.decode([stream]) == 0 and stream.final == silent


@pytest.mark.parametrize("tail_s", [0.0, 0.3, 1.0])
def test_background_after_the_end(recognizer, clips, tail_s):
    """The tail is the same however the audio came, and the same as before one masked pass."""
    cfg = config(tail_s=tail_s)
    stream = recognizer.stream(cfg)
    found = feed(recognizer, stream, clips[1], cuts(len(clips[1]), seed=1))
    assert found == one_pass(recognizer, clips[1], cfg)
    assert stream.decoded_s == pytest.approx(len(clips[1]) / 16000 + tail_s - 0.07, abs=0.05)


def test_partial_answers_lead_to_the_final_one(recognizer, clips):
    stream, partial = recognizer.stream(config()), []
    stream.accept(clips[3], 16000)
    stream.finish()
    with pytest.raises(StreamError, match="left to decode"):
        _ = stream.final
    while recognizer.decode([stream]):
        assert stream.partial.tokens[: len(partial)] == partial
        partial = stream.partial.tokens
    assert stream.final.tokens == partial


def test_streams_know_their_recogniser(recognizer):
    other = Recognizer(tiny_model(recognizer.tokenizer.vocab_size), recognizer.tokenizer)
    with pytest.raises(StreamError, match="another recogniser"):
        recognizer.decode([other.stream(config())])


def test_what_a_model_cannot_do_is_said_at_once(recognizer):
    with pytest.raises(ConfigError, match="chunk_size=18 must be a multiple of 4"):
        recognizer.stream(StreamConfig(chunk_size=18))
    with pytest.raises(ConfigError, match="vocab|symbols"):
        Recognizer(tiny_model(5), recognizer.tokenizer)
    with pytest.raises(ConfigError, match="training mode"):
        Recognizer(tiny_model(recognizer.tokenizer.vocab_size).train(), recognizer.tokenizer)


def test_a_checkpoint_is_all_it_takes(recognizer, clips, tmp_path):
    save_model(tmp_path / "model.safetensors", recognizer.model, recognizer.tokenizer)
    loaded = asr.load(tmp_path / "model.safetensors")
    assert loaded.transcribe(clips[2], 16000, config()) == recognizer.transcribe(clips[2], 16000, config())


def test_importing_the_package_is_cheap():
    code = "import sys, asr; asr.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
