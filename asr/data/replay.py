"""Old training data among the new, so that fine-tuning forgets less."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice, repeat
from typing import NamedTuple

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
        if data.shards is not None:  # counting them would be reading all their audio
            raise ConfigError(
                "finetune.replay counts audio beforehand, for which shards are slow; set data.shards=null"
            )
        return replace(data, folder=self.folder, train=self.train, exclude_speakers=self.exclude_speakers)


def mixed(new: CutSet, old: CutSet, old_share: float, *, seed: int = 0) -> CutSet:
    """Both in one epoch; whichever has too little audio for its share is heard several times.

    Lists in memory follow one another. Lazy ones stay lazy: they are read once here, to be counted, and then drawn from
    in turns that follow from the seed, for a sampler's buffer holds only a part of such an epoch.
    """
    fresh, again = _amount(new), _amount(old)
    if not fresh.num_cuts or not again.num_cuts:
        raise DataError(
            f"there are no {'old' if fresh.num_cuts else 'new'} training cuts to mix; look at finetune.replay and data"
        )
    ratio = old_share / (1 - old_share) * fresh.duration_s / again.duration_s
    parts = _Repeated(new, fresh.num_cuts, max(1, 1 / ratio)), _Repeated(old, again.num_cuts, max(1, ratio))
    if not new.is_lazy:
        return CutSet.from_cuts(chain(*parts))
    return CutSet.mux(*map(CutSet, parts), weights=[part.total for part in parts], seed=seed)


class _Amount(NamedTuple):
    num_cuts: int
    duration_s: float


def _amount(cuts: Iterable[Cut]) -> _Amount:
    num_cuts, duration_s = 0, 0.0
    for cut in cuts:
        num_cuts, duration_s = num_cuts + 1, duration_s + cut.duration
    return _Amount(num_cuts, duration_s)


class _Repeated:
    """Every cut `times` times, the first ones once more where it is no whole number; ids tell copies apart.

    A class and no generator, because every epoch reads it anew.
    """

    def __init__(self, cuts: Iterable[Cut], count: int, times: float) -> None:
        self._cuts, self._count, self.total = cuts, count, math.floor(times * count + 1e-9)

    def __iter__(self) -> Iterator[Cut]:
        for number, cut in enumerate(islice(chain.from_iterable(repeat(self._cuts)), self.total)):
            turn = number // self._count
            yield cut.with_id(f"{cut.id}-again{turn}") if turn else cut
