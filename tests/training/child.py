"""`asr` in a process of its own that may die; forked from a server that has imported everything once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT_S = 120
# A server, because forking a process in which torch has already started threads may hang.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.training.warm"])

Trouble = Callable[[], None]


class Outcome(NamedTuple):
    """status: exit status, negative for a signal; out, err: what was printed."""

    status: int
    out: str
    err: str

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL


def asr(
    arguments: Sequence[str], folder: Path, *, trouble: Trouble | None = None, meanwhile: Callable | None = None
) -> Outcome:
    """Run `asr ARGUMENTS…` to whatever end it comes to.

    Args:
        folder: takes what is printed.
        trouble: called in the process before the command; prepares what shall go wrong.
        meanwhile: called with the running process.
    """
    running = _start(arguments, folder, trouble, {})
    if meanwhile is not None:
        meanwhile(running.process)
    return _finish(running)


def company(arguments: Sequence[str], folder: Path, *, troubles: Sequence[Trouble | None]) -> list[Outcome]:
    """Run `asr ARGUMENTS…` in as many processes as there are troubles, joined as torchrun would join them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "GLOO_SOCKET_IFNAME": "lo"}
    running = []
    for rank, trouble in enumerate(troubles):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(troubles))}
        running.append(_start(arguments, folder / str(rank), trouble, {**place, **ranks}))
    return [_finish(one) for one in running]


class _Running(NamedTuple):
    process: Any
    command: str
    out: Path
    err: Path


def _start(arguments: Sequence[str], folder: Path, trouble: Trouble | None, environment: dict[str, str]) -> _Running:
    folder.mkdir(parents=True, exist_ok=True)
    out, err = folder / "stdout.txt", folder / "stderr.txt"
    process = _context.Process(target=_run, args=(list(arguments), out, err, trouble, environment))
    process.start()
    return _Running(process, " ".join(arguments), out, err)


def _finish(running: _Running) -> Outcome:
    process = running.process
    process.join(TIMEOUT_S)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"asr {running.command} did not end within {TIMEOUT_S} s: {running.err.read_text()}")
    return Outcome(process.exitcode, running.out.read_text(), running.err.read_text())


def _run(arguments: list[str], out: Path, err: Path, trouble: Trouble | None, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream.fileno())
    # The loader's workers as everywhere on Linux; from the server, they would outlive a process that is killed.
    multiprocessing.set_start_method("fork", force=True)
    from asr.cli.main import main

    if trouble is not None:
        trouble()
    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)
