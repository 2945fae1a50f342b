"""The packages that export needs and recognition does not."""

from __future__ import annotations

from importlib.util import find_spec

from asr.errors import ExportError


def require(*packages: str) -> None:
    """Raise ExportError, saying how to install them, unless all `packages` are there."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ExportError(f'export needs {" and ".join(missing)}; run: pip install "rill-asr[onnx]"')
