"""Server-sent events (HTML, 9.2) of a job: each has an id, by which a client that was cut off comes back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tsad.core.errors import TsadError
from tsad.service.errors import body_of
from tsad.service.fanout import Fanout, Over, StoppingError, TooSlowError

log = logging.getLogger("tsad")

KEEP_ALIVE = b": nothing new\n\n"
RETRY = 1000  # milliseconds after which a browser comes back


def event(name: str, values: dict[str, Any]) -> bytes:
    """An event of the stream itself, which has no id: the client's last one stays what it was."""
    return f"event: {name}\ndata: {json.dumps(values)}\n\n".encode()


async def frames(fanout: Fanout, job: str, after: int) -> AsyncGenerator[bytes]:
    """A job's events later than ``after``, then ``end``; ``cut`` where the stream ends before the job does."""
    yield f"retry: {RETRY}\n\n".encode()
    try:
        async with aclosing(fanout.events(job, after)) as batches:
            async for batch in batches:
                if isinstance(batch, Over):
                    yield event("end", {"job": job, "state": batch.state})
                else:
                    yield b"".join(told.frame for told in batch) or KEEP_ALIVE
    except (TooSlowError, StoppingError) as error:
        log.info("job %s: a stream is cut: %s", job, error.found)
        yield event("cut", {"job": job, **body_of(error)})


class EventStream(Response):
    """An answer that goes on; it ends with its events, or when the client has gone or takes nothing for too long.

    Args:
        content: what is sent, piece by piece.
        seconds: that the client may take to accept a piece.
    """

    media_type = "text/event-stream"

    def __init__(self, content: AsyncGenerator[bytes], job: str, seconds: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._content, self._job, self._seconds = content, job, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        tasks = {asyncio.ensure_future(self._send(send)), asyncio.ensure_future(_gone(receive))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if not task.cancelled():
                task.result()

    async def _send(self, send: Send) -> None:
        async with aclosing(self._content) as pieces:
            async for piece in pieces:
                try:
                    async with asyncio.timeout(self._seconds):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                except TimeoutError:
                    log.warning("job %s: a listener took nothing for %g s and is let go", self._job, self._seconds)
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def position(given: str, job: str) -> int:
    """The number of an event's id, ``<job>:<number>`` or the number alone; "" = 0, before the first.

    Raises:
        TsadError: it is none of this job.
    """
    name, colon, number = given.rpartition(":")
    if not given:
        return 0
    if (colon and name != job) or not number.isascii() or not number.isdigit() or len(number) > 15:
        raise TsadError(f"{given[:80]!r} is no id of an event of job {job}", "Send the last event's id as it came.")
    return int(number)
