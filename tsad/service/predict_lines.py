"""``/predict/ndjson``: a series a line in, an answer a line out, as they come; who does not read is not read from."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from tsad.core.errors import TsadError
from tsad.service.asked import PredictAsked, parsed, question_of
from tsad.service.bodies import read_aside
from tsad.service.described import FAILED, PREDICTED, placed_schema
from tsad.service.errors import RequestRefused, documented

if TYPE_CHECKING:
    from tsad.service.predictor import Predictor
    from tsad.service.site import Site

log = logging.getLogger("tsad")
TYPE = "application/x-ndjson"
IDLE = 600.0  # seconds without a byte after which a stream is ended


def predict_lines(site: Site, predictor: Predictor) -> APIRouter:
    """``POST /predict/ndjson``."""
    router, most = APIRouter(tags=["predict"]), site.standing.bounds.body

    @router.post(
        "/predict/ndjson",
        responses={
            200: {"description": "An answer a line", "content": {TYPE: {"schema": {"anyOf": [PREDICTED, FAILED]}}}},
            **documented(401, 429, 500),
        },
        openapi_extra={"requestBody": {"required": True, "content": {TYPE: {"schema": placed_schema(PredictAsked)}}}},
    )
    async def lines(request: Request) -> Response:
        """Answers in the order of the lines, each as soon as it is there; a line that cannot be answered has ``error``.

        A client reads while it writes: what it does not read is not worked on beyond a few lines.
        """
        predictor.gate.require_room()
        return LinesResponse(_Stream(predictor, request, most), predictor.gate.bounds.seconds)

    return router


@dataclass(frozen=True, eq=False)
class _Stream:
    """One client's lines.

    Attributes:
        most: bytes of a line.
    """

    predictor: Predictor
    request: Request
    most: int

    async def answers(self) -> AsyncGenerator[bytes]:
        """Answers with their line's end, in order; so many lines are read ahead as are worked on at once."""
        ahead = self.predictor.gate.bounds.running
        room, begun = asyncio.Semaphore(ahead), asyncio.Queue[asyncio.Task[bytes] | None]()
        reading = asyncio.create_task(self._read(room, begun))
        waiting: asyncio.Task[bytes] | None = None
        try:
            while (waiting := await begun.get()) is not None:
                yield await waiting
                room.release()
        finally:
            reading.cancel()
            rest = [waiting, *(begun.get_nowait() for _ in range(begun.qsize()))]
            for task in rest:
                if task is not None:
                    task.cancel()

    async def _read(self, room: asyncio.Semaphore, begun: asyncio.Queue[asyncio.Task[bytes] | None]) -> None:
        """Begin to answer lines as there is room."""
        number = 0
        try:
            async for line in self._lines():
                number += 1
                await room.acquire()
                begun.put_nowait(asyncio.create_task(self._answer(number, line)))
        except TsadError as error:
            begun.put_nowait(asyncio.create_task(_refused(number + 1, error)))
        except (ClientDisconnect, TimeoutError):
            pass  # nobody is there any more who could be told
        finally:
            begun.put_nowait(None)

    async def _lines(self) -> AsyncIterator[bytes]:
        """The lines of the body that are not blank.

        Raises:
            RequestRefused: one is too long. TimeoutError: nothing came for long.
        """
        rest = bytearray()
        chunks = self.request.stream()
        while True:
            async with asyncio.timeout(IDLE):
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            rest += chunk
            if b"\n" in chunk:
                *whole, rest = rest.split(b"\n")
                for line in whole:
                    if line.strip():
                        yield bytes(line)
            if len(rest) > self.most:
                raise RequestRefused(413, f"the line is longer than {self.most} bytes", "Send less in a line.")
        if rest.strip():
            yield bytes(rest)

    async def _answer(self, number: int, line: bytes) -> bytes:
        try:
            question = await read_aside(
                line, lambda data: question_of(parsed(PredictAsked, data)), self.predictor.gate.reading
            )
            return await self.predictor.turn(replace(question, origin="ndjson")) + b"\n"
        except TsadError as error:
            return await _refused(number, error)
        except Exception as error:
            log.error("line %d of a stream failed: %s", number, type(error).__name__, exc_info=error)
            return await _refused(number, TsadError("something nobody has foreseen", "See the service's log."))


async def _refused(number: int, error: TsadError) -> bytes:
    said: dict[str, Any] = {"code": type(error).__name__, "message": error.found, "remedy": error.remedy}
    return json.dumps({"line": number, "error": said}, ensure_ascii=False).encode() + b"\n"


class LinesResponse(Response):
    """Sends lines as they are made, while the request's body is still being read.

    Starlette's own answer in pieces would listen for the client's end, and take the rest of the body for itself.

    Args:
        seconds: that a client may take to read a line; then it is cut off.
    """

    media_type = TYPE

    def __init__(self, stream: _Stream, seconds: float) -> None:
        self.status_code, self.background = 200, None
        self.init_headers(None)
        self._stream, self._seconds = stream, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`starlette.responses.Response`; the stream has one place at the gate as long as it lasts."""
        with self._stream.predictor.gate.admitted():
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                async with aclosing(self._stream.answers()) as answers:
                    async for line in answers:
                        await self._send(send, line, True)
                await self._send(send, b"", False)
            except TimeoutError:  # an end would be sent no sooner: the server cuts what has none
                log.info("a stream of lines is cut off: nobody has read its answers for %g s", self._seconds)

    async def _send(self, send: Send, line: bytes, more: bool) -> None:
        async with asyncio.timeout(self._seconds):
            await send({"type": "http.response.body", "body": line, "more_body": more})
