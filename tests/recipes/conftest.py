"""The corpora in small, made once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.recipes import miniature
from tests.recipes.miniature import Told


class Corpus(NamedTuple):
    """root: what `corpus.source` names; told: what was written, by utterance."""

    root: Path
    told: dict[str, Told]


@pytest.fixture(scope="session")
def librispeech(data_dir, tmp_path_factory) -> Corpus:
    root = tmp_path_factory.mktemp("mini") / "LibriSpeech"
    return Corpus(root, miniature.librispeech(root, data_dir, num_train=12))


@pytest.fixture(scope="session")
def aishell(data_dir, tmp_path_factory) -> Corpus:
    root = tmp_path_factory.mktemp("mini") / "aishell"
    return Corpus(root, miniature.aishell(root, data_dir, num_train=12))
