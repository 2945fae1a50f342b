"""A checkpoint is one model in every version: trained by one torch, decoded by another, and the other way round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).resolve().parents[2]
OTHER = os.environ.get("RILL_OTHER_PYTHON", "")


def run(python: str, *arguments: str) -> str:
    command = [python, "-m", "tests.k2.exchange", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not Path(OTHER).is_file(), reason="no second environment; make test-k2 names .venv's Python")
@pytest.mark.parametrize("trained_here", [True, False], ids=["trained here", "trained there"])
def test_checkpoints_decode_alike_in_both_versions(trained_here, tmp_path):
    checkpoint = str(tmp_path / "model.safetensors")
    run(sys.executable if trained_here else OTHER, "train", checkpoint)
    here, there = (json.loads(run(python, "decode", checkpoint)) for python in (sys.executable, OTHER))
    assert here["torch"] != there["torch"], "the exchange needs two versions of torch"
    for kind, answers in here["answers"].items():
        for one, other in zip(answers, there["answers"][kind], strict=True):
            assert (one["tokens"], one["timestamps"]) == (other["tokens"], other["timestamps"]), kind
            assert one["log_prob"] == pytest.approx(other["log_prob"], abs=1e-2)
        assert any(answer["tokens"] for answer in answers), f"{kind}: nothing was said, so nothing was compared"
    torch.testing.assert_close(torch.tensor(here["frames"]), torch.tensor(there["frames"]), atol=1e-4, rtol=1e-3)
