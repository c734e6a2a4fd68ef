"""Bounded concurrency: so many requests are worked on, so many wait, and the next one is told when to come again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tsad.core.serving import Bounds
from tsad.service.errors import RequestRefused

T = TypeVar("T")
RETRY_AFTER = "1"  # seconds


class Gate:
    """Work that blocks, on threads of its own; what nobody waits for any more still counts until it is done."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds, self._inside, self._lock = bounds, 0, threading.Lock()
        self._threads = ThreadPoolExecutor(bounds.running, thread_name_prefix="tsad-predict")

    async def run(self, work: Callable[[], T]) -> T:
        """What the work gives.

        Raises:
            RequestRefused: 429: too many wait already; 503: it took too long, or the service stops.
        """
        self._enter()
        try:
            future = self._threads.submit(_contained, work)
        except RuntimeError as error:
            self._leave()
            headers = {"Retry-After": RETRY_AFTER}
            raise RequestRefused(503, "the service is stopping", "Try again later.", headers) from error
        future.add_done_callback(lambda _: self._leave())
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), self._bounds.seconds)
        except TimeoutError as error:
            if future.done():
                return future.result()  # it came as the time was up; or the work's own error
            future.cancel()
            raise RequestRefused(
                503, f"no answer within {self._bounds.seconds:g} s", "Ask for fewer tasks, or raise seconds=.",
                {"Retry-After": RETRY_AFTER},
            ) from error  # fmt: skip

    def close(self) -> None:
        """Take nothing more; what runs is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def require_room(self) -> None:
        """Refuse before anything of a request is read. Raises RequestRefused as :meth:`run`."""
        self._enter()
        self._leave()

    def _enter(self) -> None:
        with self._lock:
            if self._inside >= self._bounds.running + self._bounds.waiting:
                raise RequestRefused(
                    429, f"{self._inside} requests are worked on or wait", "Come again in a second.",
                    {"Retry-After": RETRY_AFTER},
                )  # fmt: skip
            self._inside += 1

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1


def _contained(work: Callable[[], T]) -> T:
    """The work; what would end a process ends the request alone."""
    try:
        return work()
    except (KeyboardInterrupt, SystemExit) as error:
        headers = {"Retry-After": RETRY_AFTER}
        raise RequestRefused(503, "the service is stopping", "Try again later.", headers) from error
