"""Half a minute of `make soak`."""

from __future__ import annotations

import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")


@pytest.mark.slow
def test_clients_come_and_go(data_dir):
    from tests.soak.run import main

    # Half a minute still meets new lengths of audio, for which libraries keep new plans; ten minutes judge memory.
    assert main("seconds=30", "clients=40", "at_once=8", "memory_percent=30") == 0
