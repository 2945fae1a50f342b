"""One loop that decodes all streams together, round by round, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from asr.models.encoder import features_ahead
from asr.serving.hearing import Hearing, advance
from asr.serving.protocol import Event, stopping
from asr.serving.session import Session
from asr.streaming import Recognizer, StreamConfig

logger = logging.getLogger(__name__)

Turn = tuple[Session, np.ndarray, bool]
INTERNAL_ERROR = 1011


class Engine:
    """Opens sessions and serves them. A round gives every session that has something to do one chunk, so a stream with
    a long backlog takes no more of a round than any other; audio that comes meanwhile waits for the next."""

    def __init__(self, recognizer: Recognizer, config: StreamConfig, *, backlog_s: float):
        self._recognizer = recognizer
        self._config = config
        self._backlog_s = backlog_s
        self._sessions: dict[Session, None] = {}  # a set that keeps its order
        self._work = asyncio.Event()
        self.closing = False
        """Whether no stream is opened any more; until `run` begins anew."""

    @property
    def num_sessions(self) -> int:
        """Streams that are open."""
        return len(self._sessions)

    def open(self, sample_rate: int) -> Session:
        """A fresh stream for audio of `sample_rate` Hz; its client is told that it may speak.

        Raises:
            Refusal: all streams were ended.
        """
        if self.closing:
            raise stopping()
        stream = self._recognizer.stream(self._config)
        hearing = Hearing(stream, sample_rate)
        session = Session(hearing, sample_rate, backlog_s=self._backlog_s, wake=self._work.set)
        self._sessions[session] = None
        context = self._config.context
        lookahead_s = features_ahead(self._recognizer.model.encoder, context) / 100
        session.tell({"type": "ready", "chunk_s": (context.chunk_size or 0) / 50, "lookahead_s": lookahead_s})
        return session

    def drop(self, session: Session) -> None:
        """Forget a stream, whatever became of it."""
        self._sessions.pop(session, None)

    def end_all(self, reason: str, *, close_code: int) -> None:
        """End every stream where its audio now stands, and open no more."""
        self.closing = True
        for session in self._sessions:
            session.end(reason, close_code=close_code)

    async def run(self) -> None:
        """Serve, until cancelled."""
        self.closing = False
        with ThreadPoolExecutor(1, thread_name_prefix="asr-engine") as thread:
            while True:
                await self._work.wait()
                self._work.clear()
                sessions = [session for session in self._sessions if session.has_work]
                if sessions:
                    turns = [(session, *session.take()) for session in sessions]
                    await self._answer(thread, turns)
                    self._work.set()  # some may have more to do

    async def _answer(self, thread: ThreadPoolExecutor, turns: list[Turn]) -> None:
        try:
            found = await asyncio.get_running_loop().run_in_executor(thread, self._round, turns)
        except Exception:
            logger.exception("a round of %d streams failed", len(turns))
            found = {}
        for session, _, _ in turns:
            if session in found:
                session.answer(found[session])
            else:
                session.fail("the server met an error of its own; start again", close_code=INTERNAL_ERROR)

    def _round(self, turns: list[Turn]) -> dict[Session, list[Event]]:
        """What the streams have to tell after another chunk, without those that failed."""
        well = [session for session, samples, ended in turns if _heard(session, samples, ended)]
        return dict(zip(well, advance(self._recognizer, [session.hearing for session in well])))


def _heard(session: Session, samples: np.ndarray, ended: bool) -> bool:
    """Hand a stream its audio; one that fails at it does not fail its neighbours."""
    try:
        session.hearing.hear(samples, ended=ended)
    except Exception:
        logger.exception("a stream failed at its audio")
        return False
    return True
