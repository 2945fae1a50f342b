"""Which parts of LibriSpeech are prepared, and how."""

from dataclasses import dataclass, field

from asr.errors import ConfigError
from asr.recipes.corpus import PublishedCorpusConfig

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
class LibriSpeechConfig(PublishedCorpusConfig):
    """Data preparation of LibriSpeech (Panayotov et al. 2015; OpenSLR 12)."""

    out: str = "data/librispeech"
    """Folder for everything the recipe makes."""
    source: str | None = None
    """The folder `LibriSpeech` with its subsets, read only; null: download the archives to `out/download`."""
    train: list[str] = field(default_factory=lambda: ["train-clean-100", "train-clean-360", "train-other-500"])
    """Subsets to train on; together they are the split `train`."""
    dev: list[str] = field(default_factory=lambda: ["dev-clean", "dev-other"])
    """Subsets to choose settings on; together they are the split `dev`."""
    test: list[str] = field(default_factory=lambda: ["test-clean", "test-other"])
    """Subsets that results are reported on, one by one."""
    bpe_model: str | None = None
    """A sentencepiece model to take instead of training one, such as a published checkpoint's."""

    def __post_init__(self) -> None:
        super().__post_init__()
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
