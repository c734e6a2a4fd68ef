"""Uploads over HTTP: streamed to disk within a limit, watched, and restarted where they were cut."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi import Path as PathPart
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from tsad.core.errors import UploadError
from tsad.files.unpack import plain_name, too_large
from tsad.service.answers import LoopName, answer, of_loop
from tsad.service.arriving import kept, refusals
from tsad.service.errors import RequestRefused, documented
from tsad.service.receiving import Receiver
from tsad.service.transfers import ID, RECEIVING, REGISTERED, Place, Transfers, check_room

if TYPE_CHECKING:
    from tsad.config.workbench import Workbench
    from tsad.service.site import Site

GB = 10**9
PIECE = 1 << 20  # bytes that are handed to a thread at a time
SLACK = 1 << 20  # bytes of a form that are no file: boundaries, headers, fields
IDLE = 60.0  # seconds in which something has to come
CHECKED_AT_ONCE = 2  # uploads that are read through validation: a file is in memory while it is
REFUSALS = (401, 404, 408, 409, 413, 422, 503, 507)
FORM: dict[str, Any] = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": ["file"], "properties": {
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "source": {"type": "string", "description": "Keys of source=csv as JSON, e.g. {\"separator\": \";\"}."},
    }}}}}}  # fmt: skip
RAW: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {
    "type": "string", "format": "binary"}}}}}  # fmt: skip
TransferId = Annotated[str, PathPart(pattern=ID, description="Of the transfer; the client chooses it.")]


class Door:
    """Where transfers arrive, and what lets them in."""

    def __init__(self, site: Site) -> None:
        self.site, self.most = site, int(site.options.upload_gb * GB)
        self.transfers = Transfers(site.home / "service" / "uploads" / "incoming")
        self._checking = CapacityLimiter(CHECKED_AT_ONCE)

    async def through(self, bench: Workbench, place: Place, keys: str) -> JSONResponse:
        """What has arrived, validated and kept; the answer says what it is like."""
        uploaded = await to_thread.run_sync(lambda: kept(bench, place, self.most, keys), limiter=self._checking)
        return answer(uploaded, 201, {"Location": f"/api/v1/uploads/{uploaded.registration.upload}"})


def uploads(site: Site) -> APIRouter:
    """``POST /uploads``, ``PUT /uploads/{transfer}`` and how far they are."""
    router, door = APIRouter(tags=["uploads"]), Door(site)
    _forms(router, door)
    _parts(router, door)

    @router.get("/uploads/{transfer}/progress", responses=documented(401, 404, 422))
    def progress(transfer: TransferId) -> JSONResponse:
        """How far a transfer is, and so where to go on with one that was cut."""
        found = door.transfers.find(transfer)
        if found is None:
            raise RequestRefused(404, f"there is no transfer {transfer}", "It is forgotten a day after it has ended.")
        return answer(found)

    return router


def _forms(router: APIRouter, door: Door) -> None:
    site, most, transfers = door.site, door.most, door.transfers

    @router.post("/uploads", status_code=201, openapi_extra=FORM, responses=documented(*REFUSALS))
    async def post(
        request: Request, transfer: Annotated[str | None, Query(pattern=ID)] = None, loop: LoopName = ""
    ) -> JSONResponse:
        """Hand in CSV files, gzipped ones, or zip files of them, as a form; the answer says what each is like."""
        bench = await run_in_threadpool(of_loop, site, loop)
        check_length(request, most, SLACK)
        async with (
            contextmanager_in_threadpool(transfers.working(transfer)) as place,
            contextmanager_in_threadpool(refusals(place)),
        ):
            await run_in_threadpool(place.begin, "", _length(request))
            receiver = Receiver(request.headers.get("content-type", ""), place.files, most, frozenset({"source"}))
            try:
                async for piece in pieces(request):
                    await run_in_threadpool(receiver.feed, piece)
                receiver.finish()
            finally:
                receiver.close()
            return await door.through(bench, place, receiver.fields.get("source", ""))


def _parts(router: APIRouter, door: Door) -> None:
    site, most, transfers = door.site, door.most, door.transfers

    @router.put(
        "/uploads/{transfer}", status_code=201, openapi_extra=RAW,
        responses={202: {"description": "More is to come"}, **documented(*REFUSALS, 416)},
    )  # fmt: skip
    async def put(
        request: Request, transfer: TransferId, name: Annotated[str, Query(max_length=400)], loop: LoopName = "",
        source: Annotated[str, Query(description="Keys of source=csv as JSON.", max_length=10_000)] = "",
        content_range: Annotated[str | None, Header(description="bytes FIRST-LAST/TOTAL of this part.")] = None,
    ) -> JSONResponse:  # fmt: skip
        """Hand in one file in parts, each with its ``Content-Range``; one that was cut goes on where it stands."""
        bench = await run_in_threadpool(of_loop, site, loop)
        begin, total = _range(content_range) if content_range is not None else (0, _length(request))
        part = FilePart(plain_name(name), begin, total, most)
        check_length(request, most)
        if total is not None and total > most:
            raise too_large(name, most)
        async with contextmanager_in_threadpool(transfers.working(transfer)) as place:
            received = await _appended(request, place, part)
            if total is not None and received < total:
                stands = await run_in_threadpool(place.say, RECEIVING)
                return answer(stands, 202, {"Range": f"bytes=0-{received - 1}"})
            async with contextmanager_in_threadpool(refusals(place)):
                return await door.through(bench, place, source)


@dataclass(frozen=True)
class FilePart:
    """A part of a file that comes by itself: where it begins, how long the whole file is, and may be."""

    name: str
    begin: int
    total: int | None
    most: int

    @property
    def end(self) -> int:
        """How long the file may become."""
        return self.most if self.total is None else min(self.most, self.total)


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of about a megabyte, the last one smaller.

    Raises:
        UploadError: it was cut; what had come by then has been given. RequestRefused: 408: nothing comes any more.
    """
    stream, held = request.stream().__aiter__(), bytearray()
    try:
        while True:
            async with asyncio.timeout(IDLE):
                chunk = await anext(stream, None)
            if chunk is None:
                break
            held += chunk
            if len(held) >= PIECE:
                yield bytes(held)
                held.clear()
    except TimeoutError as error:
        raise RequestRefused(408, f"nothing came for {IDLE:g} s", "Send it in one go, or in parts.") from error
    except ClientDisconnect as error:
        if held:
            yield bytes(held)
        raise UploadError("the upload was cut: its sender has gone", "Send it again.") from error
    if held:
        yield bytes(held)


def check_length(request: Request, most: int, slack: int = 0) -> None:
    """Refuse a body that says itself that it is larger, before any of it is read.

    Args:
        slack: bytes beside the files themselves.

    Raises:
        UploadTooLargeError: it is.
    """
    if (length := _length(request)) is not None and length > most + slack:
        raise too_large("the upload", most)


def _length(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _range(text: str) -> tuple[int, int]:
    """Where a part begins, and how long the whole file is."""
    match = re.fullmatch(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})", text.strip())
    if match is None or not int(match[1]) <= int(match[2]) < int(match[3]):
        raise RequestRefused(416, "Content-Range is no range of a file", "Send e.g. Content-Range: bytes 0-999/5000.")
    return int(match[1]), int(match[3])


async def _appended(request: Request, place: Place, part: FilePart) -> int:
    """Write what comes of a part; bytes of the file that there are now. What was cut stays, to be gone on with."""
    await run_in_threadpool(_prepare, place, part)
    reached = part.begin
    async for piece in pieces(request):
        if reached + len(piece) > part.end:
            await run_in_threadpool(place.clear)
            raise too_large(part.name, part.end)
        reached = await run_in_threadpool(place.append, part.name, reached, piece)
    return reached


def _prepare(place: Place, part: FilePart) -> None:
    """Make the place ready for a part.

    Raises:
        RequestRefused: 409: the part does not follow what has come. StorageError: no room for the rest.
    """
    before = place.stands()
    if before is not None and before.state == REGISTERED:
        raise RequestRefused(409, f"transfer {before.id} has become upload {before.upload}", "Choose another id.")
    going_on = before is not None and before.state == RECEIVING and before.name == part.name
    received = before.received if before is not None and going_on else 0
    if part.begin > received:
        headers = {"Range": f"bytes=0-{received - 1}"} if received else {}
        raise RequestRefused(409, f"{received} bytes of {part.name} have come", f"Go on at byte {received}.", headers)
    if part.begin == 0:
        place.begin(part.name, part.total)
    check_room(place.folder, (part.total or 0) - part.begin)
    place.append(part.name, part.begin, b"")
