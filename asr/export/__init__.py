"""Export to ONNX for sherpa-onnx: the same forward, checked against the library and in the real client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr.export.client import ClientReport, verify_in_client
    from asr.export.config import ExportConfig, ExportHead, ExportMode
    from asr.export.export import ExportReport, export_model

__all__ = [
    "ClientReport",
    "ExportConfig",
    "ExportHead",
    "ExportMode",
    "ExportReport",
    "export_model",
    "verify_in_client",
]

_HOMES = {
    "ClientReport": "client",
    "ExportConfig": "config",
    "ExportHead": "config",
    "ExportMode": "config",
    "ExportReport": "export",
    "export_model": "export",
    "verify_in_client": "client",
}


def __getattr__(name: str) -> Any:
    # Looked up late: the client's process is a module of this room, and must not load torch beside sherpa-onnx.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
