"""What jobs have left, over HTTP: their files one by one or as an archive; ended jobs deleted in a batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends
from fastapi import Path as PathPart
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field

from tsad.core.errors import JobError, UnknownNameError
from tsad.core.results import Result
from tsad.service.answers import Limit, Offset, answer, page
from tsad.service.downloads import ARCHIVE, FILE, archive, download
from tsad.service.errors import documented
from tsad.service.json_bodies import Asked, asked, described

if TYPE_CHECKING:
    from tsad.jobs.board import JobBoard
    from tsad.tracking.job_files import JobFile

REFUSALS = documented(401, 404, 422, 503)
JobId = Annotated[str, PathPart(pattern="^[0-9a-f]{32}$", description="As POST /jobs gave it.")]
OneId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


@dataclass(frozen=True, eq=False)
class ResultFile(Result):
    """A file of a job; ``run``: the MLflow run that has it."""

    name: str
    bytes: int
    run: str


@dataclass(frozen=True, eq=False)
class JobsDeleted(Result):
    """Jobs that are gone."""

    deleted: tuple[str, ...]


class JobsToDelete(Asked):
    """A batch of ended jobs: all of them go, or none where one has not ended."""

    ids: list[OneId] = Field(min_length=1, max_length=500)


def results(board: JobBoard) -> APIRouter:
    """``/jobs/{job_id}/results`` and ``/jobs/delete``."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])

    def files(job_id: str) -> list[JobFile]:
        from tsad.tracking.job_files import files_of_job

        board.get(job_id)
        return files_of_job(board.runs.store, job_id)

    @router.get("/{job_id}/results", responses=REFUSALS)
    def listed(job_id: JobId, limit: Limit = 50, offset: Offset = 0) -> JSONResponse:
        """Files that a job has left: its answer, its log, and the artifacts of every run that it made."""
        return page([ResultFile(file.name, file.bytes, file.run_id) for file in files(job_id)], limit, offset)

    @router.get("/{job_id}/results.zip", response_class=StreamingResponse, responses=ARCHIVE | REFUSALS)
    def packed(job_id: JobId) -> StreamingResponse:
        """All of them as a zip archive, made while it is sent."""
        from tsad.tracking.job_files import file_at_hand

        members = [(file.name, partial(file_at_hand, board.runs.store, file)) for file in files(job_id)]
        return archive(members, f"job-{job_id[:8]}.zip")

    @router.get("/{job_id}/results/{name:path}", response_class=StreamingResponse, responses=FILE | REFUSALS)
    def single(job_id: JobId, name: str) -> StreamingResponse:
        """One of them, by its name in the list."""
        from tsad.tracking.job_files import file_at_hand

        file = next((file for file in files(job_id) if file.name == name), None)
        if file is None:
            raise UnknownNameError(f"job {job_id} has no file {name!r}", "GET /api/v1/jobs/{id}/results lists them.")
        return download(partial(file_at_hand, board.runs.store, file), name.rpartition("/")[2])

    _deletes(router, board)
    return router


def _deletes(router: APIRouter, board: JobBoard) -> None:
    @router.post(
        "/delete", openapi_extra=described(JobsToDelete),
        responses=documented(400, 401, 404, 408, 409, 413, 422, 503),
    )  # fmt: skip
    def delete(wanted: Annotated[Any, Depends(asked(JobsToDelete))]) -> JSONResponse:
        """Delete ended jobs, their logs and events; the versions and reports that they made stay."""
        ids = tuple(dict.fromkeys(wanted.ids))
        running = [job.id for job in map(board.get, ids) if job.ended is None]
        if running:
            raise JobError(f"{len(running)} of {len(ids)} have not ended, e.g. {running[0]}", "Stop them first.")
        for job_id in ids:
            board.delete(job_id)
        return answer(JobsDeleted(ids))
