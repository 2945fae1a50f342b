"""Short runs in this process."""

from __future__ import annotations

import pytest

from asr.config.compose import compose
from asr.training.build import build_trainer
from asr.training.trainer import Trainer
from tests.training.tiny import SHORT, overrides


@pytest.fixture
def trainer(corpus, tmp_path):
    """`trainer(*overrides)` assembles a run of six steps."""
    made: list[Trainer] = []

    def make(*more: str) -> Trainer:
        made.append(build_trainer(compose("train", overrides(corpus, tmp_path, *SHORT, *more))))
        made[-1].validate = None
        return made[-1]

    yield make
    for one in made:
        one.journal.close()
