"""The walk-through of egs/serve, from a program's side; tests/serving/test_browser.py has the page's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import asr
from tests.conftest import REPO
from tests.models.digits import digits_model
from tests.models.strings import understood

pytest.importorskip("uvicorn", reason="the extra serve is not installed")


@pytest.mark.slow
def test_a_program_hears_words_while_it_speaks(data_dir: Path, tmp_path: Path):
    (string,) = understood(asr.load(str(digits_model())), data_dir, count=1)
    wav = tmp_path / "a path with spaces.wav"
    soundfile.write(wav, string.samples.numpy(), 16000)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", str(REPO / "egs/serve/run.sh"), str(digits_model()), "num_threads=1"],
        env={**os.environ, "PATH": path, "PIECE": str(wav)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert lines[0][2] == "partial" and string.text.startswith(lines[0][3])
    assert lines[-1][2:] == ["final", string.text]
