"""Half a minute of `make soak`."""

from __future__ import annotations

import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")


@pytest.mark.slow
def test_clients_come_and_go(data_dir):
    from tests.soak.run import main

    # A quarter of a minute may not meet batches of all eight sizes; what is kept for the rest is less than a tenth.
    assert main("seconds=30", "warm_up=15", "clients=40", "at_once=8", "memory_percent=10") == 0
