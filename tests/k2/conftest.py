"""Tests with the real k2: they skip where it does not load, and fail there under RILL_NEEDS_K2."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def k2():
    """The real k2."""
    if "RILL_NEEDS_K2" in os.environ:
        import k2
    else:
        k2 = pytest.importorskip("k2", reason="no k2 here; make test-k2 runs this", exc_type=ImportError)
    return k2
