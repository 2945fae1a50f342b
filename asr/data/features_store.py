"""Features computed once and kept on disk, without loss."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch
from lhotse import CutSet, Features, NumpyFilesWriter
from lhotse.cut import Cut
from lhotse.utils import fastcopy
from rich.progress import track
from torch import Tensor

from asr.data.loading import load_features
from asr.data.manifests import read_cuts, write_cuts
from asr.errors import ConfigError, DataError
from asr.features import Fbank, FbankConfig

SHARD_SIZE = 200
"""Utterances per unit of work: what an interruption can cost, and what one progress step stands for."""


def feats_path(folder: Path | str, split: str) -> Path:
    """Where the cuts of a split with stored features are."""
    return Path(folder) / f"feats-{split}.jsonl.gz"


def store_features(
    cuts: Iterable[Cut],
    folder: Path | str,
    split: str,
    *,
    fbank: FbankConfig | None = None,
    speeds: Sequence[float] = (1.0,),
    num_workers: int = 2,
) -> Path:
    """Compute the features of every cut at every speed, and the list of cuts that point to them.

    Uncompressed float32, one NumPy file per cut, in `folder/feats-<split>/`; about 1 GB for nine hours. Copies at other
    speeds follow their original and have `_sp0.9` or the like behind their id. Shards that are complete from an earlier
    run on the same cuts and settings are not computed again.

    Returns:
        `folder/feats-<split>.jsonl.gz`, for `read_cuts`.
    Raises:
        AudioError: a recording can no longer be read.
    """
    if not speeds or min(speeds) <= 0:
        raise ConfigError(f"data.speeds={list(speeds)} must hold positive factors; use 0.9, 1.0, 1.1")
    cfg = fbank or FbankConfig()
    store = Path(folder).resolve() / f"feats-{split}"
    jobs = [(shard, store, cfg, tuple(speeds)) for shard in _shards(cuts)]
    with ProcessPoolExecutor(max(1, num_workers), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        done = pool.map(_store_shard, *zip(*jobs, strict=True)) if jobs else iter(())
        lists = list(track(done, total=len(jobs), description=f"features of {split}"))
    path = feats_path(folder, split)
    write_cuts((cut for part in lists for cut in read_cuts(part)), path)
    return path


def _shards(cuts: Iterable[Cut]) -> Iterator[list[Cut]]:
    cuts = iter(cuts)
    while shard := list(islice(cuts, SHARD_SIZE)):
        yield shard


def _store_shard(cuts: list[Cut], store: Path, cfg: FbankConfig, speeds: tuple[float, ...]) -> Path:
    """Store one shard's features; its list of cuts is written last and so marks it as complete."""
    content = json.dumps([[(cut.to_dict(), _stamps(cut)) for cut in cuts], asdict(cfg), speeds], sort_keys=True)
    done = store / f"done-{hashlib.sha1(content.encode()).hexdigest()[:16]}.jsonl.gz"
    if not done.exists():
        store.mkdir(parents=True, exist_ok=True)
        fbank, writer = Fbank(cfg), NumpyFilesWriter(store)
        write_cuts([_store_one(cut, fbank, writer) for cut in _at_speeds(cuts, speeds)], done)
    return done


def _stamps(cut: Cut) -> list[tuple[int, int]]:
    """Size and time of a cut's audio files: audio that was made anew under the same name is other audio."""
    stats = [Path(source.source).stat() for source in cut.recording.sources if Path(source.source).exists()]
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]


def at_speeds(cuts: Iterable[Cut], speeds: Sequence[float]) -> CutSet:
    """Every cut at every speed, copies behind their original; audio is changed only when it is read."""
    return CutSet.from_cuts(_at_speeds(cuts, speeds))


def _at_speeds(cuts: Iterable[Cut], speeds: Sequence[float]) -> Iterator[Cut]:
    for cut in cuts:
        for speed in speeds:
            yield cut if speed == 1.0 else cut.drop_features().perturb_speed(speed)


def _store_one(cut: Cut, fbank: Fbank, writer: NumpyFilesWriter) -> Cut:
    """Write one cut's features under a name that depends on its id alone."""
    features = load_features(cut, fbank).numpy()
    stored = Features(
        type="log-mel",
        num_frames=len(features),
        num_features=fbank.cfg.num_bins,
        frame_shift=fbank.cfg.shift_ms / 1000,
        sampling_rate=fbank.cfg.sample_rate,
        start=cut.start,
        duration=cut.duration,
        storage_type=writer.name,
        storage_path=str(writer.storage_path),
        storage_key=writer.write(hashlib.sha1(cut.id.encode()).hexdigest()[:20], features),
        recording_id=cut.recording.id,
        channels=cut.channel,
    )
    return fastcopy(cut, features=stored)


def feature_stats(
    cuts: Iterable[Cut], *, fbank: FbankConfig | None = None, max_cuts: int = 3000
) -> tuple[Tensor, float]:
    """Mean per mel bin, (F,) float32, and one standard deviation about it: the model's fixed normalisation.

    Args:
        cuts: training cuts, with or without stored features.
        fbank: how to compute features that are not stored.
        max_cuts: how many cuts to look at, evenly spread over the list.
    """
    cuts = list(cuts)
    if not cuts:
        raise DataError("there are no cuts to take feature statistics of; check the list of training cuts")
    extractor = Fbank(fbank)
    step = max(1, len(cuts) // max_cuts)
    total, squares, count = torch.zeros(extractor.cfg.num_bins).double(), 0.0, 0
    for cut in cuts[::step][:max_cuts]:
        features = load_features(cut, extractor).double()
        total += features.sum(0)
        squares += features.square().sum().item()
        count += len(features)
    mean = total / count
    variance = squares / (count * len(mean)) - mean.square().mean().item()
    return mean.float(), max(variance, 1e-8) ** 0.5
