"""One checkpoint, one safetensors file: tensors by prefix, everything else as JSON, nothing pickled."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from asr.errors import CheckpointError

FORMAT = 1
KEY = "rill"
CHECKSUM = "sha256"  # over the whole file, itself read as zeros
BLANK = "0" * 64
MAX_HEADER_BYTES = 100_000_000
PIECE_BYTES = 1 << 22
DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class Checkpoint(NamedTuple):
    """What one file holds: tensors named `<part>/<name>` and plain metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors of one part ("model", "average", "optimizer", ...) under their own names; {} if absent."""
        start = prefix + "/"
        return {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors as one part of a checkpoint."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a file that is either complete or not there; a file already at `path` stays until the new one is safe.

    Args:
        path: where to; its folder is made.
        tensors: named `<part>/<name>`, on any device.
        metadata: plain JSON data (finite numbers).
    Raises:
        CheckpointError: the disk is full or cannot be written; what was at `path` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    ordered = _by_alignment(tensors)
    header = _header(ordered, metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            _write_body(file, header, ordered)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(_why_unwritten(path, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_checkpoint(
    path: Path, *, parts: Sequence[str] | None = None, device: torch.device | str = "cpu"
) -> Checkpoint:
    """Read and verify a file.

    Args:
        path: a file of `write_checkpoint`.
        parts: prefixes to load, such as ("model",); None: all. The whole file is verified in any case.
        device: where tensors go.
    Raises:
        CheckpointError: the file is missing, damaged, or of another format.
    """
    metadata, digest = _read_header(Path(path))
    if _digest(Path(path), digest) != digest:
        raise CheckpointError(f"checkpoint {path} is damaged: its checksum does not match; use an earlier one")
    try:
        with safe_open(str(path), framework="pt", device=str(device)) as file:
            names = [name for name in file.keys() if parts is None or name.split("/")[0] in parts]  # noqa: SIM118
            return Checkpoint({name: file.get_tensor(name) for name in names}, metadata)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error}); use an earlier one") from error


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata alone, without reading (or verifying) any tensor.

    Raises:
        CheckpointError: the file is missing or of another format.
    """
    return _read_header(Path(path))[0]


# -- writing


def _by_alignment(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Widest elements first, so that every tensor starts at a multiple of its element size."""
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise CheckpointError(f"tensor {name} has type {tensor.dtype}, which checkpoints cannot hold; convert it")
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    return {name: tensors[name].detach() for name in order}


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps({**metadata, "format": FORMAT}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint metadata is not plain, finite JSON data: {error}; convert it first"
        ) from error
    entries: dict[str, Any] = {"__metadata__": {CHECKSUM: BLANK, KEY: text}}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def _write_body(file: BinaryIO, header: bytes, tensors: Mapping[str, Tensor]) -> None:
    digest = hashlib.sha256(header)
    file.write(header)
    for tensor in tensors.values():
        data = tensor.to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy().data
        digest.update(data)
        file.write(data)
    file.seek(header.index(BLANK.encode()))
    file.write(digest.hexdigest().encode())


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where folders can be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _why_unwritten(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left to write checkpoint {path}; free some space (earlier checkpoints are intact)"
    return (
        f"cannot write checkpoint {path}: {error.strerror or error}; check the folder (earlier checkpoints are intact)"
    )


# -- reading


def _read_header(path: Path) -> tuple[dict[str, Any], str]:
    """Metadata and the checksum it claims; refuses everything that is no checkpoint of ours."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            length = path.stat().st_size
            raw = file.read(size) if size <= min(length - 8, MAX_HEADER_BYTES) else b""
            file.seek(0)
            first = file.read(8)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}; check the path") from None
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be opened: {error.strerror}; check the path") from error
    entries = _parse(raw)
    if entries is None:
        raise CheckpointError(_why_unreadable(path, first, length))
    named = entries.get("__metadata__")
    if not isinstance(named, dict) or not isinstance(named.get(KEY), str):
        raise CheckpointError(f"{path} is a safetensors file of another program; give a checkpoint written by Rill")
    metadata, digest = _parse(named[KEY]), named.get(CHECKSUM)
    if metadata is None or not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise CheckpointError(f"checkpoint {path} is damaged in its header; use an earlier one")
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {metadata.get('format')} and this version reads {FORMAT}; upgrade Rill"
        )
    return metadata, digest


def _parse(raw: bytes | str) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _why_unreadable(path: Path, first: bytes, length: int) -> str:
    if first.startswith(b"PK") or first[:1] == b"\x80":
        return (
            f"{path} looks like a pickled PyTorch file, which could run code and is never opened; "
            "bring a published checkpoint in with `asr import-icefall`"
        )
    if length < 8 or first[:1] == b"\0":
        return f"checkpoint {path} is empty or cut short ({length} bytes); use an earlier one"
    return f"checkpoint {path} is cut short, damaged, or no checkpoint at all; use an earlier one"


def _digest(path: Path, claimed: str) -> str:
    """SHA-256 of a file with its claimed checksum blanked."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            prefix = file.read(8)
            header = file.read(int.from_bytes(prefix, "little"))
            digest.update(prefix + header.replace(claimed.encode(), BLANK.encode(), 1))
            for piece in _pieces(file):
                digest.update(piece)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}; use an earlier one") from error
    return digest.hexdigest()


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece
