"""A model ready to listen, to any number of streams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from asr.checkpoint.model import load_model
from asr.errors import ConfigError, StreamError
from asr.models.transducer import Transducer
from asr.streaming.batch import alike, step
from asr.streaming.config import StreamConfig
from asr.streaming.intake import Samples
from asr.streaming.result import Result
from asr.streaming.stream import Stream
from asr.text import Tokenizer


@dataclass(frozen=True, eq=False, repr=False)
class Recognizer:
    """Model and tokenizer; nothing in it changes, so many threads may share one.

    recognizer = asr.load("exp/digits")
    stream = recognizer.stream()
    for piece in microphone:
        stream.accept(piece, 16000)
        while recognizer.decode([stream]):
            print(stream.partial.text)
    """

    model: Transducer
    """In evaluation mode."""
    tokenizer: Tokenizer
    """The model's own."""

    def __post_init__(self) -> None:
        if self.model.training:
            raise ConfigError("the model is in training mode and would answer at random; call model.eval() first")
        if self.model.config.vocab_size != self.tokenizer.vocab_size:
            raise ConfigError(
                f"the model has {self.model.config.vocab_size} symbols but the tokenizer "
                f"{self.tokenizer.vocab_size}; give the tokenizer the model was trained with"
            )

    @classmethod
    def load(cls, path: Path | str, *, device: torch.device | str = "cpu") -> Recognizer:
        """Load a checkpoint file, or a run's folder, onto a device; raises CheckpointError."""
        loaded = load_model(path)
        return cls(loaded.model.to(device), loaded.tokenizer)

    def stream(self, config: StreamConfig | None = None) -> Stream:
        """Open a stream; raises ConfigError where this model cannot decode with such settings."""
        return Stream(self.model, self.tokenizer, config or StreamConfig())

    def decode(self, streams: Iterable[Stream]) -> int:
        """Advance every stream that is ready by one chunk, those with equal settings together.

        A stream's answer does not depend on the others, up to the rounding of floats. A chunk that a stream's gate
        leaves out costs nothing, and counts.

        Returns:
            how many streams advanced: 0 when all must wait for more audio.
        Raises:
            StreamError: a stream belongs to another recogniser.
        """
        streams = list(dict.fromkeys(streams))
        if any(stream.model is not self.model for stream in streams):
            raise StreamError("a stream was opened by another recogniser; decode it there")
        ready = [stream for stream in streams if stream.ready]
        spoken = [stream for stream in ready if not stream.skip_silence()]
        for group in alike(spoken):
            step(self.model, group)
        return len(ready)

    def transcribe(self, samples: Samples, sample_rate: int, config: StreamConfig | None = None) -> Result:
        """Recognise a whole recording, in one segment: a stream fed at once.

        Args:
            samples: one channel, (N,), floats in [-1, 1].
            sample_rate: Hz.
            config: as for `stream`; endpoints are not looked for.
        Raises:
            StreamError: the samples are no such audio.
        """
        stream = self.stream(replace(config or StreamConfig(), endpoint=None))
        stream.accept(samples, sample_rate)
        stream.finish()
        while self.decode([stream]):
            pass
        return stream.final
