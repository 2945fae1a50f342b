"""Which utterances form which batch: a pure function of the cuts, the config, the seed and the epoch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from itertools import islice

from lhotse import CutSet
from lhotse.dataset.sampling import DynamicBucketingSampler
from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets

from asr.data.capacity import CapacityConstraint
from asr.data.config import DataConfig
from asr.data.draw import derive_seed
from asr.errors import DataError


@dataclass(frozen=True)
class PlannedBatch:
    """One batch before anything is read."""

    index: int
    """Position in the epoch on this process, from 0."""
    seed: int
    """Of the batch's augmentation; differs between processes."""
    cuts: CutSet
    counts: bool = True
    """False for a batch that another process has, too: it keeps this one in step at the end of an epoch."""


class Sampler:
    """Plans epochs. Resuming is planning the same epoch and passing over what was consumed: no audio is read for it."""

    def __init__(
        self,
        cuts: CutSet,
        cfg: DataConfig,
        *,
        constraint: CapacityConstraint | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """
        Args:
            cuts: in memory or lazy.
            cfg: batch size, buckets, seed.
            constraint: decides the batch size instead.
            rank: which of the processes this is; all plan the same batches, whatever their number, and deal them out.
            world_size: number of processes.
        """
        self._cuts: Iterable = cuts if cuts.is_lazy else list(cuts)
        self._cfg = cfg
        self._constraint = constraint
        self._rank, self._world_size = rank, world_size
        # Boundaries are estimated once, on the first cuts, so that a new epoch starts quickly.
        first = [cut.drop_in_memory_data() for cut in islice(self._cuts, 10_000)]
        if not first:
            raise DataError(
                "there are no training cuts; prepare the corpus, or see quarantine.tsv for why they are unfit"
            )
        self._bins: list[float] = []
        if len(first) >= cfg.num_buckets > 1:
            self._bins = estimate_duration_buckets(first, cfg.num_buckets)

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[PlannedBatch]:
        """Batches of an epoch on this process, from number `skip` on."""
        for index, (cuts, counts) in islice(enumerate(self._share(epoch)), skip, None):
            seed = derive_seed("augment", self._cfg.seed, epoch, index * self._world_size + self._rank)
            yield PlannedBatch(index, seed, cuts, counts)

    def num_batches(self, epoch: int) -> int:
        """How many batches an epoch has on every process; planned to the end, but nothing is read."""
        return sum(1 for _ in self._share(epoch))

    def _share(self, epoch: int) -> Iterator[tuple[CutSet, bool]]:
        """Of every round of one batch per process, this one's; where the last round has none left, its first again."""
        batches = self._order(epoch)
        while dealt := list(islice(batches, self._world_size)):
            counts = self._rank < len(dealt)
            yield dealt[self._rank if counts else 0], counts

    def _order(self, epoch: int) -> Iterator[CutSet]:
        cfg = self._cfg
        with warnings.catch_warnings():
            # Advice about cuts in memory and about small corpora, neither of which is a mistake here.
            warnings.simplefilter("ignore")
            sampler = DynamicBucketingSampler(
                self._cuts,
                max_duration=None if self._constraint else cfg.max_duration_s,
                constraint=copy(self._constraint),
                duration_bins=self._bins,
                shuffle=True,
                drop_last=cfg.drop_last,
                buffer_size=cfg.order_cuts,
                # Not only for several processes: without it lhotse ends an epoch when it happens upon an empty bucket.
                sync_buckets=True,
                seed=derive_seed("order", cfg.seed, epoch),
                rank=0,
                world_size=1,
            )
            batches = iter(sampler)
        while (cuts := next(batches, None)) is not None:
            yield cuts
