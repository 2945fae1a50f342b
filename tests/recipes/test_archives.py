"""Archives from mirrors that may be down, damaged or malicious."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from asr.errors import DataError
from asr.recipes.archives import Archive, obtain, unpack

DOWN = "http://127.0.0.1:9/resources"  # nobody listens there


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(tmp_path):
    """A folder and the address at which it is served."""
    folder = tmp_path / "served"
    (folder / "12").mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def tar(path: Path, files: dict[str, bytes], *, links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return path


def published(path: Path) -> Archive:
    return Archive(f"12/{path.name}", f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")


def test_the_next_mirror_is_asked(mirror, tmp_path):
    folder, address = mirror
    archive = published(tar(folder / "12" / "dev.tar.gz", {"LibriSpeech/dev/a.txt": b"hello"}))
    obtain(archive, [DOWN, address], tmp_path / "out")
    assert (tmp_path / "out" / "LibriSpeech" / "dev" / "a.txt").read_bytes() == b"hello"
    (tmp_path / "out" / "dev.tar.gz").unlink()
    obtain(archive, [DOWN], tmp_path / "out")  # it is unpacked, which is all that counts


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_progress_is_shown_on_a_terminal_and_nowhere_else(mirror, tmp_path, monkeypatch, capsys, kind):
    folder, address = mirror
    path = folder / "12" / f"dev.{kind}"
    content = bytes(range(256)) * 9000
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.bin", content)
    else:
        tar(path, {"a.bin": content})
    obtain(published(path), [address], tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # how a terminal is told of
    obtain(published(path), [address], tmp_path / "shown")
    shown = capsys.readouterr().err
    download, checking, unpacking = (shown.find(f"{what}dev.{kind}") for what in ("", "checking ", "unpacking "))
    assert 0 <= download < checking < unpacking
    assert (tmp_path / "shown" / "a.bin").read_bytes() == content


def test_another_file_is_not_unpacked(mirror, tmp_path):
    folder, address = mirror
    path = tar(folder / "12" / "dev.tar.gz", {"a.txt": b"hello"})
    with pytest.raises(DataError, match="not what was published"):
        obtain(Archive("12/dev.tar.gz", "md5:" + 32 * "0"), [address], tmp_path / "out")
    assert not (tmp_path / "out" / "a.txt").exists() and not (tmp_path / "out" / path.name).exists()


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"../evil.txt": b"x"}, {}),
        ({"/tmp/evil.txt": b"x"}, {}),
        ({"ok.txt": b"x"}, {"way": "/etc"}),
        ({}, {"a": "../.."}),
    ],
)
def test_what_leads_outside_is_refused(tmp_path, files, links):
    archive = tar(tmp_path / "bad.tar.gz", files, links=links)
    with pytest.raises(DataError, match="not to be trusted"):
        unpack(archive, tmp_path / "deep" / "out")
    assert not (tmp_path / "deep" / "evil.txt").exists()


def test_a_zip_is_unpacked_as_carefully(tmp_path):
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        archive.writestr("RIRS/a.wav", b"sound")
    unpack(tmp_path / "good.zip", tmp_path / "out")
    assert (tmp_path / "out" / "RIRS" / "a.wav").read_bytes() == b"sound"
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../evil.txt", b"x")
    with pytest.raises(DataError, match="not to be trusted"):
        unpack(tmp_path / "bad.zip", tmp_path / "out")


def test_a_damaged_archive_is_named(tmp_path):
    path = tar(tmp_path / "cut.tar.gz", {"a.bin": bytes(range(256)) * 400})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="cut.tar.gz cannot be unpacked"):
        unpack(path, tmp_path / "out")


def test_a_corpus_comes_from_a_mirror(mirror, librispeech, tmp_path, monkeypatch):
    """The whole stage: archives of the small corpus, fetched, checked, unpacked and listed."""
    from asr.cli.main import main
    from asr.data import cuts_path, read_cuts
    from asr.recipes.librispeech import corpus, prepare

    folder, address = mirror
    subsets = sorted({one.split for one in librispeech.told.values()})
    served = {}
    for subset in subsets:
        path = folder / "12" / f"{subset}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(librispeech.root / subset, f"LibriSpeech/{subset}")
        served[subset] = published(path)
    for module in (corpus, prepare):
        monkeypatch.setattr(module, "ARCHIVES", served)
    settings = [f"out={tmp_path / 'out'}", f"mirrors=[{address}]", "train=[train-clean-100]", "vocab_size=60"]
    assert main(["prepare", "recipe=librispeech", *(f"corpus.{item}" for item in settings)]) == 0
    found = {cut.id for subset in subsets for cut in read_cuts(cuts_path(tmp_path / "out", subset))}
    assert found == librispeech.told.keys()
