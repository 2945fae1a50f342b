"""How AISHELL-1 is prepared."""

from dataclasses import dataclass, field
from enum import Enum

from asr.errors import ConfigError
from asr.recipes.archives import OPENSLR

HOURS = {"train": 151.0, "dev": 18.1, "test": 10.0}
"""Published sizes of the splits."""


class Units(Enum):
    """What a model of Mandarin emits."""

    CHARACTER = "character"
    """4336 symbols: each character of the transcript file, in the order in which they first occur there."""
    BYTE_BPE = "byte_bpe"
    """Sub-words over the bytes of UTF-8."""


@dataclass(kw_only=True)
class AishellConfig:
    """Data preparation of AISHELL-1 (Bu et al. 2017; OpenSLR 33)."""

    out: str = "data/aishell"
    """Folder for everything the recipe makes."""
    source: str | None = None
    """The folder that holds `data_aishell`, read only; null: download the archive to `out/download`."""
    mirrors: list[str] = field(default_factory=lambda: list(OPENSLR))
    """Addresses below which archives lie as on openslr.org/resources, tried in this order."""
    units: Units = Units.CHARACTER
    """Kind of the output symbols."""
    vocab_size: int = 500
    """Sub-word units of BYTE_BPE, special symbols included; characters are as many as there are."""
    store_features: bool = False
    """Store features of all splits, training at all speeds: some 55 GB. Set data.features=STORED too."""
    speeds: list[float] = field(default_factory=lambda: [0.9, 1.0, 1.1])
    """Speeds at which training features are stored, each above 0."""
    musan: str | None = None
    """Recorded noise: a folder of MUSAN, "download" for its 11 GB archive, or null for none."""
    rirs: str | None = None
    """Room impulse responses: a folder, "download" for the 1.3 GB archive of OpenSLR 28, or null for none."""
    num_workers: int = 4
    """Threads or processes that work at once, 1 or more."""

    def __post_init__(self) -> None:
        if self.num_workers < 1:
            raise ConfigError(f"corpus.num_workers={self.num_workers} must be 1 or more; use the processor cores")
        if not self.speeds or min(self.speeds) <= 0:
            raise ConfigError(f"corpus.speeds={self.speeds} must name at least one factor above 0")

    def published_hours(self, split: str) -> float | None:
        """Hours of a split as published; None for one that is not of the corpus."""
        return HOURS.get(split)
