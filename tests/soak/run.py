"""Two hundred clients that come and go, some of them rude: python -m tests.soak.run [seconds=600] [clients=200] …

Starts `asr serve` as a process of its own, on the loopback. What must hold: every polite client's words equal what the
library makes of the same audio offline; the server never fails; and when everybody is gone, its memory, streams, tasks
and open files are what they were after the first minute, which warms up: by then there were batches of every size, for
each of which the library behind torch keeps plans.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np
import psutil
from websockets.asyncio.client import connect

import asr
from asr.features import Resampler
from asr.serving import ServeConfig
from tests.conftest import DATA_DIR, REPO
from tests.models.digits import digits_model
from tests.models.strings import digit_strings
from tests.serving.client import transcript
from tests.soak.visits import RUDE, Recording, Visit, polite

IDLE_S = 8.0
"""The server's patience: short, because some stall, but longer than a busy machine may hold up a client."""


class Footprint(NamedTuple):
    """What a server holds on to."""

    memory_mb: float
    files: int
    threads: int
    streams: int
    tasks: int


class Soak:
    """Visits of a server, so many at a time."""

    def __init__(self, address: str, recordings: list[Recording], *, at_once: int, rude_share: float):
        self._address = address.replace("http", "ws") + "/stream"
        self._recordings = recordings
        self._turnstile = asyncio.Semaphore(at_once)
        self._rude_share = rude_share
        self.visits: Counter[str] = Counter()
        self.failures: list[str] = []

    async def clients(self, count: int, *, seconds: float) -> None:
        """So many, for so long."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self.client(number, until) for number in range(count)))

    async def client(self, number: int, until: float) -> None:
        """One client: comes, goes, and comes again."""
        draw = random.Random(number)
        while time.monotonic() < until:
            await asyncio.sleep(draw.uniform(0, 1))
            async with self._turnstile:
                if time.monotonic() < until:
                    await self.visit(draw.choice(RUDE) if draw.random() < self._rude_share else polite, draw)

    async def visit(self, visit: Visit, draw: random.Random) -> None:
        self.visits[visit.__name__] += 1
        try:
            async with connect(self._address, compression=None, max_size=None) as socket:
                await asyncio.wait_for(visit(socket, draw.choice(self._recordings), draw), 120)
        except Exception as error:
            self.failures.append(f"{visit.__name__}: {type(error).__name__}: {error}")


def recordings(count: int) -> list[Recording]:
    """Digits at several rates, with the library's own answer to each."""
    recognizer, rates, found = asr.load(str(digits_model())), [16000, 8000, 48000, 44100], []
    for i, string in enumerate(digit_strings(DATA_DIR, count=count)):
        rate = rates[i % len(rates)]
        samples = Resampler(16000, rate)(string.samples).numpy().astype(np.float32)
        found.append(Recording(samples, rate, transcript(recognizer, samples, ServeConfig(), sample_rate=rate)))
    return found


def start_server(log: Path) -> tuple[subprocess.Popen, str]:
    """The process and its address."""
    command = [sys.executable, "-m", "asr.cli.main", "serve", str(digits_model()), "port=0", "num_threads=1"]
    limits = [f"limits.idle_s={IDLE_S}", "limits.connections=200"]
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [*command, *limits], stdout=subprocess.PIPE, stderr=errors, text=True, cwd=REPO, env=dict(os.environ)
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("listening on "):
        raise SystemExit(f"the server did not start: {log.read_text()}")
    return process, line.split()[-1]


async def footprint(process: psutil.Process, address: str) -> Footprint:
    """What is held once nobody is connected any more."""
    for _ in range(200):
        await asyncio.sleep(0.1)
        with await asyncio.to_thread(urlopen, f"{address}/status") as answer:
            status = json.load(answer)
        if status["streams"] == 0:
            break
    await asyncio.sleep(1)
    memory_mb = round(process.memory_info().rss / 2**20, 1)
    return Footprint(memory_mb, process.num_fds(), process.num_threads(), status["streams"], status["tasks"])


async def watch(process: psutil.Process, *, every_s: float) -> None:
    """Print the server's memory from time to time, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        print(f"memory: {process.memory_info().rss / 2**20:.0f} MB", flush=True)


async def soak(
    process: psutil.Process,
    address: str,
    *,
    seconds: float,
    warm_up: float,
    clients: int,
    at_once: int,
    memory_percent: int,
) -> list[str]:
    """Run, print what was seen, and return what went wrong."""
    heard = await asyncio.to_thread(recordings, 24)
    run = Soak(address, heard, at_once=at_once, rude_share=0.4)
    for visit in RUDE:
        await run.visit(visit, random.Random(0))
    await run.clients(clients, seconds=warm_up)
    before = await footprint(process, address)
    print(f"after {sum(run.visits.values())} visits to warm up: {before}", flush=True)
    watching = asyncio.create_task(watch(process, every_s=seconds / 10))
    await run.clients(clients, seconds=seconds)
    watching.cancel()
    after = await footprint(process, address)
    print(f"after {sum(run.visits.values())} visits in all: {after}")
    print("visits:", ", ".join(f"{name} {count}" for name, count in run.visits.most_common()))
    return [*run.failures, *leaks(before, after, memory_percent)]


def leaks(before: Footprint, after: Footprint, memory_percent: int) -> list[str]:
    """What a server holds now that it did not hold before; memory may have grown by so many percent, since allocators
    keep what a busier moment needed.
    """
    found = [name for name in ("files", "threads", "streams", "tasks") if getattr(after, name) > getattr(before, name)]
    if after.memory_mb > (1 + memory_percent / 100) * before.memory_mb:
        found.append("memory_mb")
    return [f"leak of {name}: {getattr(before, name)} before, {getattr(after, name)} after" for name in found]


def main(*settings: str) -> int:
    """Returns the number of things that went wrong."""
    given = {"seconds": 600, "warm_up": 60, "clients": 200, "at_once": 16, "memory_percent": 5}
    for name, value in (setting.split("=") for setting in settings):
        given[name] = int(value)
    log = REPO / "exp" / "soak.log"
    log.parent.mkdir(exist_ok=True)
    process, address = start_server(log)
    try:
        wrong = asyncio.run(soak(psutil.Process(process.pid), address, **given))
    finally:
        process.terminate()
        status = process.wait(30)
    if status != 0 or log.read_text():
        wrong.append(f"the server ended with status {status} and said {log.read_text()[-500:]!r}")
    print("\n".join(wrong[:20]) or "no leak, no crash, no wrong transcript")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
