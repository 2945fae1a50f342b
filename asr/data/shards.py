"""Training data in tars that are read from front to back: for slow disks, object storage, and very many files.

The format is Lhotse Shar. (lhotse's WebDataset tars hold pickled descriptions, which nothing here ever opens.)
An index beside the shards names them, because what lies behind a URL cannot be listed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.serialization import open_best

from asr.errors import ConfigError, DataError, RillError

INDEX = "cuts.index.json"
"""So named that lhotse, which takes the first part of every name for a kind of data, can still read the folder."""
PIPE = "pipe:"


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
    _write_index(unfinished, sum(1 for _ in cuts))
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)
    return len(list(folder.glob("cuts.*.jsonl.gz")))


def read_shards(address: str) -> CutSet:
    """All cuts behind an address, lazily, in an order that is always the same; audio comes along in memory.

    Args:
        address: a folder; a URL (https://, s3://, ...), which lhotse opens by means of the package smart_open; or
            `pipe:COMMAND`, which is run with `/NAME` behind it for each file: "pipe:curl -sfL https://host/train".
    Raises:
        ConfigError: nothing is there.
        DataError: the address cannot be read; while iterating, also that less came than the index promised.
    """
    index = _read_index(address)
    fields = {field: [_place(address, name) for name in index[field]] for field in ("cuts", "recording")}
    return CutSet(_Shards(address, fields, index.get("utterances")))


class _Shards:
    """The cuts of all shards; what fails on the way is told in one sentence. A class because lazy sets are pickled."""

    def __init__(self, address: str, fields: dict[str, list[str]], utterances: int | None) -> None:
        self._address, self._fields, self._utterances = address, fields, utterances

    def __iter__(self) -> Iterator[Cut]:
        count = 0
        with _told(self._address):
            for cut in CutSet.from_shar(fields=self._fields, shuffle_shards=False):
                count += 1
                yield cut
        if self._utterances not in (None, count):
            raise DataError(
                f"data.shards={self._address} gave {count} of {self._utterances} utterances; pack them again"
            )


def _write_index(folder: Path, utterances: int) -> None:
    """Name the files, for where they cannot be listed."""
    index = _list(folder) | {"utterances": utterances}
    (folder / INDEX).write_text(json.dumps(index, indent=0), encoding="utf-8")


def _read_index(address: str) -> dict[str, Any]:
    """Names of the files under "cuts" and "recording"; under "utterances" how many there are, if that is known."""
    if "://" not in address and not address.startswith(PIPE):
        folder = Path(address)
        if not list(folder.glob("cuts.*.jsonl.gz")):
            raise ConfigError(f"data.shards={address} holds no cuts.*.jsonl.gz; give a folder of `asr data shard`")
        if not (folder / INDEX).exists():  # packed by lhotse itself
            return _list(folder)
    with _told(address), open_best(_place(address, INDEX), "r") as file:
        index = json.loads("".join(file))
        return {field: index[field] for field in ("cuts", "recording", "utterances")}


def _list(folder: Path) -> dict[str, Any]:
    patterns = {"cuts": "cuts.*.jsonl.gz", "recording": "recording.*.tar"}
    return {field: sorted(path.name for path in folder.glob(pattern)) for field, pattern in patterns.items()}


def _place(address: str, name: str) -> str:
    """What lhotse opens to read a file."""
    unpacked = " | gunzip -c" if address.startswith(PIPE) and name.endswith(".gz") else ""
    return f"{address.rstrip('/')}/{name}{unpacked}"


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Say in one sentence what lhotse and what it opens addresses with raise: any kind of exception."""
    try:
        yield
    except RillError:
        raise
    except Exception as error:
        cause = _first_cause(error)
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise DataError(f"data.shards={address} cannot be read ({reason}); {_wish(address, cause)}") from error


def _wish(address: str, cause: BaseException) -> str:
    """What to do: nearly always the address is wrong, or what opens such addresses is not installed."""
    scheme, _, behind = address.partition("://")
    if behind and PIPE not in scheme and (isinstance(cause, ImportError) or find_spec("smart_open") is None):
        return (
            f"`pip install 'smart_open[{scheme.replace('https', 'http')}]'`, or set data.shards to "
            f"'{PIPE}COMMAND', such as '{PIPE}curl -sfL https://host/train'"
        )
    return f"it must lead to what `asr data shard` wrote, {INDEX} included"


def _first_cause(error: BaseException) -> BaseException:
    while earlier := error.__cause__ or error.__context__:
        error = earlier
    return error
