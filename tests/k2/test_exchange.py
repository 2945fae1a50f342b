"""A checkpoint is one model in every version: trained by one torch, decoded by another, and the other way round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.digits import digits_model

REPO = Path(__file__).resolve().parents[2]
OTHER = os.environ.get("RILL_OTHER_PYTHON", "")


def decoded(python: str, *arguments: str) -> dict[str, Any]:
    """What that Python answers, having trained the model where a kind is named."""
    command = [python, "-m", "tests.k2.exchange", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not Path(OTHER).is_file(), reason="no second environment; make test-k2 names .venv's Python")
@pytest.mark.parametrize("trained_here", [True, False], ids=["trained here", "trained there"])
@pytest.mark.parametrize("kind", ["new", "digits"])
def test_checkpoints_decode_alike_in_both_versions(kind, trained_here, tmp_path):
    """The same tokens at the same frames, of whole utterances and of chunks, in every search."""
    if kind == "digits":
        digits_model()  # or skips
    checkpoint = str(tmp_path / "model.safetensors")
    first, second = (sys.executable, OTHER) if trained_here else (OTHER, sys.executable)
    here, there = decoded(first, checkpoint, kind), decoded(second, checkpoint)
    assert here["torch"] != there["torch"], "the exchange needs two versions of torch"
    torch.testing.assert_close(torch.tensor(here["frames"]), torch.tensor(there["frames"]), atol=1e-3, rtol=1e-3)
    for method, answers in here["answers"].items():
        for one, other in zip(answers, there["answers"][method], strict=True):
            assert (one["tokens"], one["timestamps"]) == (other["tokens"], other["timestamps"]), method
            assert one["log_prob"] == pytest.approx(other["log_prob"], abs=1e-2)
        assert any(answer["tokens"] for answer in answers), f"{method}: nothing was said, so nothing was compared"
