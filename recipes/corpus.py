"""What every corpus of published archives lets one choose."""

from dataclasses import dataclass, field

from asr.errors import ConfigError
from asr.recipes.archives import OPENSLR


@dataclass(kw_only=True)
class PublishedCorpusConfig:
    """Where archives come from, which features are stored, and what noise is prepared beside the speech."""

    mirrors: list[str] = field(default_factory=lambda: list(OPENSLR))
    """Addresses below which archives lie as on openslr.org/resources, tried in this order."""
    vocab_size: int = 500
    """Sub-word units, special symbols included."""
    store_features: bool = False
    """Store features of all splits, training at all speeds: some 330 MB an hour. Set data.features=STORED too."""
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
