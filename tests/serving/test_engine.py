"""Sessions and the engine without a network: turns are fair, and audio waits where it should."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np

from asr.serving import ServeConfig
from asr.serving.engine import Engine


@asynccontextmanager
async def running(recognizer, *, backlog_s: float = 100.0):
    """An engine at work."""
    engine = Engine(recognizer, ServeConfig(), backlog_s=backlog_s)
    task = asyncio.create_task(engine.run())
    yield engine
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def last_words(session) -> list[dict]:
    return [event async for event in session.events()]


def test_a_long_backlog_delays_nobody(digits, strings):
    """Somebody sends a minute at once; who comes after that is answered when a few chunks of it are decoded."""

    async def story() -> tuple[list[dict], float]:
        async with running(digits) as engine:
            greedy, modest = engine.open(16000), engine.open(16000)
            minute = np.concatenate([string.samples.numpy() for string in strings] * 2)[: 60 * 16000]
            await greedy.put(minute)
            await modest.put(strings[0].samples.numpy()[:40000])
            modest.end("end")
            said = await last_words(modest)
            return said, greedy.hearing.stream.decoded_s

    said, decoded_s = asyncio.run(story())
    assert said[-1]["reason"] == "end" and any(event["type"] == "final" for event in said)
    assert decoded_s < 6


def test_audio_waits_outside_while_too_much_waits_inside(digits):
    """Without an engine at work nothing gets done, and whoever brings more must wait."""

    async def story() -> None:
        engine = Engine(digits, ServeConfig(), backlog_s=1.0)
        session = engine.open(16000)
        await session.put(np.zeros(16000, np.float32))
        bringing = asyncio.create_task(session.put(np.zeros(1, np.float32)))
        await asyncio.sleep(0.05)
        assert not bringing.done()
        session.take()
        await asyncio.wait_for(bringing, 5)

    asyncio.run(story())


def test_empty_pieces_are_not_kept(digits):
    """They would never be too many to wait, and never make a chunk."""

    async def story() -> None:
        session = Engine(digits, ServeConfig(), backlog_s=1.0).open(16000)
        for _ in range(1000):
            await session.put(np.zeros(0, np.float32))
        assert not session._inbox and not session.has_work

    asyncio.run(story())


def test_partial_words_give_way_to_newer_ones(digits):
    async def story() -> list[str]:
        session = Engine(digits, ServeConfig(), backlog_s=1.0).open(16000)
        for kind, text in [("partial", "o"), ("partial", "on"), ("final", "one"), ("partial", "t"), ("partial", "two")]:
            session.tell({"type": kind, "text": text})
        session.fail("that is all", close_code=1003)
        session.tell({"type": "partial", "text": "too late"})
        return [event.get("text", event["type"]) for event in await last_words(session)]

    assert asyncio.run(story()) == ["ready", "one", "two", "error"]


def test_an_error_in_a_round_ends_its_streams_and_not_the_engine(digits, strings, monkeypatch, caplog):
    async def story() -> tuple[list[dict], list[dict]]:
        async with running(digits) as engine:
            answers = []
            for broken in (True, False):
                with monkeypatch.context() as patch:
                    if broken:
                        patch.setattr(digits.model, "encode", lambda *_, **__: 1 / 0)
                    session = engine.open(16000)
                    await session.put(strings[0].samples.numpy())
                    session.end("end")
                    answers.append(await last_words(session))
                engine.drop(session)
            return answers

    broken, well = asyncio.run(story())
    assert broken[-1] == {"type": "error", "message": "the server met an error of its own; start again", "fatal": True}
    assert "division by zero" in caplog.text
    assert well[-1]["type"] == "done" and well[-2]["text"] == strings[0].text


def test_an_error_in_one_streams_audio_is_its_own(digits, strings, monkeypatch, caplog):
    async def story() -> list[list[dict]]:
        async with running(digits) as engine:
            broken, well = engine.open(16000), engine.open(16000)
            monkeypatch.setattr(broken.hearing.stream, "accept", lambda *_: 1 / 0)
            for session in (broken, well):
                await session.put(strings[0].samples.numpy())
                session.end("end")
            return [await last_words(session) for session in (broken, well)]

    broken, well = asyncio.run(story())
    assert broken[-1]["type"] == "error" and broken[-1]["fatal"] and "division by zero" in caplog.text
    assert well[-1]["type"] == "done" and well[-2]["text"] == strings[0].text
