"""asr serve as a process: where it listens, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import asr
from tests.conftest import REPO
from tests.models.digits import digits_model
from tests.models.strings import understood

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from tests.serving.client import Client, words


@contextmanager
def server(*settings: str, **environment: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """The process, and its address once it listens."""
    command = [sys.executable, "-m", "asr.cli.main", "serve", str(digits_model()), "port=0", "num_threads=1", *settings]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPO, env={**os.environ, **environment}
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), (line, process.stderr.read())
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_it_when_everybody_is_answered(data_dir, how):
    (string,) = understood(asr.load(str(digits_model())), data_dir, count=1)
    with server(RILL_TOKEN="mellon") as (process, address):
        with Client(address) as stranger:
            stranger.start()
            assert "token" in stranger.hear_all()[0]["message"]
        with Client(address) as client:
            client.start(token="mellon")
            client.send(string.samples.numpy())
            client.socket.ping().wait(20)  # all of it has arrived
            process.send_signal(how)
            said = client.hear_all()
        assert words(said) == string.text and said[-1]["reason"] == "shutdown" and client.close_code == 1001
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0 and out + err == ""


@pytest.mark.slow
def test_a_second_signal_does_not_wait(data_dir):
    with server() as (process, address), Client(address) as client:
        client.start()
        client.hear()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0
