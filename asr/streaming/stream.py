"""One live stream: all that is remembered between one piece of audio and the next."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from asr.decoding import Hypothesis, SearchState, build_search, settle
from asr.errors import StreamError
from asr.features import Background, FbankConfig
from asr.models.encoder import StreamingState, features_ahead, warn_untrained
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext
from asr.streaming.config import StreamConfig
from asr.streaming.frames import FrameQueue
from asr.streaming.gate import VoiceGate
from asr.streaming.intake import Intake, Samples
from asr.streaming.past import SettledTokens
from asr.streaming.policy import ChunkPolicy
from asr.streaming.result import Result, segment_ended, to_result
from asr.text import Tokenizer

SMALLEST_STEP = 9
"""Feature frames (100 Hz) that make one encoder frame: 7 for the convolutions, and 2 to move on by."""
SETTLE_AT = 256
"""Tokens that a search carries along before those that are certain are put aside."""


class StreamState(NamedTuple):
    """What a model remembers of a stream; a batch of one."""

    encoder: StreamingState
    search: SearchState


class Stream:
    """Takes audio as it comes and holds what was made of it; `Recognizer.decode` does the work.

    Not made for two threads at once. What it remembers does not grow with the audio, apart from twelve bytes for each
    token of the current segment, and audio that nobody decodes; the work of a step does not grow at all. Searches in k2
    (`K2_*`) are the exception: they keep every frame of the current segment, and each answer goes through all of them.
    """

    def __init__(self, model: Transducer, tokenizer: Tokenizer, config: StreamConfig):
        """Raises ConfigError where the model cannot stream in such chunks, or lacks what the search needs."""
        self.model = model
        self.config = config
        self.search = build_search(config.search, model, tokenizer)
        self._tokenizer = tokenizer
        feature_dim = model.config.encoder.feature_dim
        self._intake = Intake(FbankConfig(num_bins=feature_dim))
        self._frames = FrameQueue(feature_dim)
        self._background = Background(feature_dim)
        self._gate = VoiceGate(config.gate) if config.gate else None
        self._open = FrameQueue(1)  # beside the frames, where there is a gate: 1 where it is open
        self._finished = False
        self._first_frame = 0  # of the segment, 25 Hz, from the stream's start
        self._policy = ChunkPolicy(config.adaptive) if config.adaptive else None
        for size in config.adaptive.chunk_sizes if config.adaptive else ():
            model.encoder.config.check_context(config.context_of(size))
        self._context = config.context
        warn_untrained(model.config.encoder, self._context)
        encoder = model.init_state(1, self._context)
        self._state = StreamState(encoder, self.search.init(1, encoder.processed.device))
        self._settled = SettledTokens()

    # What the owner of the audio calls.

    def accept(self, samples: Samples, sample_rate: int) -> None:
        """Take the next piece, of any length.

        Args:
            samples: one channel, (N,), floats in [-1, 1].
            sample_rate: Hz, any, but always the same within a stream.
        Raises:
            StreamError: the stream is finished, the rate changed, or the samples are no such audio. The piece is then
                left out as a whole, and the stream goes on.
        """
        if self._finished:
            raise StreamError("this stream is finished and takes no more audio; open a new one")
        for frames in self._intake.accept(samples, sample_rate):
            self._take(frames)

    def finish(self) -> None:
        """Say that the audio is over; what is left becomes ready. Saying it again changes nothing."""
        if self._finished:
            return
        self._finished = True
        for frames in self._intake.finish():
            self._take(frames)
        self._push(self._background.tail(round(100 * self.config.tail_s)))

    @property
    def ready(self) -> bool:
        """Whether there is enough to decode the next chunk."""
        if self._finished:
            return len(self._frames) >= SMALLEST_STEP
        return len(self._frames) >= (max(self.step_frames, self._gate_frames) if self._silent else self.step_frames)

    @property
    def done(self) -> bool:
        """Whether the stream is finished and decoded to its end."""
        return self._finished and not self.ready

    @property
    def partial(self) -> Result:
        """The segment so far; more audio may still change it."""
        return self._result(self.search.partial(self._state.search))

    @property
    def final(self) -> Result:
        """The segment for good: at an endpoint, or once the stream is done.

        Raises:
            StreamError: the stream is finished but neither decoded to its end nor at an endpoint.
        """
        if self._finished and self.ready and not self.is_endpoint:
            raise StreamError("there is audio left to decode; call Recognizer.decode until the stream is done")
        return self._result(self.search.finish(self._state.search))

    @property
    def is_endpoint(self) -> bool:
        """Whether the segment is over by `config.endpoint`; look after each `decode`, then read `final` and `reset`."""
        if self.config.endpoint is None:
            return False
        # Settled tokens do not matter for the last one's time, which is never among them.
        hypothesis = self.search.partial(self._state.search)[0]
        if not self._settled and not self._tokenizer.decode(hypothesis.tokens):
            # A boundary before a word that may never come is no speech.
            hypothesis = replace(hypothesis, tokens=[], timestamps=[])
        return segment_ended(self.config.endpoint, hypothesis, self._segment_frames)

    @property
    def decoded_s(self) -> float:
        """Seconds from the stream's start that were decoded."""
        return (self._first_frame + self._segment_frames) * self.model.encoder.stride / 100

    def reset(self) -> None:
        """Start a new segment here. Times still count from the stream's start, and the model still hears the past."""
        self._first_frame += self._segment_frames
        self._state = self._state._replace(search=self.search.init(1, self._state.search.frames.device))
        self._settled = SettledTokens()

    # What the recogniser calls.

    @property
    def state(self) -> StreamState:
        """What the model remembers."""
        return self._state

    def skip_silence(self) -> bool:
        """Where nobody speaks in the next chunk, go on by it without the model: time passes, and silence."""
        if not self._silent:
            return False
        num_frames = min(self._hop, len(self._frames)) // self.model.encoder.stride
        self._drop(self._hop)
        search = self._state.search
        self._state = self._state._replace(search=search._replace(frames=search.frames + num_frames))
        return True

    def next_step(self) -> Tensor:
        """The frames of the next chunk and its lookahead, (T, F) at 100 Hz; fewer at the end of the audio."""
        return self._frames.front(self.step_frames)

    def advance(self, state: StreamState) -> None:
        """Go on by one chunk, to what the model made of it."""
        self._drop(self._hop)
        if state.search.history.tokens.shape[-1] > SETTLE_AT:
            search, settled = settle(state.search)
            self._settled.append(settled[0])
            state = state._replace(search=search)
        self._state = state

    @property
    def context(self) -> ChunkContext:
        """What the frames of the next chunk may see."""
        return self._context

    @property
    def step_frames(self) -> int:
        """Feature frames (100 Hz) that a step reads: its chunk and the lookahead."""
        return self._hop + features_ahead(self.model.encoder, self._context)

    @property
    def _hop(self) -> int:
        """Feature frames (100 Hz) of the next chunk, by which a step moves on."""
        return 2 * (self._context.chunk_size or 0)

    @property
    def _segment_frames(self) -> int:
        return int(self._state.search.frames[0])

    @property
    def _silent(self) -> bool:
        """Whether, as far as was heard, nobody speaks in the next chunk nor soon after it."""
        return self._gate is not None and not self._open.front(self._gate_frames).any()

    @property
    def _gate_frames(self) -> int:
        """Feature frames (100 Hz) that must be closed for the next chunk to be left out."""
        pre_roll_s = self.config.gate.pre_roll_s if self.config.gate else 0.0
        return self._hop + round(100 * pre_roll_s)

    def _take(self, frames: Tensor) -> None:
        self._push(frames)
        if self.config.tail_s:
            self._background.accept(frames)

    def _push(self, frames: Tensor) -> None:
        self._frames.push(frames)
        if self._gate:
            self._open.push(self._gate.accept(frames).float().unsqueeze(1))

    def _drop(self, count: int) -> None:
        if self._policy:
            self._policy.accept(self._frames.front(count))
            self._context = self.config.context_of(self._policy.chunk_size)
        self._frames.drop(count)
        self._open.drop(count)

    def _result(self, found: list[Hypothesis]) -> Result:
        return to_result(self._settled.before(found[0]), self._tokenizer, first_frame=self._first_frame)
