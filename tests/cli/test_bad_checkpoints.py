"""Whatever is handed over as a checkpoint, the answer is a model or one sentence, and nothing in it runs."""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from asr.checkpoint.folder import list_checkpoints
from asr.checkpoint.format import read_checkpoint, write_checkpoint

COMMANDS = {
    "decode": ["decode", "{}"],
    "info": ["info", "{}"],
    "stream": ["stream", "{}", "--sample"],
    "transcribe": ["transcribe", "{}", "x.wav"],
    "export": ["export", "{}"],
}


class Malice:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def _pickled(path: Path, good: Path) -> None:
    path.write_bytes(pickle.dumps({"model": Malice(path.with_name("ran"))}))


def _torch_saved(path: Path, good: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(2)}, "rest": Malice(path.with_name("ran"))}, path)


def _changed(change: Callable[[dict, dict], None]) -> Callable[[Path, Path], None]:
    """A well-formed file whose tensors and metadata were changed."""

    def write(path: Path, good: Path) -> None:
        checkpoint = read_checkpoint(good)
        tensors, metadata = dict(checkpoint.tensors), dict(checkpoint.metadata)
        change(tensors, metadata)
        write_checkpoint(path, tensors, metadata)

    return write


def _garbage(path: Path, good: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(5000))


def _one_bit(path: Path, good: Path) -> None:
    content = bytearray(good.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def _other_safetensors(path: Path, good: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(3)}, path)


BAD: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "missing": (lambda path, good: None, "there is no checkpoint at"),
    "empty": (lambda path, good: path.write_bytes(b""), "is empty or cut short"),
    "truncated": (lambda path, good: path.write_bytes(good.read_bytes()[:100_000]), "use an earlier one"),
    "cut_in_its_header": (lambda path, good: path.write_bytes(good.read_bytes()[:50]), "use an earlier one"),
    "one_bit": (_one_bit, "its checksum does not match"),
    "garbage": (_garbage, "cut short, damaged, or no checkpoint"),
    "text": (lambda path, good: path.write_text("hello\n" * 100), "cut short, damaged, or no checkpoint"),
    "pickle": (_pickled, "which could run code and is never opened"),
    "torch_save": (_torch_saved, "which could run code and is never opened"),
    "safetensors_of_others": (_other_safetensors, "of another program"),
    "folder": (lambda path, good: path.mkdir(), "there is no checkpoint in"),
    "newer_setting": (_changed(lambda tensors, meta: meta["config"].update(new_setting=1)), "new_setting"),
    "other_shape": (
        _changed(lambda tensors, meta: meta["config"].update(joiner_dim=20)),
        "made with another config?",
    ),
    "meaningless_shape": (_changed(lambda tensors, meta: meta["config"]["encoder"].update(num_layers=[])), "entries"),
    "wrong_type": (
        _changed(lambda tensors, meta: meta["config"].update(joiner_dim="wide")),
        "does not fit this version",
    ),
    "no_encoder": (_changed(lambda tensors, meta: meta["config"].update(encoder=3)), "does not fit"),
    "lacks_a_tensor": (_changed(lambda tensors, meta: tensors.pop("model/joiner.output_linear.bias")), "has no joiner"),
    "no_tokenizer": (_changed(lambda tensors, meta: meta.pop("tokenizer")), "holds no speech recognition model"),
    "odd_tokenizer": (_changed(lambda tensors, meta: meta.update(tokenizer={"kind": "char"})), "tokenizer"),
    "unknown_tokenizer": (_changed(lambda tensors, meta: meta.update(tokenizer={"kind": "runes"})), "runes"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_checkpoint(kind, run_dir, refused, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    write, complaint = BAD[kind]
    write(path, list_checkpoints(run_dir / "checkpoints")[-1])
    for name, arguments in COMMANDS.items():
        line = refused(*(argument.format(path) for argument in arguments))
        assert complaint in line and line.startswith(f"asr {name}: "), line
    assert not (tmp_path / "ran").exists()


def test_malice_would_work(tmp_path):
    """Or the tests above could not fail."""
    _pickled(tmp_path / "file", tmp_path)
    pickle.loads((tmp_path / "file").read_bytes())
    assert (tmp_path / "ran").exists()


def test_average_of_bad_folders(run_dir, refused, tmp_path):
    assert "there are no checkpoints in" in refused("average", tmp_path)
    shutil.copytree(run_dir / "checkpoints", tmp_path / "checkpoints")
    for path in list_checkpoints(tmp_path / "checkpoints"):
        path.write_bytes(path.read_bytes()[:5000])
    assert "use an earlier one" in refused("average", tmp_path)


def test_import_opens_no_pickle_either(refused, tmp_path):
    _torch_saved(tmp_path / "published.pt", tmp_path)
    (tmp_path / "tokens.txt").write_text("<blk> 0\n<sos/eos> 1\n<unk> 2\na 3\n")
    refused("import-icefall", tmp_path / "published.pt", tmp_path / "out", f"tokens={tmp_path / 'tokens.txt'}")
    assert not (tmp_path / "ran").exists()
