"""What a run was started with: command, code, versions, machine."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import asr

STARTS = "starts.jsonl"
_PACKAGES = ("torch", "lhotse", "numpy", "sentencepiece", "safetensors")


def note_start(run_dir: Path, *, step: int, processes: int) -> None:
    """Append one line to starts.jsonl in the run's folder: where it starts from, and with what."""
    with open(run_dir / STARTS, "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "processes": processes, **describe()}, ensure_ascii=False) + "\n")


def describe() -> dict[str, Any]:
    """Plain data about this process and the code it runs."""
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": " ".join(["asr", *sys.argv[1:]]),
        "code": git_state(Path(asr.__file__).parent),
        "rill": asr.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "threads": torch.get_num_threads(),
        "gpus": ", ".join(devices) or "none",
        **{name: _version(name) for name in _PACKAGES},
    }


def git_state(folder: Path) -> str:
    """The commit of the code, and how many files differ from it; says so where there is no repository."""

    def ask(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        changed = len(ask("status", "--porcelain", "--untracked-files=no").splitlines())
        return f"{ask('rev-parse', 'HEAD')}{f', {changed} files changed' if changed else ''}"
    except (OSError, subprocess.SubprocessError):
        return "not in a git repository"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
