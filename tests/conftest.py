"""What all tests share: where the reference numbers and the recordings are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

REPO = Path(__file__).resolve().parents[1]
GOLDEN_DIR = Path(os.environ.get("GOLDEN_DIR", REPO.parent / "shared" / "golden"))
DATA_DIR = Path(os.environ.get("RILL_DATA_DIR", REPO.parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def golden():
    """Load one file of reference numbers by name; skips, saying so, where it is absent."""

    def load(name: str) -> dict[str, np.ndarray]:
        path = GOLDEN_DIR / name
        if not path.exists():
            pytest.skip(f"no reference numbers at {path}; set GOLDEN_DIR")
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    return load


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    if not GOLDEN_DIR.exists():
        pytest.skip(f"no reference numbers at {GOLDEN_DIR}; set GOLDEN_DIR")
    return GOLDEN_DIR


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real recordings; skips, saying so, where it is absent."""
    if not DATA_DIR.exists():
        pytest.skip(f"no recordings at {DATA_DIR}; set RILL_DATA_DIR")
    return DATA_DIR
