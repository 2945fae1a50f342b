"""What `asr decode` and `asr average` decode: prepared splits, or a list of digit strings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.config.decode_config import TestSetConfig
from asr.data import DataConfig, split_cuts
from asr.errors import ConfigError, DataError

if TYPE_CHECKING:
    from lhotse import CutSet


def test_sets(config: TestSetConfig, origin: dict[str, Any], *, scratch: Path) -> dict[str, CutSet]:
    """The cuts to decode, by name: that of the split or list, of which corpus, what was not done to it, whose voice.

    Args:
        origin: what the checkpoint says of its corpus; fills in what `config` leaves open.
        scratch: where a list's audio is built.
    Raises:
        ConfigError, DataError: nothing to decode is named, or it is not there.
    """
    if (config.list is None) != (config.recordings is None):
        raise ConfigError("data.list and data.recordings go together: a list and the folder of its recordings")
    if config.list is not None and (config.folder is not None or config.splits is not None):
        raise ConfigError("data.list takes the place of data.folder and data.splits; leave out the one or the others")
    if config.list is not None and config.recordings is not None:
        name = Path(config.list).stem + ("" if config.levelled else "-raw")
        found = {name: _from_list(config.list, config.recordings, config.levelled, scratch)}
    else:
        folder = config.folder or origin.get("folder")
        splits = config.splits or origin.get("test")
        if not folder or not splits:
            raise ConfigError("the model does not say what it was tested on; set data.folder and data.splits")
        data = DataConfig(folder=folder)
        # Where a model has a corpus of its own, its table shall not take another one's split for that.
        place = f"-{Path(folder).resolve().name}" if origin.get("folder") and other_folder(config, origin) else ""
        found = {f"{split}{place}": split_cuts(data, split) for split in splits}
    if config.speaker is None:
        return found
    return {f"{name}-{config.speaker}": _of_speaker(name, cuts, config.speaker) for name, cuts in found.items()}


def other_folder(config: TestSetConfig, origin: dict[str, Any]) -> str | None:
    """`data.folder`, where it is another one than the model was trained from."""
    own = origin.get("folder")
    if config.folder is None or (own and Path(own).resolve() == Path(config.folder).resolve()):
        return None
    return config.folder


def _from_list(list_tsv: str, recordings: str, levelled: bool, scratch: Path) -> CutSet:
    from asr.recipes.digits.cuts import cuts_from_list

    given = (str(Path(list_tsv).resolve()), str(Path(recordings).resolve()), str(levelled))
    folder = scratch / hashlib.sha256("\n".join(given).encode()).hexdigest()[:12]
    return cuts_from_list(list_tsv, recordings, folder, levelled)


def _of_speaker(name: str, cuts: CutSet, speaker: str) -> CutSet:
    kept = cuts.filter(lambda cut: cut.supervisions[0].speaker == speaker).to_eager()
    if not len(kept):
        raise DataError(f"no utterance of {name} is by speaker {speaker!r}; check data.speaker")
    return kept
