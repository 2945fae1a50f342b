from pathlib import Path

import pytest
import torch

from tests.training.corpus import build_corpus


@pytest.fixture(autouse=True)
def _process_as_it_was():
    """Training in this process sets it up for itself; other tests must not notice."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def corpus(data_dir: Path, tmp_path_factory) -> Path:
    """A prepared corpus of a few short digit strings."""
    return build_corpus(data_dir / "fsdd", tmp_path_factory.mktemp("digits"))
