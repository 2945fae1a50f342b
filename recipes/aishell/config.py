"""How AISHELL-1 is prepared."""

from dataclasses import dataclass
from enum import Enum

from asr.recipes.corpus import PublishedCorpusConfig

HOURS = {"train": 151.0, "dev": 18.1, "test": 10.0}
"""Published sizes of the splits."""


class Units(Enum):
    """What a model of Mandarin emits."""

    CHARACTER = "character"
    """4336 symbols: each character of the transcript file, in the order in which they first occur there."""
    BYTE_BPE = "byte_bpe"
    """Sub-words over the bytes of UTF-8."""


@dataclass(kw_only=True)
class AishellConfig(PublishedCorpusConfig):
    """Data preparation of AISHELL-1 (Bu et al. 2017; OpenSLR 33)."""

    out: str = "data/aishell"
    """Folder for everything the recipe makes."""
    source: str | None = None
    """The folder that holds `data_aishell`, read only; null: download the archive to `out/download`."""
    units: Units = Units.CHARACTER
    """Kind of the output symbols; vocab_size counts those of BYTE_BPE, characters are as many as there are."""

    def published_hours(self, split: str) -> float | None:
        """Hours of a split as published; None for one that is not of the corpus."""
        return HOURS.get(split)
