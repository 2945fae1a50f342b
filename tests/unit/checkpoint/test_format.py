"""One file per checkpoint: complete or not there, damage is seen, nothing is unpickled."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr.checkpoint import format as checkpoint_format
from asr.checkpoint import read_checkpoint, read_metadata, with_prefix, write_checkpoint
from asr.errors import CheckpointError

METADATA = {"kind": "training", "config": {"dims": [1, 2]}, "training": {"step": 200, "lr": 0.1 + 0.2}, "text": "▁höß"}


def _tensors():
    return {
        **with_prefix("model", {"w": torch.randn(3, 4), "n": torch.tensor(7), "h": torch.randn(5).bfloat16()}),
        **with_prefix("average", {"w": torch.randn(3, 4, dtype=torch.float64)}),
        **with_prefix(
            "rng", {"torch": torch.get_rng_state(), "flag": torch.tensor([True, False]), "none": torch.ones(0)}
        ),
        "model/turned": torch.randn(4, 6).t(),
    }


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "run" / "step-000200.safetensors"
    write_checkpoint(path, _tensors(), METADATA)
    return path


def test_round_trip(tmp_path):
    tensors = _tensors()
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, tensors, METADATA)
    found = read_checkpoint(path)
    assert found.metadata == {**METADATA, "format": 1} == read_metadata(path)
    assert found.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value), name
    assert found.part("model").keys() == {"w", "n", "h", "turned"}
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_any_safetensors_reader_can_open_it(saved):
    assert torch.equal(load_file(saved)["average/w"], read_checkpoint(saved).tensors["average/w"])


def test_parts_are_read_alone(saved):
    assert {name.split("/")[0] for name in read_checkpoint(saved, parts=("average", "rng")).tensors} == {
        "average",
        "rng",
    }


def test_every_cut_is_seen(saved):
    content = saved.read_bytes()
    chosen = random.Random(1)
    for size in [0, 1, 7, 8, 9, len(content) - 1, *(chosen.randrange(len(content)) for _ in range(40))]:
        saved.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="cut short|damaged"):
            read_checkpoint(saved)


def test_every_flipped_byte_is_seen(saved):
    content = saved.read_bytes()
    chosen = random.Random(2)
    header = int.from_bytes(content[:8], "little") + 8
    for at in [*range(120), *(chosen.randrange(header) for _ in range(150)), *range(header, len(content), 97)]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << chosen.randrange(8)
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            read_checkpoint(saved)


def test_appended_bytes_are_seen(saved):
    saved.write_bytes(saved.read_bytes() + b"\0" * 8)
    with pytest.raises(CheckpointError, match="checksum"):
        read_checkpoint(saved)


class _Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (self.target,))


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_never_opened(tmp_path, zipped):
    target, path = tmp_path / "attacked", tmp_path / "step-000001.safetensors"
    if zipped:
        torch.save({"model": _Attack(str(target))}, path)
    else:
        path.write_bytes(pickle.dumps(_Attack(str(target))))
    with pytest.raises(CheckpointError, match="pickled"):
        read_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"\xff" * 100,
        b"RIFF" + bytes(100),
        (2).to_bytes(8, "little") + b"[]",
        (4).to_bytes(8, "little") + b"null",
    ],
)
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    for read in (read_checkpoint, read_metadata):
        with pytest.raises(CheckpointError, match="x.safetensors"):
            read(path)


def test_other_safetensors_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="another program"):
        read_checkpoint(path)
    save_file({"w": torch.ones(2)}, path, metadata={"rill": json.dumps({"format": 2}), "sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="format 2"):
        read_checkpoint(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none")
    with pytest.raises(CheckpointError, match="cannot be opened"):
        read_checkpoint(tmp_path)


def _assert_untouched(path, content):
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]
    read_checkpoint(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_leaves_the_previous_file(saved):
    content = saved.read_bytes()
    os.symlink("/dev/full", saved.with_name(f".{saved.name}.{os.getpid()}.tmp"))
    with pytest.raises(CheckpointError, match="no space left"):
        write_checkpoint(saved, _tensors(), METADATA)
    _assert_untouched(saved, content)


def test_full_file_system_leaves_the_previous_file(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        path = tmp_path / "a.safetensors"
        write_checkpoint(path, _tensors(), METADATA)
        content = path.read_bytes()
        with pytest.raises(CheckpointError, match="no space left"):
            write_checkpoint(path, {"model/w": torch.zeros(1 << 16)}, METADATA)
        _assert_untouched(path, content)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "no space left"), (errno.EIO, "Input/output error")])
def test_failing_sync_leaves_the_previous_file(saved, monkeypatch, code, words):
    content = saved.read_bytes()

    def fail(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(checkpoint_format.os, "fsync", fail)
    with pytest.raises(CheckpointError, match=words):
        write_checkpoint(saved, _tensors(), METADATA)
    monkeypatch.undo()
    _assert_untouched(saved, content)


def test_interruption_leaves_the_previous_file(saved, monkeypatch):
    content = saved.read_bytes()

    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_format.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(saved, _tensors(), METADATA)
    monkeypatch.undo()
    _assert_untouched(saved, content)


def test_unwritable_content_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="finite JSON"):
        write_checkpoint(tmp_path / "a", {}, {"loss": float("nan")})
    with pytest.raises(CheckpointError, match="tensor c has type"):
        write_checkpoint(tmp_path / "a", {"c": torch.zeros(2, dtype=torch.complex64)}, {})
    assert not os.listdir(tmp_path)


def test_reading_survives_replacement(saved):
    """Tensors may be backed by the file; they must not change when a newer one takes its place."""
    first = read_checkpoint(saved).tensors["model/w"]
    copy = first.clone()
    write_checkpoint(saved, {"model/w": torch.zeros(3, 4)}, METADATA)
    assert torch.equal(first, copy)
