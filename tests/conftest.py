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


@pytest.fixture(autouse=True)
def _process_as_it_was():
    """Training in this process sets it up for itself; other tests must not notice."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


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


@pytest.fixture(scope="session")
def corpus(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared corpus of a few short digit strings."""
    from tests.training.corpus import build_corpus

    return build_corpus(data_dir / "fsdd", tmp_path_factory.mktemp("digits"))
