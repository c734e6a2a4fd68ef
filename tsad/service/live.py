"""How training goes, over HTTP: the newest figures, those since an event, a stream of them, and a hand on the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from tsad.core.errors import TsadError
from tsad.core.results import Result
from tsad.jobs.folder import JobFolder
from tsad.service.bodies import json_of
from tsad.service.errors import RequestRefused, documented
from tsad.service.fanout import Fanout
from tsad.service.json_bodies import Asked, described, fitting
from tsad.service.newest import Current, Newest
from tsad.service.streams import EventStream, frames, position
from tsad.service.tail import ENDED, Told, pages

BODY = 4096  # bytes
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events until the job ends", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    204: {"description": "The job has ended and the client has everything: it need not come back"},
    **documented(401, 404, 422, 503),
}
PAGE = 1000  # events that one answer holds at most
JobId = Annotated[str, Query(pattern="^([0-9A-Za-z]{1,64})?$", description='A job; "" = the newest that runs.')]
Since = Annotated[str, Query(max_length=100, description="Id of an event; what came later is told. '' = all.")]
Kind = Literal["metrics", "note", "state", "progress"]


class Jobs(Protocol):
    """The jobs of the store; what is asked of one blocks for as long as the store takes."""

    def get(self, job_id: str) -> Any: ...

    def list(self, state: str = "", verb: str = "", loop: str = "", limit: int = 50, offset: int = 0) -> Any: ...

    def stop(self, job_id: str) -> Any: ...

    def pause(self, job_id: str) -> Any: ...

    def resume(self, job_id: str) -> Any: ...

    def checkpoint(self, job_id: str) -> Any: ...


class ControlBody(Asked):
    """What is asked of a job."""

    job: str
    action: Literal["stop", "pause", "resume", "checkpoint"]


@dataclass(frozen=True, eq=False)
class History(Result):
    """Events of a job, oldest first.

    Attributes:
        last: id of the last event that was looked at, to ask for what comes later.
        more: whether there are later ones already.
    """

    job: str
    items: tuple[Mapping[str, Any], ...]
    last: str
    more: bool


class Training:
    """The jobs that are watched and asked. Its calls read files and the store: not for the event loop."""

    def __init__(self, jobs: Jobs, fanout: Fanout, folder: Any) -> None:
        self._jobs, self.fanout, self._folder = jobs, fanout, folder
        self._newest = Newest()

    def named(self, job: str) -> str:
        """The id of a job that there is; "" = the newest that runs.

        Raises:
            UnknownJobError: there is none of that id. RequestRefused: 404: none runs.
        """
        if not job:
            running, _ = self._jobs.list(state="running", limit=1)
            if not running:
                raise RequestRefused(404, "no job runs", "Name one: ?job=ID; GET /api/v1/jobs lists them.")
            return str(running[0].id)
        if not self.folder(job).events_file.is_file():  # the store is asked only where there is no trace of it
            self._jobs.get(job)
        return job

    def folder(self, job: str) -> JobFolder:
        """Where the job's process writes."""
        folder: JobFolder = self._folder(job)
        return folder

    def current(self, job: str) -> Current:
        """The newest value of every figure."""
        return self._newest.of(job, self.folder(job).events_file)

    def history(self, job: str, since: int, kinds: tuple[str, ...], most: int) -> History:
        """At most ``most`` events of these kinds later than ``since``."""
        items: list[Told] = []
        last, more = since, False
        for page in pages(job, self.folder(job).events_file, since, PAGE):
            for told in page:
                if len(items) == most:
                    more = True
                    break
                last = told.id
                items += [told] if told.kind in kinds else []
            if more:
                break
        told_items = tuple({"id": t.id, "at": t.at, "kind": t.kind, "values": t.values} for t in items)
        return History(job, told_items, f"{job}:{last}", more)

    def ask(self, job: str, action: str) -> Any:
        """Ask a job to stop, pause, resume or keep its state; the job as it is then.

        Raises:
            JobError: it has ended. UnknownJobError: there is none.
        """
        return {
            "stop": self._jobs.stop, "pause": self._jobs.pause, "resume": self._jobs.resume,
            "checkpoint": self._jobs.checkpoint,
        }[action](job)  # fmt: skip


def live(training: Training) -> APIRouter:
    """The endpoints, to be put under ``/api/v1``."""
    router = APIRouter(tags=["live"])
    _figures(router, training)
    _stream(router, training)

    @router.post(
        "/training/control", responses=documented(400, 401, 403, 404, 408, 409, 413, 422),
        openapi_extra=described(ControlBody),
    )  # fmt: skip
    async def control(request: Request) -> dict[str, Any]:
        """Stop, pause, resume or checkpoint a job at its next safe point; the job as it is then."""
        asked = fitting(ControlBody, await json_of(request, BODY))
        job = await run_in_threadpool(training.ask, asked.job, asked.action)
        answer: dict[str, Any] = job.to_json()
        return answer

    return router


def _figures(router: APIRouter, training: Training) -> None:
    """The newest figures, and those of before."""

    @router.get("/metrics/current", responses=documented(401, 404, 422))
    def current(job: JobId = "") -> dict[str, Any]:
        """The newest loss, learning rate, gradient norm, validation figures, examples per second, memory of a job."""
        return training.current(training.named(job)).to_json()

    @router.get("/metrics/history", responses=documented(401, 404, 422))
    def history(
        job: JobId = "", since: Since = "", kind: Annotated[list[Kind] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 500,
    ) -> dict[str, Any]:  # fmt: skip
        """What a job told since an event; of kind ``metrics`` unless others are named."""
        named = training.named(job)
        return training.history(named, _position(since, named), tuple(kind or ["metrics"]), limit).to_json()


def _stream(router: APIRouter, training: Training) -> None:
    """What a job tells, as it tells it."""
    fanout = training.fanout

    @router.get("/stream/metrics", response_class=Response, responses=STREAMED)
    async def stream(
        job: JobId = "", since: Since = "", last_event_id: Annotated[str, Header(max_length=100)] = ""
    ) -> Response:
        """What a job tells, as server-sent events: ``metrics``, ``note``, ``state``, ``progress``, at last ``end``.

        Each has the id ``<job>:<number>``. A client that comes back with the last one as ``Last-Event-ID`` misses
        nothing and gets nothing twice. ``cut`` ends the stream of a client that is too slow, and of a service that
        stops: come back.
        """
        given = last_event_id or since
        named = await run_in_threadpool(training.named, job or given.rpartition(":")[0])
        after = _position(given, named)
        last, state = await fanout.last(named, after)
        refuse_ahead(named, after, last)
        if last_event_id and after == last and state in ENDED:
            return Response(status_code=204)
        return EventStream(frames(fanout, named, after), named, fanout.pace.send)


def refuse_ahead(job: str, after: int, last: int) -> None:
    """Refuse an id that no event has yet: what comes up to it would never be told. Raises RequestRefused: 422."""
    if after > last:
        raise RequestRefused(422, f"job {job} has no event {after}: its last is {last}", "Begin with an older id.")


def _position(given: str, job: str) -> int:
    try:
        return position(given, job)
    except TsadError as error:
        raise RequestRefused(422, error.found, error.remedy) from None
