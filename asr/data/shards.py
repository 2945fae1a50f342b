"""Training data in tars that are read from front to back: for slow disks, object storage, and very many files.

The format is Lhotse Shar. (lhotse's WebDataset tars hold pickled descriptions, which nothing here ever opens.)
Addresses may be folders, or whatever lhotse opens by its URL scheme, with the extras that it needs for that.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lhotse import CutSet

from asr.errors import ConfigError, DataError


def write_shards(cuts: CutSet, folder: Path, *, shard_size: int) -> int:
    """Write audio (FLAC) and descriptions of all cuts below `folder`, `shard_size` utterances in each tar.

    Returns:
        the number of shards.
    Raises:
        DataError: the folder has something in it.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} is not empty; give a new folder, or remove it")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    cuts.drop_features().to_shar(unfinished, fields={"recording": "flac"}, shard_size=shard_size, verbose=False)
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)
    return len(list(folder.glob("cuts.*.jsonl.gz")))


def read_shards(address: str) -> CutSet:
    """All cuts behind an address, lazily, in an order that is always the same; audio comes along in memory.

    Raises:
        ConfigError: nothing is there.
    """
    if "://" not in address and not list(Path(address).glob("cuts.*.jsonl.gz")):
        raise ConfigError(f"data.shards={address} holds no cuts.*.jsonl.gz; give a folder of `asr data shard`")
    return CutSet.from_shar(in_dir=address, shuffle_shards=False)
