"""Which parts of LibriSpeech are prepared, and how."""

from dataclasses import dataclass, field

from asr.errors import ConfigError
from asr.recipes.archives import OPENSLR

HOURS = {
    "train-clean-100": 100.6,
    "train-clean-360": 363.6,
    "train-other-500": 496.7,
    "dev-clean": 5.4,
    "dev-other": 5.1,
    "test-clean": 5.4,
    "test-other": 5.3,
    "train-clean-5": 5.3,
    "dev-clean-2": 2.1,
}
"""Published sizes of the subsets; the last two are Mini LibriSpeech."""


@dataclass(kw_only=True)
class LibriSpeechConfig:
    """Data preparation of LibriSpeech (Panayotov et al. 2015; OpenSLR 12)."""

    out: str = "data/librispeech"
    """Folder for everything the recipe makes."""
    source: str | None = None
    """The folder `LibriSpeech` with its subsets, read only; null: download the archives to `out/download`."""
    mirrors: list[str] = field(default_factory=lambda: list(OPENSLR))
    """Addresses below which archives lie as on openslr.org/resources, tried in this order."""
    train: list[str] = field(default_factory=lambda: ["train-clean-100", "train-clean-360", "train-other-500"])
    """Subsets to train on; together they are the split `train`."""
    dev: list[str] = field(default_factory=lambda: ["dev-clean", "dev-other"])
    """Subsets to choose settings on; together they are the split `dev`."""
    test: list[str] = field(default_factory=lambda: ["test-clean", "test-other"])
    """Subsets that results are reported on, one by one."""
    vocab_size: int = 500
    """Sub-word units, special symbols included."""
    bpe_model: str | None = None
    """A sentencepiece model to take instead of training one, such as a published checkpoint's."""
    store_features: bool = False
    """Store features of all splits, training at all speeds: some 320 GB for 960 hours. Set data.features=STORED too."""
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
        for name in ("train", "dev", "test"):
            if not getattr(self, name):
                raise ConfigError(f"corpus.{name}=[] names no subset; choose from {', '.join(HOURS)}")

    @property
    def subsets(self) -> list[str]:
        """All subsets, each once."""
        return list(dict.fromkeys([*self.train, *self.dev, *self.test]))

    def published_hours(self, split: str) -> float | None:
        """Hours of a split by the published sizes of its subsets; None where one has none."""
        hours = [HOURS.get(subset) for subset in {"train": self.train, "dev": self.dev}.get(split, [split])]
        return None if None in hours else sum(filter(None, hours))
