from pathlib import Path

import pytest

from tests.training.corpus import build_corpus


@pytest.fixture(scope="session")
def corpus(data_dir: Path, tmp_path_factory) -> Path:
    """A prepared corpus of a few short digit strings."""
    return build_corpus(data_dir / "fsdd", tmp_path_factory.mktemp("digits"))
