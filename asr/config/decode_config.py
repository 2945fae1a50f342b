"""Roots of the commands that use a finished model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List  # noqa: UP035  (a field below is called `list`)

from omegaconf import MISSING

from asr.decoding import SearchConfig
from asr.decoding.config import NBEST_METHODS
from asr.errors import ConfigError
from asr.evaluation import Unit
from asr.evaluation.device import find_device
from asr.export.config import ExportConfig
from asr.nn.chunks import ChunkContext
from asr.serving.config import ServeConfig
from asr.streaming.config import EndpointConfig, StreamConfig
from asr.streaming.policy import AdaptiveConfig


@dataclass(kw_only=True)
class TestSetConfig:
    """What is decoded; by default the test sets that the model's recipe names."""

    folder: str | None = None
    """Folder of a prepared corpus; null: the one the model was trained from."""
    splits: List[str] | None = None  # noqa: UP006
    """Splits to decode; null: the recipe's test splits."""
    list: str | None = None
    """Instead of a prepared corpus: a list of digit strings (TSV with the columns of recipes/digits)."""
    recordings: str | None = None
    """Folder of `fsdd-*.tar` files with their manifest.tsv, for `data.list`."""
    levelled: bool = True
    """Whether the strings of `data.list` are brought to one level, recording by recording."""
    speaker: str | None = None
    """Only utterances of this speaker."""


def check_num_threads(count: int | None) -> None:
    """Raise ConfigError where so many CPU threads cannot be."""
    if count is not None and count < 1:
        raise ConfigError(f"num_threads={count} must be at least 1; null leaves torch's choice")


@dataclass(kw_only=True)
class DecodeConfig:
    """The root of `asr decode`."""

    checkpoint: str = MISSING
    """A checkpoint, or the folder of a run."""
    out: str | None = None
    """Folder of results; null: `results` in the run's folder."""
    chunk_size: int | None = 32
    """Frames (50 Hz) decoded at a time by a model that streams; null hears whole utterances."""
    left_context: int | None = 128
    """Frames (50 Hz) remembered before the chunk."""
    lookahead: int = 0
    """Frames (50 Hz) heard beyond each chunk before it is decoded, by models that were trained with some."""
    stepwise: bool = True
    """Chunk by chunk with cached state, as a live stream; false: one masked pass, with the same result."""
    oracle: bool = False
    """Whether to count the errors of the best sequence in each n-best list as well. Needs a search with such lists:
    BEAM, or one of k2."""
    attention_scale: float | None = None
    """Weight of the attention decoder's log-probability, to choose by both from each n-best list as well; null: no such
    choice. Needs a search with such lists: BEAM, or one of k2."""
    unit: Unit | None = None
    """What errors are counted in; null: what the model's recipe counts."""
    max_duration_s: float = 60.0
    """Audio decoded side by side, seconds, padding included."""
    device: str | None = None
    """Such as "cpu" or "cuda"; null: a GPU where there is one."""
    num_threads: int | None = None
    """CPU threads; null leaves torch's choice."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """How tokens are found."""
    data: TestSetConfig = field(default_factory=TestSetConfig)
    """What is decoded."""

    def __post_init__(self) -> None:
        ChunkContext(chunk_size=self.chunk_size, left_context=self.left_context, lookahead=self.lookahead)  # checks all
        find_device(self.device)  # checks it
        if not self.max_duration_s > 0:
            raise ConfigError(f"max_duration_s={self.max_duration_s} must be above 0")
        check_num_threads(self.num_threads)
        if (self.oracle or self.attention_scale is not None) and self.search.method not in NBEST_METHODS:
            raise ConfigError(
                f"search.method={self.search.method.value} keeps no n-best list to choose from, as oracle and "
                "attention_scale do; use beam, ctc_beam, k2_fast_beam or k2_ctc"
            )


@dataclass(kw_only=True)
class LatencyCurveConfig(DecodeConfig):
    """The root of `asr latency-curve`; `chunk_size` and `left_context` are those of each point."""

    chunk_sizes: list[int | None] = field(default_factory=lambda: [8, 16, 32, 64, None])
    """Chunks to try, 50 Hz frames; null hears whole utterances."""
    left_contexts: list[int] = field(default_factory=lambda: [64, 128, 256])
    """Left contexts to try with each chunk that is no longer, 50 Hz frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.oracle:
            raise ConfigError("oracle=true has no place in a latency curve; use asr decode")
        if not self.grid():
            raise ConfigError("chunk_sizes and left_contexts leave no point; name at least one chunk, or null")

    def grid(self) -> list[tuple[int | None, int | None]]:
        """The points, (chunk_size, left_context)."""
        chunks = [chunk for chunk in self.chunk_sizes if chunk is not None]
        points: list[tuple[int | None, int | None]] = []
        points += [(chunk, left) for left in self.left_contexts for chunk in chunks if chunk <= left]
        return points + ([(None, None)] if None in self.chunk_sizes else [])


@dataclass(kw_only=True)
class AverageConfig:
    """The root of `asr average`."""

    checkpoint: str = MISSING
    """Folder of a run."""
    split: str | None = None
    """Split on which candidates are compared; null: the recipe's dev split."""
    chunk_size: int | None = 32
    """Frames (50 Hz) that become visible together, while comparing."""
    left_context: int | None = 128
    """Frames (50 Hz) visible before the chunk, while comparing."""
    first: int | None = None
    """Step of the earliest checkpoint that counts; what came up to that step is no part of its average; null: the
    oldest one kept."""
    last: int | None = None
    """Step of the checkpoint at which averages end; null: the newest."""
    first_epoch: int | None = None
    """Instead of `first`, an epoch (counted from 1) whose end was kept: `last_epoch` less the number averaged, where
    results are published so. Its own steps are no part of the average."""
    last_epoch: int | None = None
    """Instead of `last`, the epoch with whose end averages end."""
    compare: bool | None = None
    """Whether candidates from the first to the last are compared on the dev set; false takes the average over all of
    it, as null does where both ends are given."""
    device: str | None = None
    """Such as "cpu" or "cuda"; null: a GPU where there is one."""

    def __post_init__(self) -> None:
        ChunkContext(chunk_size=self.chunk_size, left_context=self.left_context)  # checks both
        find_device(self.device)  # checks it
        if self.first is not None and self.last is not None and self.first >= self.last:
            raise ConfigError(f"first={self.first} must come before last={self.last}; name steps of two checkpoints")
        self._check_epochs()

    def _check_epochs(self) -> None:
        first, last = self.first_epoch, self.last_epoch
        if self.by_epoch and (self.first is not None or self.last is not None):
            raise ConfigError(
                "first and last count steps, first_epoch and last_epoch epochs, and one average cannot do both; "
                "leave out one kind"
            )
        if first is not None and last is not None and first >= last:
            raise ConfigError(
                f"first_epoch={first} must come before last_epoch={last}; its own steps are no part of the average"
            )

    @property
    def by_epoch(self) -> bool:
        """Whether the ends of averages are named by epochs."""
        return self.first_epoch is not None or self.last_epoch is not None

    @property
    def compares(self) -> bool:
        """Whether candidates are compared."""
        ends = (self.first_epoch, self.last_epoch) if self.by_epoch else (self.first, self.last)
        return None in ends if self.compare is None else self.compare


@dataclass(kw_only=True)
class StreamRootConfig(StreamConfig):
    """The root of `asr stream` and `asr transcribe`."""

    checkpoint: str = MISSING
    """A checkpoint, or the folder of a run."""


@dataclass(kw_only=True)
class AdaptiveRootConfig(StreamConfig):
    """The root of `asr adaptive`; each fixed size is one of `adaptive.chunk_sizes`."""

    checkpoint: str = MISSING
    """A checkpoint, or the folder of a run."""
    adaptive: AdaptiveConfig | None = field(default_factory=AdaptiveConfig)
    """The sizes, and when to change."""
    noise_db: List[float | None] = field(default_factory=lambda: [None, 10.0, 0.0])  # noqa: UP006
    """Speech above added pink noise, decibels of mean power; null adds none."""
    num_threads: int | None = None
    """CPU threads; null leaves torch's choice."""
    data: TestSetConfig = field(default_factory=TestSetConfig)
    """What is decoded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_num_threads(self.num_threads)


@dataclass(kw_only=True)
class EqualityConfig:
    """The root of `asr equality`."""

    checkpoint: str = MISSING
    """A checkpoint, or the folder of a run."""
    chunk_size: int = 32
    """Frames (50 Hz) encoded at a time."""
    left_context: int = 128
    """Frames (50 Hz) remembered before the chunk."""
    lookahead: int = 0
    """Frames (50 Hz) heard beyond each chunk."""
    out: str | None = None
    """The picture; null: `equality.png` in the run's folder."""


@dataclass(kw_only=True)
class ServeRootConfig(ServeConfig):
    """The root of `asr serve`."""

    checkpoint: str = MISSING
    """A checkpoint, or the folder of a run."""
    num_threads: int | None = None
    """CPU threads; null leaves torch's choice."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_num_threads(self.num_threads)


@dataclass(kw_only=True)
class EnduranceConfig(StreamConfig):
    """The root of `asr endurance`."""

    checkpoint: str = MISSING
    """A checkpoint, or the folder of a run."""
    endpoint: EndpointConfig | None = field(default_factory=EndpointConfig)
    """When to cut the stream into segments; null: never."""
    hours: float = 10.0
    """Audio to play, hours; above 0."""
    out: str | None = None
    """File for the figures; null: `endurance.json` in the run's folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hours > 0:
            raise ConfigError(f"hours={self.hours} must be above 0")


@dataclass(kw_only=True)
class ExportRootConfig(ExportConfig):
    """The root of `asr export`."""

    checkpoint: str = MISSING
    """A checkpoint, or the folder of a run."""
    out: str | None = None
    """Folder of the ONNX files; null: `export-streaming`, `export-ctc-offline` … in the run's folder."""
