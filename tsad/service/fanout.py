"""Many listen to one job: its events are read once, by one thread, and told to all; who is too slow is let go."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from tsad.core.errors import TsadError, UnknownJobError
from tsad.jobs.folder import JobFolder
from tsad.service.errors import RequestRefused
from tsad.service.tail import ENDED, GONE, Tail, Told, pages

log = logging.getLogger("tsad")


class TooSlowError(RequestRefused):
    """Whoever listens takes events more slowly than they come."""

    def __init__(self, keep: int) -> None:
        remedy = "Come back with the id of the last event, and take them faster."
        super().__init__(503, f"more than {keep} events have come meanwhile", remedy)


class StoppingError(RequestRefused):
    """The service stops, and streams end with it."""

    def __init__(self) -> None:
        super().__init__(503, "the service stops", "Come back with the id of the last event.", {"Retry-After": "2"})


@dataclass(frozen=True)
class Over:
    """That a job has ended, and how."""

    state: str


@dataclass(frozen=True)
class Pace:
    """How events are handed on.

    Attributes:
        look: seconds between two looks at the files. silence: after which a listener is told that it is still heard.
        keep: events of a job in memory; who falls further behind while it listens is let go.
        batch: events that one listener gets at a time.
        send: seconds that it may take to accept them.
        behind: seconds that the reading may be behind what another service has told already.
        linger: seconds that a job's events stay in memory after the last listener has gone: it may come back.
    """

    look: float = 0.02
    silence: float = 15.0
    keep: int = 2048
    batch: int = 256
    send: float = 60.0
    behind: float = 2.0
    linger: float = 5.0


class Fanout:
    """The tails of all jobs that somebody listens to.

    Args:
        home: the store's folder.
        state: of a job, by the store: its file may lie on another host, or its end may not stand in it.
    """

    def __init__(self, home: Path, state: Callable[[str], str], pace: Pace | None = None) -> None:
        self.pace, self.stopping = pace or Pace(), False
        self._home, self._state = home, state
        self._tails: dict[str, Tail] = {}
        self._lock, self._wanted = threading.Lock(), threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read while the block runs; at its end every stream ends."""
        over = threading.Event()
        thread = threading.Thread(target=self._read, args=(over,), name="tsad-tail", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stopping = True
            over.set()
            self._wanted.set()
            thread.join()
            self._on_loop(self._wake_all)

    @property
    def listeners(self) -> int:
        """How many listen, over all jobs."""
        with self._lock:
            return sum(tail.listeners for tail in self._tails.values())

    async def events(self, job: str, after: int) -> AsyncGenerator[list[Told] | Over]:
        """Events of a job later than ``after`` as they come, oldest first and each once; an empty list says that
        nothing has come for a while. The last thing is that the job has ended.

        Raises:
            TooSlowError: they come faster than they are taken. StoppingError: the service stops.
        """
        async with self._tail(job) as tail:
            position, caught_up, kept = after, False, pages(job, tail.path, after, self.pace.batch)
            while True:
                self._refuse_stopping()
                batch = tail.after(position, self.pace.batch)
                if batch is None and caught_up:
                    raise TooSlowError(self.pace.keep)
                if batch is None and (batch := await run_in_threadpool(next, kept, None)) is None:
                    kept = pages(job, tail.path, position, self.pace.batch)  # more was written since it was read
                    batch = await run_in_threadpool(next, kept, None) or tail.oldest(self.pace.batch)
                if batch:
                    position = batch[-1].id
                    yield batch
                    continue
                caught_up = True
                if tail.over:
                    yield Over(tail.state)
                    return
                if not await tail.changed(self.pace.silence):
                    await self._look_up(tail)
                    yield []

    async def last(self, job: str, expected: int = 0) -> tuple[int, str]:
        """Id of a job's last event, 0 = there is none yet, and the state that the job is in as far as is known.

        Args:
            expected: an id that somebody has had already, from another service perhaps: it is waited for a moment.
        """
        async with self._tail(job) as tail:
            until = time.monotonic() + self.pace.behind
            while tail.last < expected and (left := until - time.monotonic()) > 0:
                await tail.changed(left)
            return tail.last, tail.state

    def _refuse_stopping(self) -> None:
        if self.stopping:
            raise StoppingError

    @asynccontextmanager
    async def _tail(self, job: str) -> AsyncIterator[Tail]:
        """The job's tail, shared by all who listen to it."""
        self._loop = asyncio.get_running_loop()
        with self._lock:
            tail = self._tails.get(job)
            if tail is None:
                tail = self._tails[job] = Tail(job, JobFolder(self._home, job).events_file, self.pace.keep)
            tail.listeners += 1
        self._wanted.set()
        try:
            while not tail.ready:
                self._refuse_stopping()
                await tail.changed(self.pace.silence)
            if not tail.last:
                await self._look_up(tail)
            yield tail
        finally:
            with self._lock:
                tail.listeners -= 1
                tail.left = time.monotonic()

    async def _look_up(self, tail: Tail) -> None:
        """Where the events are silent, whether the store says that the job has ended; one listener asks for all."""
        if tail.over or time.monotonic() - tail.looked_up < self.pace.silence:
            return
        tail.looked_up, last = time.monotonic(), tail.last
        try:
            state = await run_in_threadpool(self._state, tail.job)
        except UnknownJobError:
            state = GONE
        except TsadError:
            return  # the store does not answer: the events alone tell
        if state in ENDED and tail.last == last:
            tail.state = state
            tail.wake()

    def _read(self, over: threading.Event) -> None:
        """The thread's work; while nobody listens it sleeps."""
        while not over.is_set():
            tails = self._wanted_tails()
            for tail in tails:
                first = not tail.ready
                try:
                    news = tail.news()
                except OSError as error:  # it may come back, as a network's folder does
                    log.warning("the events of job %s cannot be read (%s)", tail.job, error.strerror or error)
                    news = []
                if news or first:
                    self._on_loop(tail.take, news)
            if tails:
                over.wait(self.pace.look)
            else:
                self._wanted.wait()
                self._wanted.clear()

    def _wanted_tails(self) -> tuple[Tail, ...]:
        """Those that somebody listens to, or did a moment ago; the others are let go."""
        with self._lock:
            late = time.monotonic() - self.pace.linger
            self._tails = {job: tail for job, tail in self._tails.items() if tail.listeners or tail.left > late}
            return tuple(self._tails.values())

    def _on_loop(self, call: Callable[..., None], *args: object) -> None:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # it is closed: nobody listens any more
            return

    def _wake_all(self) -> None:
        with self._lock:
            tails = tuple(self._tails.values())
        for tail in tails:
            tail.wake()
