"""The walk-through of egs/digits, shortened: every command on real recordings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PUBLISHED = REPO / "recipes" / "digits"


@pytest.fixture
def short_lists(tmp_path: Path) -> Path:
    """The first strings of each published list."""
    folder = tmp_path / "lists"
    folder.mkdir()
    for split, rows in {"train": 60, "dev": 6, "test": 6}.items():
        lines = (PUBLISHED / f"digit-strings-{split}.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"digit-strings-{split}.tsv").write_text("".join(lines[: rows + 1]), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_every_command_of_the_walk_through_works(data_dir: Path, short_lists: Path, tmp_path: Path):
    work = tmp_path / "a path with spaces"
    work.mkdir()
    command = ["sh", str(REPO / "egs/digits/run.sh"), str(data_dir / "fsdd")]
    settings = ["training.num_steps=12", "training.checkpoint_every=6", "training.log_every=6"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "LISTS": str(short_lists)}
    done = subprocess.run([*command, *settings], cwd=work, env=environment, capture_output=True, text=True, check=False)
    # After so few steps the model may well say nothing, and the client the same; what counts is that each step ran.
    assert done.returncode == 0, done.stderr[-2000:]
    run = work / "exp" / "digits"
    assert (run / "averaged.safetensors").exists() and (run / "report.html").exists()
    assert len(list((run / "results").glob("test-*.json"))) == 6
    assert {path.name for path in (run / "export-streaming").iterdir()} >= {"decoder.onnx", "joiner.onnx", "tokens.txt"}
    assert "6 utterances: on the library's features the exported graphs give the library's tokens on 6" in done.stdout
