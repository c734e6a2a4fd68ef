"""Bounded concurrency: so many requests are worked on, so many wait, and the next one is told when to come again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import TypeVar

from tsad.core.serving import Bounds
from tsad.service.errors import RequestRefused

T = TypeVar("T")
LONG_BODIES = 2  # that are read at once
RETRY_AFTER = {"Retry-After": "1"}  # seconds
Begin = Callable[[float], Future[T]]  # begins work that is of no use after a moment of time.monotonic()


class Gate:
    """So much work at once, and so many requests that wait for it. Used by one event loop.

    Work that has not begun when its time is up never begins. Work that has begun is given its time; what nobody waits
    for any more still counts until it is done.

    Attributes:
        reading: turns of long bodies that are read.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._admitted, self._abandoned = 0, 0
        self._places = asyncio.Semaphore(bounds.running)
        self.reading = asyncio.Semaphore(LONG_BODIES)
        self._threads = ThreadPoolExecutor(bounds.running, thread_name_prefix="tsad-predict")

    @property
    def inside(self) -> int:
        """Requests that wait or are worked on, with work that goes on though nobody waits for it any more."""
        return self._admitted + self._abandoned

    async def work(self, work: Callable[[float], T]) -> T:
        """What work that blocks gives, on a thread of its own; it is told until when (``time.monotonic()``).

        Raises:
            RequestRefused: as :meth:`turn`.
        """
        return await self.turn(lambda until: self.aside(work, until))

    def aside(self, work: Callable[[float], T], until: float) -> Future[T]:
        """Begin work that blocks, of a request whose turn it is: there is a thread for each of those."""
        context = copy_context()  # its thread logs with the ids of the request
        return self._threads.submit(context.run, _contained, work, until)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place for one request, for as long as the block takes.

        Raises:
            RequestRefused: 429: too many wait already.
        """
        self.require_room()
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def turn(self, begin: Begin[T]) -> T:
        """What work gives for a request that has a place: it waits for its turn.

        Raises:
            RequestRefused: 503: it took too long, or the service stops.
        """
        until = time.monotonic() + self.bounds.seconds
        try:
            async with asyncio.timeout(self.bounds.seconds):
                await self._places.acquire()
        except TimeoutError:
            raise self._late() from None
        try:
            future = begin(until)
        except RuntimeError as error:
            self._places.release()
            raise RequestRefused(503, "the service is stopping", "Try again later.", RETRY_AFTER) from error
        except BaseException:
            self._places.release()
            raise
        loop = asyncio.get_running_loop()
        _when_done(future, loop, self._places.release)
        try:
            left = until - time.monotonic()
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), max(left, 0.0))
        except TimeoutError:
            if future.done() and not future.cancelled():
                return future.result()  # it came as the time was up; or the work's own error
            future.cancel()
            self._abandoned += 1
            _when_done(future, loop, self._gone)
            raise self._late() from None

    def _gone(self) -> None:
        self._abandoned -= 1

    def close(self) -> None:
        """Take nothing more; what runs is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def require_room(self) -> None:
        """Refuse before anything of a request is read. Raises RequestRefused: 429."""
        if self.inside >= self.bounds.running + self.bounds.waiting:
            found = f"{self.inside} requests are worked on or wait"
            raise RequestRefused(429, found, "Come again in a second.", RETRY_AFTER)

    def _late(self) -> RequestRefused:
        found = f"no answer within {self.bounds.seconds:g} s"
        return RequestRefused(503, found, "Ask for less at a time, or raise seconds=.", RETRY_AFTER)


def _when_done(future: Future[T], loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Have something called in the loop's thread when work is done; in a loop that is closed nobody waits for it."""

    def told(_: object) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(call)

    future.add_done_callback(told)


def _contained(work: Callable[[float], T], until: float) -> T:
    """The work; what would end a process ends the request alone."""
    try:
        return work(until)
    except (KeyboardInterrupt, SystemExit) as error:
        raise RequestRefused(503, "the service is stopping", "Try again later.", RETRY_AFTER) from error
