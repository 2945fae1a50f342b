"""Batches for training and evaluation, prepared by any number of processes and always the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from lhotse import CutSet
from lhotse.cut import Cut
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.data.augment import Augmenter
from asr.data.capacity import Capacity, CapacityConstraint
from asr.data.collate import Batch, collate
from asr.data.config import AugmentConfig, DataConfig, FeatureSource
from asr.data.draw import Draw
from asr.data.features_store import at_speeds, feats_path
from asr.data.loading import compute_features, load_features, load_samples
from asr.data.manifests import cuts_path, frames_needed, min_frames, read_cuts, transcript
from asr.data.noise import NoisePool
from asr.data.replay import ReplayConfig, mixed
from asr.data.reverb import ReverbPool
from asr.data.sampling import PlannedBatch, Sampler
from asr.data.shards import read_shards
from asr.data.usable import usable
from asr.errors import ConfigError, DataError, RillError
from asr.features import LOG_FLOOR, Fbank, FbankConfig
from asr.text import Tokenizer

T = TypeVar("T")


class TrainLoader:
    """Epochs of augmented batches. A batch's content follows from seed, epoch and position, whoever prepares it."""

    def __init__(
        self,
        cuts: CutSet,
        tokenizer: Tokenizer,
        data: DataConfig,
        augment: AugmentConfig | None,
        *,
        fbank: FbankConfig | None = None,
        capacity: Capacity | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """
        Args:
            cuts: training cuts, all speeds included; unfit ones are passed over, see `usable`.
            tokenizer: for the transcripts.
            data: batching and workers.
            augment: random variations; None for none.
            fbank: for cuts without stored features.
            capacity: how many utterances fit into a batch; None: as many as have `data.max_duration_s` together.
            rank: which of the processes this is, from 0.
            world_size: number of processes; each gets its own batches, all equally many (see `Batch.counts`).
        """
        extractor = Fbank(fbank)
        self._data, self.capacity = data, capacity
        constraint = CapacityConstraint(capacity, tokenizer) if capacity else None
        fit = usable(cuts, tokenizer, data)
        self.sampler = Sampler(fit, data, constraint=constraint, rank=rank, world_size=world_size)
        augmenter = _augmenter(augment, extractor, data.folder)
        self._maker = _BatchMaker(tokenizer, extractor, augmenter, multiple=data.frames_multiple)

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from number `skip` on; the first `skip` are passed over without reading anything."""
        return _prepare(self.sampler.epoch(epoch, skip=skip), self._maker, self._data)

    def num_batches(self, epoch: int) -> int:
        """Batches of an epoch on every process."""
        return self.sampler.num_batches(epoch)


def train_loader(
    data: DataConfig,
    tokenizer: Tokenizer,
    augment: AugmentConfig | None,
    *,
    fbank: FbankConfig | None = None,
    capacity: Capacity | None = None,
    replay: ReplayConfig | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> TrainLoader:
    """The loader of a prepared corpus, with another one's data among its own where there is a `replay`.

    Raises DataError where the preparation is missing.
    """
    cuts = all_cuts(data)
    if replay is not None:
        old = replay.like(data)
        fit = usable(cuts, tokenizer, data), usable(all_cuts(old), tokenizer, old)
        cuts = mixed(*fit, replay.share, seed=data.seed)
        data = replace(data, exclude_speakers=[])  # each has left out its own
    stored = data.features is FeatureSource.STORED and data.shards is None
    if stored and augment is not None and augment.reverb is not None:
        raise ConfigError("augment.reverb acts on waveforms; set data.features=ON_THE_FLY, or augment.reverb=null")
    return TrainLoader(cuts, tokenizer, data, augment, fbank=fbank, capacity=capacity, rank=rank, world_size=world_size)


def all_cuts(data: DataConfig) -> CutSet:
    """The cuts that are trained on, at all their speeds, fit or unfit."""
    if data.shards is not None:
        return _at_all_speeds(read_shards(data.shards), replace(data, lazy=True))
    if data.features is FeatureSource.STORED:
        return read_cuts(feats_path(data.folder, data.train), lazy=data.lazy)
    return _at_all_speeds(read_cuts(cuts_path(data.folder, data.train), lazy=data.lazy), data)


def eval_loader(
    cuts: CutSet,
    tokenizer: Tokenizer,
    data: DataConfig,
    *,
    fbank: FbankConfig | None = None,
    tail_frames: int = 0,
) -> Iterator[Batch]:
    """Every cut once, longest first, nothing varied and nothing left out, with or without transcript.

    Args:
        cuts: what to recognise.
        tokenizer: for the transcripts, where there are some.
        data: batch size and workers.
        fbank: for cuts without stored features.
        tail_frames: frames of digital silence behind each utterance, 100 Hz, counted in its length.
    """
    longest_first = sorted(cuts, key=lambda cut: (-cut.duration, cut.id))
    batches = _side_by_side(longest_first, data.max_duration_s)
    plan = (PlannedBatch(index, 0, CutSet.from_cuts(batch)) for index, batch in enumerate(batches))
    return _prepare(plan, _BatchMaker(tokenizer, Fbank(fbank), tail_frames=tail_frames), data)


def _side_by_side(longest_first: list[Cut], max_duration_s: float) -> Iterator[list[Cut]]:
    """Neighbours whose durations, padding included, add up to no more; one that is longer goes alone."""
    while longest_first:
        count = max(int(max_duration_s / max(longest_first[0].duration, 1e-9)), 1)
        batch, longest_first = longest_first[:count], longest_first[count:]
        yield batch


def split_cuts(data: DataConfig, split: str) -> CutSet:
    """The cuts of a split, with stored features where they were stored and are wanted."""
    stored = feats_path(data.folder, split)
    if data.features is FeatureSource.STORED and stored.exists():
        return read_cuts(stored)
    return read_cuts(cuts_path(data.folder, split))


def heard_cuts(data: DataConfig, split: str) -> CutSet:
    """A split without excluded speakers, at its own speed: what statistics are taken and choices are made of."""
    excluded = set(data.exclude_speakers)
    cuts = split_cuts(data, split)
    return cuts.filter(lambda cut: cut.supervisions[0].speaker not in excluded) if excluded else cuts


class _BatchMaker(Dataset):
    """Reads, varies and collates one planned batch. Has no state, so that it does not matter which worker does it."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        fbank: Fbank,
        augmenter: Augmenter | None = None,
        *,
        tail_frames: int = 0,
        multiple: int = 1,
    ) -> None:
        self._tokenizer = tokenizer
        self._fbank = fbank
        self._augmenter = augmenter
        self._tail_frames = tail_frames
        self._multiple = multiple

    def __getitem__(self, plan: PlannedBatch) -> Batch | RillError:
        """The batch, or what went wrong: raised in a worker, it would arrive wrapped in a page of traceback."""
        try:
            return self._make(plan)
        except RillError as error:
            return error

    def _make(self, plan: PlannedBatch) -> Batch:
        draw = Draw(plan.seed)
        texts = [transcript(cut) for cut in plan.cuts]
        tokens = [self._tokenizer.encode(text) for text in texts]
        features = [self._features(cut, draw, frames_needed(row)) for cut, row in zip(plan.cuts, tokens)]
        ids = [cut.id for cut in plan.cuts]
        told: dict[str, Any] = {"texts": texts, "ids": ids, "index": plan.index, "counts": plan.counts}
        return collate(features, tokens, **told, multiple=self._multiple)

    def _features(self, cut: Cut, draw: Draw, needed: int) -> Tensor:
        if self._augmenter is None:
            features = load_features(cut, self._fbank)
            return torch.cat([features, features.new_full((self._tail_frames, features.shape[1]), LOG_FLOOR)])
        if cut.has_features:
            features = load_features(cut, self._fbank)
        else:
            features = compute_features(self._augmenter.samples(load_samples(cut), draw), self._fbank)
        return self._augmenter.features(features, draw, min_frames=min_frames(needed), noisy=not cut.has_features)


def _augmenter(augment: AugmentConfig | None, fbank: Fbank, folder: str) -> Augmenter | None:
    if augment is None:
        return None
    pool = NoisePool(_pool_cuts(augment.noise.cuts, folder, "noise"), augment.noise, fbank) if augment.noise else None
    rooms = ReverbPool(_pool_cuts(augment.reverb.cuts, folder, "reverb"), augment.reverb) if augment.reverb else None
    return Augmenter(augment, pool, rooms)


def _pool_cuts(given: str | None, folder: str, name: str) -> CutSet:
    """The recordings of `augment.<name>`: a given list, or the one that recipes put into the corpus' folder."""
    corpus = {"noise": "musan", "reverb": "rirs"}[name]
    path = Path(given) if given is not None else cuts_path(Path(folder) / "noise", corpus)
    if not path.exists():
        raise DataError(
            f"there is no list of cuts {path} for augment.{name}; prepare again with corpus.{corpus}=download (or its "
            f"folder) where the recipe has that, name a list as augment.{name}.cuts, or train with augment.{name}=null"
        )
    return read_cuts(path)


def _at_all_speeds(cuts: CutSet, data: DataConfig) -> CutSet:
    if not data.lazy:
        return at_speeds(cuts, data.speeds)
    copies = [cuts if speed == 1.0 else cuts.perturb_speed(speed) for speed in data.speeds]
    return CutSet.mux(*copies, seed=data.seed) if len(copies) > 1 else copies[0]


def _prepare(plans: Iterable[PlannedBatch], maker: _BatchMaker, data: DataConfig) -> Iterator[Batch]:
    """Have the planned batches made, in order."""
    options: dict[str, Any] = {"prefetch_factor": data.prefetch} if data.num_workers else {}
    loader = DataLoader(
        maker,
        batch_size=None,
        sampler=plans,
        num_workers=data.num_workers,
        **options,
        collate_fn=_unchanged,
        pin_memory=torch.cuda.is_available(),
        # Its own, or opening a loader would draw from the generator that training draws from.
        generator=torch.Generator(),
    )
    for batch in one_ahead(loader) if data.num_workers else loader:
        if isinstance(batch, RillError):
            raise batch
        yield batch


def one_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, each fetched while the one before is worked on: planning and unpacking cost some milliseconds."""
    source = iter(items)
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, source, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, source, None)
            yield item


def _unchanged(batch: Any) -> Any:
    return batch
