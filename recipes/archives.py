"""Published archives: fetched from the first mirror that has them whole, checked, and unpacked without trusting them.

Corpora are described by lhotse; archives are not left to its downloaders, which unpack before anything could be
checked, follow links inside an archive, and know one address only.
"""

import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from asr.errors import DataError
from asr.recipes.fetch import fetch
from asr.recipes.progress import reading
from asr.recipes.stages import Stage, fingerprint

PIECE_BYTES = 1 << 20
OPENSLR = (
    "https://www.openslr.org/resources",
    "https://us.openslr.org/resources",
    "https://openslr.elda.org/resources",
)
"""The corpora's home and its mirrors."""


class Archive(NamedTuple):
    """A file below a mirror's address, and what it must be."""

    path: str
    """Such as "12/dev-clean.tar.gz"."""
    checksum: str
    """`md5:` or `sha256:` and the digest."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Member(NamedTuple):
    """A plain file in an archive; `open` may be used before the next member is asked for."""

    name: str
    content: IO[bytes]


def obtain(archive: Archive, mirrors: Sequence[str], folder: Path) -> None:
    """Have `archive` unpacked in `folder`; does nothing if that was done before, also where the archive is gone.

    Raises:
        DataError: no mirror gave the right file, or it is not safe to unpack.
    """
    stage = Stage(folder / f".{archive.name}.stage", fingerprint(*archive))
    if stage.finished():
        return
    stage.begin()
    unpack(_from_mirrors(archive, mirrors, folder), folder, shown=True)
    stage.finish()


def _from_mirrors(archive: Archive, mirrors: Sequence[str], folder: Path) -> Path:
    target = folder / archive.name
    problems = []
    for mirror in mirrors:
        try:
            fetch(f"{mirror.rstrip('/')}/{archive.path}", target)
            check(target, archive.checksum)
            return target
        except DataError as error:
            problems.append(str(error))
    raise DataError(problems[-1] if problems else f"there is no mirror to get {archive.name} from; set corpus.mirrors")


def check(path: Path, checksum: str) -> None:
    """Raise DataError, and delete the file, unless it has the checksum."""
    kind, _, wanted = checksum.partition(":")
    digest = hashlib.new(kind)
    with reading(path, f"checking {path.name}") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    if digest.hexdigest() != wanted:
        path.unlink()
        raise DataError(f"{path} is not what was published ({kind} {digest.hexdigest()}) and was deleted; run again")


def unpack(archive: Path, folder: Path, *, shown: bool = False) -> None:
    """Write the plain files of a tar or zip archive below `folder`.

    Args:
        shown: with a progress bar; there can be one at a time.
    Raises:
        DataError: the archive is damaged; or it holds a link, a device, or a name that leads outside.
    """
    root = folder.resolve()
    try:
        with reading(archive, f"unpacking {archive.name}") if shown else archive.open("rb") as packed:
            for name, content in _members(archive, packed):
                target = (root / name).resolve()
                if not target.is_relative_to(root):
                    raise DataError(
                        f"{archive}: the member {name!r} leads outside the archive; it is not to be trusted"
                    )
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file, PIECE_BYTES)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); delete it and run again") from error


def _members(archive: Path, packed: BinaryIO) -> Iterator[Member]:
    """The plain files of an archive, which is open as `packed`."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(packed) as files:
            for info in files.infolist():
                if not info.is_dir():
                    with files.open(info) as content:  # a link's target is written as the text of a plain file
                        yield Member(info.filename, content)
        return
    with tarfile.open(fileobj=packed, mode="r|*") as stream:
        for member in stream:
            if member.isdir():
                continue
            content = stream.extractfile(member) if member.isreg() else None
            if content is None:
                raise DataError(f"{archive}: the member {member.name!r} is no plain file; it is not to be trusted")
            yield Member(member.name, content)
