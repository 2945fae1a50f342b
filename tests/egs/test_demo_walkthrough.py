"""The order of egs/demo, with a command that only takes notes: what is done is not done again, what failed is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
NOTING = """#!/bin/sh
echo "$1" >> calls
if [ "$1" = "${FAILING:-}" ]; then exit 1; fi
if [ "$1" = average ]; then mkdir -p exp/demo && touch exp/demo/averaged.safetensors; fi
"""
WHOLE = ["prepare", "train", "average", "decode", "export", "stream", "report"]


@pytest.fixture
def demo(tmp_path: Path):
    """`demo(failing="")` runs the script in a folder of its own and returns the exit status and what was called."""
    (tmp_path / "egs" / "demo").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    script = shutil.copy(REPO / "egs/demo/run.sh", tmp_path / "egs/demo/run.sh")
    (tmp_path / "bin" / "asr").write_text(NOTING)
    (tmp_path / "bin" / "asr").chmod(0o755)

    def run(failing: str = "") -> tuple[int, list[str]]:
        (tmp_path / "calls").write_text("")
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(["sh", script], env={**os.environ, "PATH": path, "FAILING": failing}, check=False)
        return done.returncode, (tmp_path / "calls").read_text().split()

    return run


def test_finished_stages_are_passed_over(demo):
    assert demo() == (0, WHOLE)
    assert demo() == (0, ["prepare", "train", "report"]), "the first two find out by themselves"


def test_a_stage_that_failed_is_done_again(demo):
    assert demo(failing="export") == (1, WHOLE[:5])
    assert demo() == (0, ["prepare", "train", "export", "stream", "report"])


def test_another_model_is_another_beginning(demo, tmp_path):
    demo()
    later = (tmp_path / "exp/demo/averaged.safetensors").stat().st_mtime + 10
    os.utime(tmp_path / "exp/demo/averaged.safetensors", (later, later))
    assert demo() == (0, [stage for stage in WHOLE if stage != "average"])
