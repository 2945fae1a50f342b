"""Old training data among the new, so that fine-tuning forgets less."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lhotse import CutSet
from lhotse.cut import Cut

from asr.data.config import DataConfig
from asr.errors import ConfigError, DataError


@dataclass(kw_only=True)
class ReplayConfig:
    """What a model was trained on before, heard again while it learns from other data."""

    folder: str
    """A prepared corpus, as `data.folder`."""
    train: str = "train"
    """Its training split."""
    share: float = 0.5
    """Its share of the audio of an epoch; above 0, below 1."""
    exclude_speakers: list[str] = field(default_factory=list)
    """Speakers of it that stay out."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(f"share={self.share} must lie between 0 and 1")

    def like(self, data: DataConfig) -> DataConfig:
        """Its own `data`, in everything else as the new data's."""
        if data.lazy or data.shards is not None:
            raise ConfigError("finetune.replay counts its audio in memory; set data.lazy=false and data.shards=null")
        return replace(data, folder=self.folder, train=self.train, exclude_speakers=self.exclude_speakers)


def mixed(new: CutSet, old: CutSet, old_share: float) -> CutSet:
    """Both in one epoch; whichever has too little audio for its share is heard several times."""
    fresh, again = list(new), list(old)
    if not fresh or not again:
        raise DataError(
            f"there are no {'old' if fresh else 'new'} training cuts to mix; look at finetune.replay and data"
        )
    ratio = old_share / (1 - old_share) * _duration(fresh) / _duration(again)
    if ratio > 1:
        return CutSet.from_cuts([*fresh, *_repeated(again, ratio)])
    return CutSet.from_cuts([*_repeated(fresh, 1 / ratio), *again])


def _duration(cuts: Sequence[Cut]) -> float:
    return sum(cut.duration for cut in cuts)


def _repeated(cuts: Sequence[Cut], times: float) -> list[Cut]:
    """Every cut `times` times, the first ones once more where it is no whole number; ids tell copies apart."""
    many = math.floor(times * len(cuts))
    passes, rest = divmod(many, len(cuts))
    copies = [cut.with_id(f"{cut.id}-again{number}") for number in range(1, passes) for cut in cuts]
    return [*cuts, *copies, *(cut.with_id(f"{cut.id}-again{passes}") for cut in cuts[:rest])]
