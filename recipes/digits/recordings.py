"""Isolated digits, read straight out of their tar files into memory; nothing is ever unpacked to disk."""

import csv
import io
import re
import tarfile
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from asr.data.manifests import Rejected
from asr.errors import DataError

SOURCE_RATE = 8000
MAX_RECORDING_BYTES = 4_000_000  # a spoken digit has some 10 kB; a larger member is something else
_OUTSIDE = re.compile(r"^([/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)")


def read_members(
    archive: tarfile.TarFile, name: str, wanted: Callable[[str], str | None]
) -> Iterator[tuple[str, bytes]]:
    """(key, content) of the plain files in an archive for which `wanted(member name)` gives a key.

    Of a file that is too large for a spoken digit only the beginning is read: `decode` refuses it by its length, and it
    harms nobody who does not need it.

    Args:
        archive: an open tar; it may be a stream.
        name: of the archive, for messages.
    Raises:
        DataError: the archive is damaged, or a member's name leads outside it (such an archive is not to be trusted).
    """
    try:
        for member in archive:
            if _OUTSIDE.search(member.name):
                raise DataError(f"{name}: the member {member.name!r} leads outside the archive; get the archive anew.")
            key = wanted(member.name) if member.isreg() else None
            if key is None:
                continue
            stream = archive.extractfile(member)
            assert stream is not None  # it is a regular file
            yield key, stream.read(MAX_RECORDING_BYTES + 1)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{name} is no readable tar archive ({error}); get it anew.") from error


def decode(content: bytes, name: str) -> np.ndarray:
    """Samples of an encoded mono 8 kHz recording, float32 in [-1, 1], (N,).

    Raises:
        DataError: it cannot be decoded, is cut off, is of another rate or channel count, too large, or holds samples
            that are no numbers.
    """
    if len(content) > MAX_RECORDING_BYTES:
        raise DataError(f"{name} has over {MAX_RECORDING_BYTES} bytes, too many for one spoken digit.")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        # libsndfile's own words; soundfile puts the address of a Python object in front of them.
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".").removeprefix("Error : ")
        raise DataError(f"{name} cannot be decoded ({reason}); get the recordings anew.") from error
    if rate != SOURCE_RATE or channels != 1:
        raise DataError(f"{name} has {channels} channel(s) at {rate} Hz; recordings must be mono at {SOURCE_RATE} Hz.")
    if len(samples) == 0 or len(samples) != frames:
        raise DataError(f"{name} is cut off: {len(samples)} of {frames} samples; get the recordings anew.")
    if not np.isfinite(samples).all():
        raise DataError(f"{name} holds samples that are no numbers (NaN or infinite); get the recordings anew.")
    return samples[:, 0]


@dataclass(frozen=True)
class ManifestEntry:
    """What a recordings manifest promises about one recording."""

    num_samples: int
    word: str


class RecordingFolder:
    """A folder of `fsdd-<speaker>.tar` files (FLAC) with a `manifest.tsv` beside them.

    Safe to share among threads. Every recording is decoded and resampled once and then remembered (about 30 kB each).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(
                f"The folder of recordings {self.folder} does not exist; give the folder of fsdd-*.tar files."
            )
        self.manifest = read_manifest(self.folder / "manifest.tsv")
        self._encoded: dict[str, dict[str, bytes]] = {}
        self._resampled: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def tar_path(self, speaker: str) -> Path:
        return self.folder / f"fsdd-{speaker}.tar"

    def samples_16k(self, speaker: str, recording: str) -> np.ndarray:
        """One recording at 16 kHz, float32, exactly twice its samples at 8 kHz; do not write into it.

        Raises:
            DataError: no such recording, or not one that can be used.
        """
        if recording not in self._resampled:
            self._resampled[recording] = _double_rate(self._samples_8k(speaker, recording))
        return self._resampled[recording]

    def unfit(self, speaker: str, besides: Collection[str] = ()) -> Iterator[Rejected]:
        """A speaker's recordings that cannot be used, and why; those named in `besides` are not looked at."""
        for recording in sorted(self._speaker(speaker).keys() - set(besides)):
            try:
                self._samples_8k(speaker, recording)
            except DataError as error:
                yield Rejected(recording, str(error))

    def _samples_8k(self, speaker: str, recording: str) -> np.ndarray:
        content = self._speaker(speaker).get(recording)
        name = f"{recording}.flac in {self.tar_path(speaker)}"
        if content is None:
            raise DataError(f"there is no plain file {name}; give the folder that holds it.")
        samples = decode(content, name)
        expected = self.manifest.get(recording)
        if expected is not None and expected.num_samples != len(samples):
            raise DataError(f"{name} has {len(samples)} samples where manifest.tsv says {expected.num_samples}.")
        return samples

    def _speaker(self, speaker: str) -> dict[str, bytes]:
        with self._lock:
            if speaker not in self._encoded:
                path = self.tar_path(speaker)
                try:
                    with tarfile.open(path) as archive:
                        self._encoded[speaker] = dict(read_members(archive, str(path), _recording_id))
                except (OSError, tarfile.TarError) as error:
                    raise DataError(
                        f"The recordings {path} cannot be opened ({error}); give the folder that holds them."
                    ) from error
            return self._encoded[speaker]


def read_manifest(path: Path) -> dict[str, ManifestEntry]:
    """Entries of a recordings manifest by recording id; columns `id`, `num_samples_8k` and `word` are used."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The manifest {path} cannot be read ({error}); it belongs beside the fsdd-*.tar files."
        ) from error
    entries = {}
    for row, cells in enumerate(rows, start=2):
        try:
            entries[cells["id"]] = ManifestEntry(int(cells["num_samples_8k"]), cells["word"])
        except (KeyError, TypeError, ValueError):
            raise DataError(
                f"{path}, row {row}: the columns 'id', 'num_samples_8k' (a whole number) and 'word' are needed."
            ) from None
    return entries


def _recording_id(member: str) -> str | None:
    path = PurePosixPath(member)
    return path.stem if len(path.parts) == 1 and path.suffix == ".flac" else None


def _double_rate(samples: np.ndarray) -> np.ndarray:
    import torch
    from torchaudio.functional import resample

    # The default filter on purpose: the check values of the task's definition were made with it, to the last digit.
    doubled = resample(torch.from_numpy(samples), SOURCE_RATE, 2 * SOURCE_RATE).numpy()
    missing = max(0, 2 * len(samples) - len(doubled))
    return np.pad(doubled, (0, missing))[: 2 * len(samples)]
