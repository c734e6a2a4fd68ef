"""Jobs over HTTP: verbs begun, watched, stopped, begun again, deleted; their logs and answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import State

from tsad.config.workbench import Workbench
from tsad.core.errors import JobError, TooManyJobsError, TsadError, UnknownJobError
from tsad.core.serving import Verbs
from tsad.jobs.board import MOST_LENGTH, MOST_WORDS, JobBoard, Submitted
from tsad.jobs.dispatch import Dispatcher
from tsad.service.bodies import json_of
from tsad.service.errors import RequestRefused, documented
from tsad.service.json_bodies import Asked, described, fitting
from tsad.service.tail import GONE

BODY = 256 * 1024  # bytes of a submission
CHUNK = 256 * 1024  # bytes of a log in one answer, unless fewer are asked for
POLL, KEEP_ALIVE = 0.25, 15.0  # seconds between two looks at a log, and between two signs of life
RETRY_AFTER = "10"  # seconds, where too many jobs wait
STREAM = "text/event-stream"
JobId = Annotated[str, InPath(pattern="^[0-9a-f]{32}$", description="as POST /jobs gave it")]
States = Literal["pending", "running", "paused", "succeeded", "failed", "stopped"]


class JobRequest(Asked):
    """A verb to be run as a job, and what is typed behind it on the command line."""

    verb: str = Field(min_length=1, max_length=40)
    overrides: list[Annotated[str, Field(max_length=MOST_LENGTH)]] = Field(default=[], max_length=MOST_WORDS)


@contextmanager
def dispatching(bench: Workbench, verbs: Verbs) -> Iterator[JobBoard]:
    """The jobs of the store, begun on this host while the block runs."""
    board = JobBoard(bench, verbs)
    with Dispatcher(board).dispatching():
        yield board
    board.close()


def jobs(board: JobBoard) -> APIRouter:
    """Everything below ``/jobs``."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])
    _submission(router, board)
    _looking(router, board)
    _control(router, board)
    _logs(router, board)
    return router


def _submission(router: APIRouter, board: JobBoard) -> None:
    @router.post(
        "", status_code=201, openapi_extra=described(JobRequest),
        responses={
            200: {"description": "The same job is open already, or this key's is: it is answered"},
            **documented(400, 401, 408, 409, 413, 422, 429, 503),
        },
    )  # fmt: skip
    async def submit(
        request: Request, response: Response,
        idempotency_key: Annotated[str, Header(max_length=200, description="the same key is the same job, ever")] = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Have a verb run; the same verb with the same overrides is one job while it is open."""
        asked = fitting(JobRequest, await json_of(request, BODY))
        submitted = await run_in_threadpool(_submitted, board, asked, idempotency_key)
        response.status_code = 201 if submitted.new else 200
        response.headers["Location"] = f"{request.url.path}/{submitted.job.id}"
        return submitted.job.to_json()


def _submitted(board: JobBoard, asked: JobRequest, key: str) -> Submitted:
    try:
        return board.submit(asked.verb, asked.overrides, key)
    except TooManyJobsError as error:
        raise RequestRefused(429, error.found, error.remedy, {"Retry-After": RETRY_AFTER}) from error


def _looking(router: APIRouter, board: JobBoard) -> None:
    @router.get("", responses=documented(401, 422, 503))
    def listed(
        state: States | None = None,
        verb: Annotated[str, Query(max_length=40)] = "",
        loop: Annotated[str, Query(max_length=100)] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    ) -> dict[str, Any]:
        """Jobs without their answers, newest first."""
        items, total = board.list(state or "", verb, loop, limit, offset)
        return {"items": [job.to_json() for job in items], "total": total, "limit": limit, "offset": offset}

    @router.get("/{job_id}", responses=documented(401, 404, 422, 503))
    def one(job_id: JobId) -> dict[str, Any]:
        """A job: where it stands, how far it is, and what it answered."""
        return board.get(job_id).to_json()

    @router.get("/{job_id}/result", responses=documented(401, 404, 409, 422, 503))
    def result(job_id: JobId) -> dict[str, Any]:
        """What the verb answered, alone; 409 while it has not, and where it never will."""
        job = board.get(job_id)
        if job.answer is None:
            why = job.exit or job.state
            raise JobError(f"job {job_id} has no answer: {why}", "GET /jobs/{id} tells where it stands.")
        return dict(job.answer)


def _control(router: APIRouter, board: JobBoard) -> None:
    answers = documented(401, 404, 409, 422, 429, 503)

    @router.post("/{job_id}/stop", responses=answers)
    def stop(job_id: JobId) -> dict[str, Any]:
        """Have it stop where nothing is lost; after ``service.stop_seconds`` its process is ended."""
        return board.stop(job_id).to_json()

    @router.post("/{job_id}/pause", responses=answers)
    def pause(job_id: JobId) -> dict[str, Any]:
        """Have it wait at its next safe point."""
        return board.pause(job_id).to_json()

    @router.post("/{job_id}/resume", responses=answers)
    def resume(job_id: JobId) -> dict[str, Any]:
        """Have it go on after a pause."""
        return board.resume(job_id).to_json()

    @router.post("/{job_id}/checkpoint", responses=answers)
    def checkpoint(job_id: JobId) -> dict[str, Any]:
        """Have it keep its state at its next safe point, where it can."""
        return board.checkpoint(job_id).to_json()

    @router.post("/{job_id}/retry", responses=answers)
    def retry(job_id: JobId) -> dict[str, Any]:
        """Have a failed or stopped job begun again, under its id."""
        try:
            return board.retry(job_id).to_json()
        except TooManyJobsError as error:
            raise RequestRefused(429, error.found, error.remedy, {"Retry-After": RETRY_AFTER}) from error

    @router.delete("/{job_id}", status_code=204, responses=answers)
    def delete(job_id: JobId) -> Response:
        """Delete an ended job, its log and its events."""
        board.delete(job_id)
        return Response(status_code=204)


def _logs(router: APIRouter, board: JobBoard) -> None:
    @router.get("/{job_id}/log", responses=documented(401, 404, 422, 503))
    def log(
        job_id: JobId,
        offset: Annotated[int, Query(ge=0, le=2**60, description="bytes of it that are known already")] = 0,
        limit: Annotated[int, Query(ge=4, le=CHUNK)] = CHUNK,
    ) -> dict[str, Any]:
        """A part of what its process said: ``text``, and ``next``, the offset of what comes behind it."""
        ended = board.get(job_id).ended is not None  # before its log is read: nothing comes later than that
        text, behind, size = _part(board.log(job_id), offset, limit)
        return {"text": text, "offset": offset, "next": behind, "size": size, "ended": ended}

    @router.get(
        "/{job_id}/log/stream", response_class=StreamingResponse,
        responses={200: {"content": {STREAM: {"schema": {"type": "string"}}}}, **documented(401, 404, 422, 503)},
    )  # fmt: skip
    async def stream(
        request: Request, job_id: JobId, last_event_id: Annotated[str, Header(max_length=30)] = "",
    ) -> Response:  # fmt: skip
        """The same as it comes, as server-sent events: ``log`` with text; ``end`` with the job when it has ended.

        Each event's id is the offset behind it: who comes back with ``Last-Event-ID`` misses nothing.
        """
        await run_in_threadpool(board.get, job_id)
        begin = int(last_event_id) if last_event_id.isascii() and last_event_id.isdecimal() else 0
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        told = _told(board, job_id, min(begin, 2**60), request.app.state)
        return StreamingResponse(told, media_type=STREAM, headers=headers)


async def _told(board: JobBoard, job_id: str, offset: int, app: State) -> AsyncIterator[str]:
    """The log from an offset on, as events, until the job has ended, or the service."""
    quiet, log = 0.0, await run_in_threadpool(board.log, job_id)
    while not getattr(app, "stopping", False):
        is_open = await run_in_threadpool(_is_open, board, job_id)  # before its log is read: nothing comes after that
        text, offset, size = await run_in_threadpool(_part, log, offset, CHUNK)
        if text:
            yield _event("log", {"text": text}, offset)
            quiet = 0.0
        if offset < size:
            continue
        how = None if is_open else await run_in_threadpool(_end_of, board, job_id)
        if how is not None:
            yield _event("end", how, offset)
            return
        await asyncio.sleep(POLL)
        quiet += POLL
        if quiet >= KEEP_ALIVE:
            yield ": still here\n\n"
            quiet = 0.0


def _is_open(board: JobBoard, job_id: str) -> bool:
    """Whether there may come more; while the store does not answer nobody knows."""
    try:
        return board.is_open(job_id)
    except TsadError:
        return True


def _end_of(board: JobBoard, job_id: str) -> dict[str, Any] | None:
    """How a job has ended; ``None`` = it is younger than the look at what is open, or nobody knows."""
    try:
        job = board.get(job_id)
    except UnknownJobError:
        return {"state": GONE, "exit": "it was deleted", "error": None}
    except TsadError:
        return None
    return {"state": job.state, "exit": job.exit, "error": job.error} if job.ended is not None else None


def _event(kind: str, values: Mapping[str, Any], number: int) -> str:
    return f"event: {kind}\nid: {number}\ndata: {json.dumps(values, ensure_ascii=False)}\n\n"


def _part(log: Path | str, offset: int, limit: int) -> tuple[str, int, int]:
    """Text of a log from an offset on, the offset behind it, and the log's size, in bytes of UTF-8."""
    if isinstance(log, str):
        content = log.encode()
        size, part = len(content), content[offset : offset + limit]
    else:
        try:
            with log.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(min(offset, size))
                part = file.read(limit)
        except FileNotFoundError:  # nothing was said yet
            return "", offset, offset
    whole = _whole(part) if offset + len(part) < size else part
    return whole.decode(errors="replace"), offset + len(whole), max(size, offset)


def _whole(part: bytes) -> bytes:
    """Without the beginning of a sign whose end is not there yet."""
    for back in range(1, min(4, len(part)) + 1):
        byte = part[-back]
        if byte & 0xC0 != 0x80:  # the first byte of a sign
            length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return part if length <= back else part[:-back] or part
    return part
