from pathlib import Path

import pytest

from tests.unit.recipes.tiny_digits import write_corpus


@pytest.fixture
def mara(tmp_path: Path) -> Path:
    """A corpus of one invented speaker: `fsdd-mara.tar`, `manifest.tsv` and `list.tsv`."""
    return write_corpus(tmp_path / "mara")
