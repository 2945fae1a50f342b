"""Encoders made of a front end to 25 Hz and a body at that rate; such as recurrent or convolutional layers.

The front end is the Zipformer's, so that what is compared is what follows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from asr.errors import ConfigError
from asr.models.encoder import EncoderConfig, refuse_steps
from asr.models.zipformer.embed import ConvEmbed, Embedded
from asr.nn.chunks import ChunkContext
from asr.tensors import zero_padding


@dataclass(kw_only=True)
class FramedConfig(EncoderConfig):
    """Sizes of the front end; each kind of body adds its own."""

    embed_channels: list[int] = field(default_factory=lambda: [8, 16, 128])
    """Channels of the three front-end convolutions."""
    embed_expansion: int = 1
    """Hidden width of the front end's ConvNeXt block over its channels."""
    dim: int = 192
    """Channels between the front end and the body."""

    def __post_init__(self) -> None:
        if len(self.embed_channels) != 3:
            raise ConfigError(f"encoder.embed_channels={self.embed_channels} must have three entries")
        if self.feature_dim < 9:
            raise ConfigError(f"encoder.feature_dim={self.feature_dim} is too small for the front end; use 80")
        self.check_sizes("embed_channels", "embed_expansion", "dim")

    def check_sizes(self, *names: str) -> None:
        """Raise ConfigError for the first of these fields that is below 1."""
        for name in names:
            value = getattr(self, name)
            if min(value if isinstance(value, list) else [value]) < 1:
                raise ConfigError(f"encoder.{name}={value} must be at least 1")

    def check_dropout(self) -> None:
        """Raise ConfigError unless the field `dropout` is a share."""
        dropout = getattr(self, "dropout", 0.0)
        if not 0 <= dropout < 1:
            raise ConfigError(f"encoder.dropout={dropout} must be at least 0 and below 1")


class FramedState(NamedTuple):
    """front: (B, 3, F', C') of the front end; body: its own tree; processed: (B,), 25 Hz frames seen."""

    front: Tensor
    body: Any
    processed: Tensor


class Front(nn.Module):
    """Features at 100 Hz to frames at 25 Hz: the convolutional front end, its 50 Hz frames joined in pairs."""

    stride, lookahead, supports_step = 4, ConvEmbed.lookahead, True

    def __init__(self, config: FramedConfig):
        super().__init__()
        self.embed = ConvEmbed(config.feature_dim, config.embed_channels, config.dim, expansion=config.embed_expansion)
        self.pair = nn.Linear(2 * config.dim, config.dim)

    def init_state(self, batch_size: int, device: torch.device | None = None) -> Tensor:
        """An empty past, (B, 3, F', C')."""
        return self.embed.init_state(batch_size, device)

    def forward(self, x: Tensor, x_lens: Tensor, cache: Tensor, *, ahead: int = 0) -> Embedded:
        """(B, 4 N + 13, feature_dim) at 100 Hz to (B, N, C) at 25 Hz, zero beyond the lengths.

        The next call will make the last `ahead` of the N frames again.
        """
        embedded = self.embed(x, x_lens, cache, ahead=2 * ahead)
        pairs = zero_padding(embedded.out, embedded.lens).unflatten(1, (-1, 2)).flatten(2)
        lens = torch.div(embedded.lens + 1, 2, rounding_mode="floor")
        return Embedded(zero_padding(self.pair(pairs), lens), lens, embedded.cache)


class Body(Protocol):
    """What follows the front end, a module; all frames are at 25 Hz."""

    @property
    def output_dim(self) -> int:
        """Channels of the output."""

    @property
    def lookahead(self) -> int:
        """Frames that `forward` reads beyond those it returns."""

    @property
    def supports_step(self) -> bool:
        """Whether `forward` can go on from a state."""

    def init_state(self, batch_size: int, context: ChunkContext | None, device: torch.device | None) -> Any:
        """An empty past; None is for whole utterances."""

    def __call__(self, x: Tensor, lens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """x (B, T + lookahead, C), zero beyond lens (B,), to (B, T, output_dim) and the next state."""


class FramedEncoder(nn.Module):
    """Front end and body: features at 100 Hz to encoder frames at 25 Hz. See `Encoder` for what the methods promise."""

    stride = 4
    """Feature frames per output frame."""

    def __init__(self, config: FramedConfig, body: Body):
        super().__init__()
        self.config = config
        self.front = Front(config)
        self.body = body

    @property
    def lookahead(self) -> int:
        """Feature frames, 100 Hz, that a step sees beyond its own."""
        return Front.lookahead + self.stride * self.body.lookahead

    @property
    def output_dim(self) -> int:
        return self.body.output_dim

    @property
    def supports_step(self) -> bool:
        return self.body.supports_step

    def init_state(
        self, batch_size: int, context: ChunkContext | None = None, device: torch.device | None = None
    ) -> FramedState:
        """An empty past; raises ConfigError where the encoder cannot step under such a context."""
        if context is not None:
            if not self.supports_step:
                raise refuse_steps(f"a {type(self.body).__name__}")
            if context.chunk_size is None:
                raise ConfigError(f"streaming needs a chunk size, not {context}; e.g. 32")
            self.config.check_context(context)
        processed = torch.zeros(batch_size, dtype=torch.int64, device=device)
        front = self.front.init_state(batch_size, device)
        return FramedState(front, self.body.init_state(batch_size, context, device), processed)

    def draw_context(self) -> ChunkContext:
        """Training has nothing to draw: these networks do not know chunks, or only those they are made for."""
        return ChunkContext()

    def pad_whole(self, x: Tensor, context: ChunkContext) -> Tensor:
        """Fill whole utterances, (B, T, F), up to whole chunks and the lookahead, with frames nobody looks at."""
        frames = context.whole_chunks(max((x.shape[1] - 7) // 2, 1))
        frames += -frames % self.config.chunk_multiple
        return pad(x, (0, 0, 0, 2 * frames + self.lookahead - x.shape[1]))

    def forward(
        self, x: Tensor, x_lens: Tensor, state: FramedState, context: ChunkContext
    ) -> tuple[Tensor, Tensor, FramedState]:
        """Encode the next frames of each row, as `Encoder` says; the chunk size makes no difference to the result."""
        embedded = self.front(zero_padding(x, x_lens), x_lens, state.front, ahead=self.body.lookahead)
        out, body = self.body(embedded.out, embedded.lens, state.body)
        lens = embedded.lens.clamp(max=out.shape[1])
        return out, lens, FramedState(embedded.cache, body, state.processed + lens)
