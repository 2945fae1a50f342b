"""The recordings' public home: picking the five speakers out of its archive, and checking every sample."""

import csv
import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from asr.errors import DataError
from asr.recipes.digits.recordings import SOURCE_RATE, decode, read_members
from asr.recipes.stages import replacing

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CHECKSUMS = Path(__file__).with_name("fsdd-checksums.tsv")
_MEMBER = re.compile(r"(?:[^/]+/)?recordings/(\d_[a-z]+_\d+)\.wav")


class Checksum(NamedTuple):
    """What one recording must be."""

    num_samples: int
    sha256: str
    """Of the samples as little-endian 16-bit integers."""


def read_checksums(path: Path = CHECKSUMS) -> dict[str, Checksum]:
    """Checksums by recording id, for exactly the recordings that the lists may use."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["id"]: Checksum(int(row["num_samples_8k"]), row["sha256"])
            for row in csv.DictReader(file, delimiter="\t")
        }


def sample_digest(samples: np.ndarray) -> str:
    """SHA-256 of samples in [-1, 1] as the 16-bit integers they were made from."""
    return hashlib.sha256(np.round(samples * 32768.0).astype("<i2").tobytes()).hexdigest()


def pack_recordings(archive: Path, folder: Path, checksums: dict[str, Checksum] | None = None) -> None:
    """Put the recordings that `checksums` names into `folder`: one tar of FLACs per speaker, then `manifest.tsv`.

    The archive is read as a stream; nothing in it decides where a file goes.

    Raises:
        DataError: the archive is damaged, lacks a recording, or holds another one under its name.
    """
    checksums = read_checksums() if checksums is None else checksums
    found = dict(_checked(archive, checksums))
    missing = sorted(checksums.keys() - found.keys())
    if missing:
        raise DataError(
            f"{archive} lacks {len(missing)} recordings, the first being {missing[0]}; get the archive anew."
        )
    for speaker in sorted({_fields(recording).speaker for recording in found}):
        own = sorted(recording for recording in found if _fields(recording).speaker == speaker)
        with replacing(folder / f"fsdd-{speaker}.tar") as part:
            _write_tar(part, ((recording, found[recording]) for recording in own))
    with replacing(folder / "manifest.tsv") as part:  # last: it says that all tars are there
        part.write_text(_manifest(checksums), encoding="utf-8")


def _checked(archive: Path, checksums: dict[str, Checksum]) -> Iterator[tuple[str, np.ndarray]]:
    def wanted(member: str) -> str | None:
        match = _MEMBER.fullmatch(member)
        return match[1] if match and match[1] in checksums else None

    try:
        with tarfile.open(archive, "r|gz") as stream:
            for recording, content in read_members(stream, str(archive), wanted):
                samples = decode(content, f"{recording}.wav in {archive}")
                if sample_digest(samples) != checksums[recording].sha256:
                    raise DataError(f"{recording}.wav in {archive} is not the recording of the lists; get it anew.")
                yield recording, samples
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive} is no readable tar archive ({error}); get it anew.") from error


def _write_tar(path: Path, recordings: Iterable[tuple[str, np.ndarray]]) -> None:
    with tarfile.open(path, "w") as tar:
        for recording, samples in recordings:
            flac = io.BytesIO()
            soundfile.write(flac, np.round(samples * 32768.0).astype(np.int16), SOURCE_RATE, format="FLAC")
            member = tarfile.TarInfo(f"{recording}.flac")
            member.size = flac.seek(0, io.SEEK_END)  # the encoder leaves the position elsewhere
            flac.seek(0)
            tar.addfile(member, flac)


class _Fields(NamedTuple):
    digit: int
    speaker: str
    take: int


def _fields(recording: str) -> _Fields:
    digit, speaker, take = recording.split("_")
    return _Fields(int(digit), speaker, int(take))


def _manifest(checksums: dict[str, Checksum]) -> str:
    lines = ["id\tspeaker\tdigit\tword\tindex\tsplit\tnum_samples_8k\tduration_s"]
    for recording in sorted(checksums, key=lambda recording: (_fields(recording).speaker, *_fields(recording))):
        digit, speaker, take = _fields(recording)
        num_samples = checksums[recording].num_samples
        split = "test" if take < 5 else "train"  # the dataset's official rule
        row = [recording, speaker, digit, WORDS[digit], take, split, num_samples, f"{num_samples / SOURCE_RATE:.6f}"]
        lines.append("\t".join(map(str, row)))
    return "\n".join(lines) + "\n"
