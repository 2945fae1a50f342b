"""What a stream accepts and refuses, where its segments end, and how little it remembers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asr.decoding import Hypothesis
from asr.errors import ConfigError, RillError, StreamError
from asr.models.encoder import _warn_once
from asr.streaming import EndpointConfig, Recognizer, StreamConfig
from asr.streaming.frames import FrameQueue
from asr.streaming.result import segment_ended
from tests.streaming.tiny_recognizer import CONTEXT, tiny_model


def config(**values) -> StreamConfig:
    return StreamConfig(chunk_size=CONTEXT.chunk_size, left_context=CONTEXT.left_context, **values)


def copy_of(recognizer: Recognizer) -> Recognizer:
    """The same weights, for a test to change."""
    model = tiny_model(recognizer.tokenizer.vocab_size)
    model.load_state_dict(recognizer.model.state_dict())
    return Recognizer(model, recognizer.tokenizer)


def test_an_untrained_lookahead_is_warned_of(recognizer, caplog):
    _warn_once.cache_clear()
    own = copy_of(recognizer)
    own.model.config.encoder.lookaheads = [0, 24]
    own.stream(config())
    own.stream(config(lookahead=24))
    assert not caplog.records
    own.stream(config(lookahead=8))
    assert "trained with lookahead 0 or 24" in caplog.text


REFUSED = {
    "nan": (torch.tensor([0.0, float("nan")]), 16000, "sample 1 of this piece.*NaN or infinite"),
    "infinite": (torch.tensor([float("inf")]), 16000, "NaN or infinite"),
    "overflow": (np.array([1e300]), 16000, "NaN or infinite"),
    "stereo": (torch.zeros(100, 2), 16000, r"shape \(100, 2\) are not one channel"),
    "scalar": (torch.tensor(0.5), 16000, "not one channel"),
    "integers": (np.zeros(100, dtype=np.int16), 16000, "divide 16-bit integers by 32768"),
    "unscaled": (np.full(100, 12000.0), 16000, "divide 16-bit integers by 32768"),
    "text": (np.array(["one"]), 16000, "no numbers"),
    "bytes": (b"\0\0", 16000, "not one channel|no numbers"),
    "rate changes": (torch.zeros(100), 8000, "began at 16000 Hz and cannot go on at 8000 Hz"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_piece_leaves_the_stream_as_it_was(recognizer, clips, case):
    samples, rate, message = REFUSED[case]
    stream = recognizer.stream(config())
    stream.accept(clips[1][:9999], 16000)
    with pytest.raises(StreamError, match=message):
        stream.accept(samples, rate)
    stream.accept(clips[1][9999:], 16000)
    stream.finish()
    while recognizer.decode([stream]):
        pass
    assert stream.final == recognizer.transcribe(clips[1], 16000, config())


@pytest.mark.parametrize("rate", [0, -16000, 16000.5, float("nan"), None, "16 kHz"])
def test_impossible_rates_do_not_become_the_streams(recognizer, clips, rate):
    stream = recognizer.stream(config())
    with pytest.raises(RillError, match="positive|whole number"):
        stream.accept(clips[0], rate)
    stream.accept(clips[0], 16000)
    assert stream.ready


def test_a_finished_stream_takes_no_more(recognizer, clips):
    stream = recognizer.stream(config())
    stream.accept(clips[0], 16000)
    stream.finish()
    with pytest.raises(StreamError, match="finished"):
        stream.accept(clips[0], 16000)
    while recognizer.decode([stream]):
        pass
    assert stream.final == recognizer.transcribe(clips[0], 16000, config())


def test_audio_may_be_an_array_or_a_list_and_its_buffer_used_again(recognizer, clips):
    clip = clips[0]
    expected = recognizer.transcribe(clip, 16000, config())
    assert recognizer.transcribe(clip.double().numpy(), 16000, config()) == expected
    assert recognizer.transcribe(clip.tolist(), 16000, config()) == expected
    stream, buffer = recognizer.stream(config()), np.zeros(50, dtype=np.float32)
    for piece in clip.split(50):
        buffer[: len(piece)] = piece
        stream.accept(buffer[: len(piece)], 16000)
    stream.finish()
    while recognizer.decode([stream]):
        pass
    assert stream.final == expected


def said(*frames: int) -> Hypothesis:
    return Hypothesis(tokens=[3] * len(frames), timestamps=list(frames))


ENDINGS = [
    (said(), 59, False),
    (said(), 60, True),  # 2.4 s of nothing
    (said(10), 40, False),
    (said(10), 41, True),  # 1.2 s after the token's frame
    (said(10, 30), 60, False),
    (said(498), 499, False),
    (said(499), 500, True),  # 20 s, whatever was said
]


@pytest.mark.parametrize("hypothesis, num_frames, ended", ENDINGS)
def test_endpoint_rules(hypothesis, num_frames, ended):
    assert segment_ended(EndpointConfig(), hypothesis, num_frames) is ended


def test_rules_can_be_switched_off():
    nothing = EndpointConfig(silence_s=None, pause_s=None, max_length_s=None)
    assert not any(segment_ended(nothing, hypothesis, 10**6) for hypothesis, _, _ in ENDINGS)


def test_settings_without_meaning_are_named():
    with pytest.raises(ConfigError, match="streaming.endpoint.pause_s=0 must be above 0"):
        EndpointConfig(pause_s=0)
    with pytest.raises(ConfigError, match="streaming.tail_s=-1"):
        StreamConfig(tail_s=-1)
    with pytest.raises(ConfigError, match="chunk_size=0"):
        StreamConfig(chunk_size=0)


@pytest.mark.parametrize("blank_bias, endpoint, after_s", [(1e3, EndpointConfig(), 2.4), (-1e3, None, None)])
def test_a_stream_tells_when_its_segment_ends(recognizer, clips, blank_bias, endpoint, after_s):
    quiet = copy_of(recognizer)
    nn.init.constant_(quiet.model.joiner.output_linear.bias[:1], blank_bias)
    stream = quiet.stream(config(endpoint=endpoint))
    stream.accept(torch.cat(clips), 16000)
    while quiet.decode([stream]) and not stream.is_endpoint:
        pass
    if after_s is None:
        assert not stream.is_endpoint and not stream.ready
    else:
        assert after_s <= stream.decoded_s <= after_s + 0.02 * CONTEXT.chunk_size


def test_a_boundary_before_a_word_that_never_comes_is_silence(recognizer, clips):
    expectant = copy_of(recognizer)
    boundary = next(i for i in range(3, recognizer.tokenizer.vocab_size) if not recognizer.tokenizer.decode([i]))
    nn.init.constant_(expectant.model.joiner.output_linear.bias[boundary : boundary + 1], 1e3)
    stream = expectant.stream(config(endpoint=EndpointConfig()))
    stream.accept(torch.cat(clips), 16000)
    while expectant.decode([stream]) and not stream.is_endpoint:
        pass
    assert stream.partial.tokens and not stream.partial.text
    assert 2.4 <= stream.decoded_s <= 2.4 + 0.02 * CONTEXT.chunk_size


def test_segments_continue_one_another(recognizer, clips):
    """With a predictor that has no say, cutting a stream into segments cuts its tokens, and changes none."""
    deaf = copy_of(recognizer)
    nn.init.zeros_(deaf.model.joiner.predictor_proj.weight)
    whole = deaf.transcribe(clips[3], 16000, config())
    stream, segments = deaf.stream(config(endpoint=EndpointConfig(max_length_s=0.6))), []
    stream.accept(clips[3], 16000)
    stream.finish()
    while deaf.decode([stream]):
        if stream.is_endpoint or stream.done:
            segments.append(stream.final)
            stream.reset()
            assert stream.partial.tokens == [] and stream.partial.start_s == pytest.approx(stream.decoded_s)
    assert len(segments) > 2
    assert [token for segment in segments for token in segment.tokens] == whole.tokens
    assert [time for segment in segments for time in segment.timestamps] == whole.timestamps
    assert all(time >= segment.start_s for segment in segments for time in segment.timestamps)


def remembered_bytes(thing, seen: set[int]) -> int:
    """Storage behind all tensors that `thing` holds on to, the model's apart."""
    if id(thing) in seen or isinstance(thing, (nn.Module, str, int, float)):
        return 0
    seen.add(id(thing))
    if isinstance(thing, Tensor):
        storage = thing.untyped_storage()
        first = storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        return storage.nbytes() if first else 0
    parts = list(thing) if hasattr(thing, "__iter__") else list(getattr(thing, "__dict__", {}).values())
    return sum(remembered_bytes(part, seen) for part in parts)


def test_memory_does_not_grow_with_the_audio(recognizer, clips):
    """A minute in pieces of 0.2 s, cut into segments where the rules say so."""
    minute = torch.cat(clips).repeat(9)[: 60 * 16000]
    endpoint = EndpointConfig(max_length_s=4.0)
    stream = recognizer.stream(StreamConfig(chunk_size=64, left_context=128, endpoint=endpoint, tail_s=0.5))
    sizes = []
    for piece in minute.split(3200):
        stream.accept(piece, 16000)
        while recognizer.decode([stream]):
            if stream.is_endpoint:
                stream.reset()
        sizes.append(remembered_bytes(stream, set()))
    assert stream.decoded_s > 58
    early, late = max(sizes[50:150]), max(sizes[150:])
    assert late <= early + 100 * 20 < 10**6  # 20 bytes a token, 100 tokens in 4 s


def test_a_long_piece_leaves_nothing_behind(recognizer, clips):
    stream, fresh = recognizer.stream(config()), recognizer.stream(config())
    stream.accept(torch.cat(clips), 16000)
    while recognizer.decode([stream]):
        pass
    stream.reset()
    assert remembered_bytes(stream, set()) <= remembered_bytes(fresh, set()) + 4 * 80 * 120 + 4 * 16000


def test_frames_wait_in_order():
    queue, frames = FrameQueue(3), torch.randn(20, 3)
    for piece in frames.split([4, 0, 1, 9, 6]):
        queue.push(piece)
    assert len(queue) == 20 and torch.equal(queue.front(7), frames[:7])
    queue.drop(6)
    queue.drop(1)
    assert len(queue) == 13 and torch.equal(queue.front(99), frames[7:])
    queue.drop(99)
    assert len(queue) == 0 and queue.front(5).shape == (0, 3)


def test_endpoints_do_not_divide_a_transcription(recognizer, clips):
    cfg = config(endpoint=EndpointConfig(max_length_s=0.5))
    assert recognizer.transcribe(clips[3], 16000, cfg) == recognizer.transcribe(
        clips[3], 16000, replace(cfg, endpoint=None)
    )
