from __future__ import annotations

import pytest

import asr
from asr.streaming import Recognizer
from tests.models.digits import digits_model
from tests.models.strings import Spoken, understood

pytest.importorskip("uvicorn", reason="the extra serve is not installed")


@pytest.fixture(scope="session")
def digits(data_dir) -> Recognizer:
    """A recogniser that knows English digits."""
    return asr.load(str(digits_model()))


@pytest.fixture(scope="session")
def strings(data_dir, digits) -> list[Spoken]:
    """Connected digits, spoken by people, that the model gets right."""
    return understood(digits, data_dir, count=12)
