"""C++ kernels for the CPU: compiled on first use where a compiler is at hand, kept, and never required.

A kernel is a C function in a .cpp file of this room. It is compiled alone, without torch's headers, so that it takes a
second and fits any version of torch; it is called through ctypes with the addresses of contiguous tensors.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

logger = logging.getLogger(__name__)

# No fast-math: a library built with it may switch denormals off for the whole process. Sums are vectorised where the
# source says so (`omp simd`).
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp-simd", "-fno-math-errno", "-fPIC", "-shared")


@cache
def library(stem: str) -> ctypes.CDLL | None:
    """The compiled `stem`.cpp; None without a compiler, or with RILL_NATIVE=0 in the environment."""
    if os.environ.get("RILL_NATIVE") == "0":
        return None
    try:
        return ctypes.CDLL(str(_compiled(Path(__file__).with_name(f"{stem}.cpp"))))
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("native kernel %s is not used: %s", stem, error)
        return None


def loaded(stem: str) -> ctypes.CDLL:
    """`library(stem)`, for where it has been asked for already and is there."""
    found = library(stem)
    assert found is not None
    return found


def _compiled(source: Path) -> Path:
    """Where the library is, compiled if it has not been yet; raises OSError or SubprocessError."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise OSError("there is no C++ compiler")
    key = hashlib.sha256("\0".join([source.read_text(), compiler, *FLAGS, _processor()]).encode()).hexdigest()[:16]
    target = _folder() / f"{source.stem}-{key}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            fresh = Path(temporary) / target.name
            subprocess.run([compiler, *FLAGS, str(source), "-o", str(fresh)], check=True, capture_output=True)
            os.replace(fresh, target)  # whole or not at all, whoever else compiles it now
    return target


def _folder() -> Path:
    """Compiled code lives here; nobody else may write to it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "rill"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise OSError(f"{folder} can be written by others")
    return folder


def _processor() -> str:
    """What `-march=native` depends on: a home folder may be shared by unlike machines."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.platform() + platform.processor()
    wanted = ("model name", "flags", "Features")
    return "\n".join(sorted({line for line in info.read_text().splitlines() if line.startswith(wanted)}))
