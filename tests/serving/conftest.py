from __future__ import annotations

import pytest

import asr
from asr.streaming import Recognizer
from tests.models.make import DIGITS
from tests.models.strings import Spoken, digit_strings

pytest.importorskip("uvicorn", reason="the extra serve is not installed")


@pytest.fixture(scope="session")
def digits() -> Recognizer:
    """A recogniser that knows English digits."""
    return asr.load(str(DIGITS))


@pytest.fixture(scope="session")
def strings(data_dir, digits) -> list[Spoken]:
    """Connected digits, spoken by people; those that the model gets right, so that a wrong word is the server's."""
    spoken = digit_strings(data_dir, count=14)
    known = [string for string in spoken if digits.transcribe(string.samples, 16000).text == string.text]
    assert len(known) > 8
    return known
