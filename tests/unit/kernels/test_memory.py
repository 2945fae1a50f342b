"""What a process keeps."""

from __future__ import annotations

import os

import pytest

from asr.kernels.memory import keep_plans

NAME = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.mark.parametrize(("before", "after"), [(None, "16384"), ("12", "12")])
def test_plans_are_kept_unless_the_environment_says_otherwise(monkeypatch, before, after):
    monkeypatch.setenv(NAME, before or "")
    if before is None:
        monkeypatch.delenv(NAME)
    keep_plans()
    assert os.environ[NAME] == after
