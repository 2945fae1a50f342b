"""What every encoder offers, whatever network it is: features at 100 Hz in, frames at 25 Hz out, by one forward."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from asr.errors import ConfigError
from asr.nn.chunks import ChunkContext

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class EncoderConfig:
    """What is fixed of every encoder; each kind adds its own sizes."""

    feature_dim: int = 80
    """Mel bins of the input features."""

    @property
    def output_dim(self) -> int:
        """Channels of the encoder's frames."""
        raise NotImplementedError

    @property
    def can_stream(self) -> bool:
        """Whether such an encoder can work step by step."""
        return True

    @property
    def chunk_multiple(self) -> int:
        """Chunk sizes, 50 Hz frames, must be multiples of this."""
        return 2

    def check_chunk_size(self, size: int | None, name: str = "chunk_size") -> None:
        """Raise ConfigError, naming the setting, unless the encoder can work in chunks of `size` 50 Hz frames."""
        step = self.chunk_multiple
        if size is not None and (size < step or size % step):
            low = max(size // step, 1) * step
            raise ConfigError(
                f"{name}={size} must be a multiple of {step}, the largest downsampling factor; "
                f"use {low} or {low + step}"
            )

    def check_lookahead(self, frames: int, name: str = "lookahead") -> None:
        """Raise ConfigError, naming the setting, unless chunks can see `frames` 50 Hz frames beyond themselves."""
        if frames:
            raise ConfigError(f"{name}={frames} cannot be chosen for this encoder; use 0")

    def check_context(self, context: ChunkContext) -> None:
        """Raise ConfigError unless frames can see what `context` says."""
        for size in {size for row in context.row_sizes or [(context.chunk_size,)] for size in row}:
            self.check_chunk_size(size)
        self.check_lookahead(context.lookahead)

    def untrained(self, context: ChunkContext) -> str | None:
        """What `context` lets frames see that they never saw in training, in a sentence; None where that is nothing."""
        return None


class StreamingState(Protocol):
    """A NamedTuple tree of tensors, all with the batch first: what an encoder remembers of each row."""

    @property
    def processed(self) -> Tensor:
        """Frames seen so far, (B,)."""


class Encoder(Protocol):
    """An encoder as the rest of the house sees it; all are modules.

    A step of S frames at 50 Hz reads 2 S + `lookahead` feature frames and moves on by 2 S; a whole utterance is one
    long first step, which `pad_whole` prepares.
    """

    @property
    def config(self) -> Any:
        """The `EncoderConfig` it was built from."""

    @property
    def stride(self) -> int:
        """Feature frames (100 Hz) per output frame."""

    @property
    def lookahead(self) -> int:
        """Feature frames, 100 Hz, that a step sees beyond its own."""

    @property
    def supports_step(self) -> bool:
        """Whether the encoder can stream; if not, it hears whole utterances only."""

    @property
    def output_dim(self) -> int:
        """Channels of the output."""

    def init_state(
        self, batch_size: int, context: ChunkContext | None = None, device: torch.device | None = None
    ) -> Any:
        """An empty past: for steps under `context`, or, where None, for whole utterances.

        Raises ConfigError where the encoder cannot step under such a context.
        """

    def draw_context(self) -> ChunkContext:
        """A context for one training batch."""

    def pad_whole(self, x: Tensor, context: ChunkContext) -> Tensor:
        """Fill whole utterances, (B, T, F), up to the lookahead, and to whole chunks where these must be whole."""

    def __call__(self, x: Tensor, x_lens: Tensor, state: Any, context: ChunkContext) -> tuple[Tensor, Tensor, Any]:
        """Encode the next S frames of each row.

        Args:
            x: features, (B, 2 S + lookahead, F), the last `lookahead` seen again by the next step.
            x_lens: valid feature frames of this call, (B,): true remaining lengths, at most 2 S + lookahead.
            state: from `init_state` or the last step; rows may be at different positions.
            context: what each frame may see.
        Returns:
            (B, ceil(S / 2), output_dim) at 25 Hz, valid lengths (B,), and the next state.
        """


def features_ahead(encoder: Encoder, context: ChunkContext) -> int:
    """Feature frames, 100 Hz, that a step reads beyond its chunk: what the encoder needs, and what was chosen."""
    return encoder.lookahead + 2 * context.lookahead


def warn_untrained(config: EncoderConfig, context: ChunkContext) -> None:
    """Warn of what works but was never trained; once, however many streams ask for it."""
    if sentence := config.untrained(context):
        _warn_once(sentence)


@lru_cache(maxsize=64)
def _warn_once(sentence: str) -> None:
    logger.warning("%s", sentence)


def refuse_steps(what: str) -> ConfigError:
    """For encoders that need the whole utterance: the error that says so."""
    return ConfigError(f"{what}: this model hears whole utterances only and cannot stream")
