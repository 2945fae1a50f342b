"""The shape of a Zipformer encoder."""

from __future__ import annotations

from dataclasses import dataclass, field

from asr.errors import ConfigError
from asr.models.encoder import EncoderConfig
from asr.nn.chunks import ChunkContext


@dataclass(kw_only=True)
class ZipformerConfig(EncoderConfig):
    """Sizes and training choices of one encoder; lists have one entry per stack. Defaults are the medium model."""

    embed_channels: list[int] = field(default_factory=lambda: [8, 32, 128])
    """Channels of the three front-end convolutions; the deployment client can serve only a last width of 128."""
    embed_expansion: int = 3
    """Hidden width of the ConvNeXt block over its channels; the front end's cost is nearly proportional to it."""
    downsampling_factors: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 4, 2])
    """How many times slower than 50 Hz each stack runs."""
    num_layers: list[int] = field(default_factory=lambda: [2, 2, 3, 4, 3, 2])
    """Layers of each stack."""
    encoder_dims: list[int] = field(default_factory=lambda: [192, 256, 384, 512, 384, 256])
    """Channels of each stack."""
    unmasked_dims: list[int] = field(default_factory=lambda: [192, 192, 256, 256, 256, 192])
    """Channels of each stack that feature masking never drops."""
    feedforward_dims: list[int] = field(default_factory=lambda: [512, 768, 1024, 1536, 1024, 768])
    """Hidden width of the middle feed-forward module; the first has 3/4 and the last 5/4 of it."""
    num_heads: list[int] = field(default_factory=lambda: [4, 4, 4, 8, 4, 4])
    """Attention heads."""
    cnn_kernels: list[int] = field(default_factory=lambda: [31, 31, 15, 15, 15, 31])
    """Kernel sizes of the convolution modules, odd, in frames of the stack."""
    query_head_dim: int = 32
    """Query and key width per head."""
    value_head_dim: int = 12
    """Value width per head."""
    pos_head_dim: int = 4
    """Width per head of the positional part of the scores."""
    pos_dim: int = 48
    """Width of the table of relative positions."""
    output_downsampling: int = 2
    """Last reduction, from 50 Hz."""
    causal: bool = False
    """Chunk-causal convolutions and chunk masks: a model that can stream."""
    chunk_sizes: list[int | None] = field(default_factory=lambda: [16, 32, 64, None])
    """Chunk sizes drawn in training, 50 Hz frames; null is the whole utterance. Causal models only."""
    left_contexts: list[int | None] = field(default_factory=lambda: [64, 128, 256, None])
    """Left contexts drawn in training, 50 Hz frames; null is unlimited."""
    lookaheads: list[int] = field(default_factory=lambda: [0])
    """Frames (50 Hz) beyond a chunk that all its layers see, drawn in training; 0 or multiples of the largest
    downsampling factor."""
    dropout_end: float = 0.1
    """Where dropout rates end after falling from 0.3."""
    feature_mask_prob: float = 0.125
    """Share of sequences whose upper channels are masked, in training."""
    recompute: bool = False
    """Whether training keeps only the inputs of layers and runs each twice: less memory, a third more time."""

    def __post_init__(self) -> None:
        stacks = len(self.num_layers)
        per_stack = "downsampling_factors encoder_dims unmasked_dims feedforward_dims num_heads cnn_kernels"
        for name in per_stack.split():
            entries = len(getattr(self, name))
            if entries != stacks:
                raise ConfigError(
                    f"encoder.{name} has {entries} entries but encoder.num_layers has {stacks}; give one per stack"
                )
        self._check_ranges()
        if any(kernel % 2 == 0 for kernel in self.cnn_kernels):
            raise ConfigError(f"encoder.cnn_kernels={self.cnn_kernels} must all be odd")
        if len(self.embed_channels) != 3:
            raise ConfigError(f"encoder.embed_channels={self.embed_channels} must have three entries")
        for size in self.chunk_sizes if self.causal else []:
            self.check_chunk_size(size, "encoder.chunk_sizes")
        if not self.lookaheads:
            raise ConfigError("encoder.lookaheads=[] must hold frames of 0 or more; use [0] for none")
        for frames in self.lookaheads:
            self.check_lookahead(frames, "encoder.lookaheads")

    def _check_ranges(self) -> None:
        sizes = "num_layers embed_channels downsampling_factors encoder_dims feedforward_dims num_heads cnn_kernels"
        sizes += " query_head_dim value_head_dim pos_head_dim pos_dim embed_expansion output_downsampling"
        for name in sizes.split():
            value = getattr(self, name)
            if min(value if isinstance(value, list) else [value], default=0) < 1:
                raise ConfigError(f"encoder.{name}={value} must be at least 1")
        if self.pos_dim % 2:
            raise ConfigError(f"encoder.pos_dim={self.pos_dim} must be even: sines and cosines in pairs")
        if self.feature_dim < 9:
            raise ConfigError(f"encoder.feature_dim={self.feature_dim} is too small for the front end; use 80")
        for name in ("chunk_sizes", "left_contexts") if self.causal else ():
            value = getattr(self, name)
            if not value or min(item for item in [*value, 1] if item is not None) < 1:
                raise ConfigError(f"encoder.{name}={value} must hold frames of at least 1, or null for all")
        for unmasked, dim in zip(self.unmasked_dims, self.encoder_dims):
            if not 0 <= unmasked <= dim:
                raise ConfigError(f"encoder.unmasked_dims={self.unmasked_dims} must lie within encoder.encoder_dims")
        for name in ("dropout_end", "feature_mask_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"encoder.{name}={getattr(self, name)} must lie between 0 and 1")

    @property
    def chunk_multiple(self) -> int:
        """Chunk sizes must be multiples of this: the largest downsampling factor, and the output's."""
        return max(*self.downsampling_factors, self.output_downsampling)

    def check_lookahead(self, frames: int, name: str = "lookahead") -> None:
        step = self.chunk_multiple
        if frames < 0 or frames % step:
            raise ConfigError(f"{name}={frames} must be 0 or a multiple of {step}, the largest downsampling factor")

    def untrained(self, context: ChunkContext) -> str | None:
        """Of lookaheads only: between the chunk sizes of training, others do as well."""
        if context.chunk_size is None or context.lookahead in self.lookaheads:
            return None
        return (
            f"this model was trained with lookahead {' or '.join(map(str, sorted(set(self.lookaheads))))} and may hear "
            f"worse with lookahead={context.lookahead}; use what it was trained with (model.encoder.lookaheads)"
        )

    @property
    def can_stream(self) -> bool:
        return self.causal

    @property
    def output_dim(self) -> int:
        return max(self.encoder_dims)
