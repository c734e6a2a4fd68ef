"""The one body of every error, and which status each has."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tsad.core.errors import (
    CacheError,
    ClaimError,
    ConfigError,
    DatasetError,
    DetectorError,
    EmbeddingError,
    EngineError,
    FileNameError,
    InUseError,
    JobError,
    LabelError,
    LoopError,
    MissingPackageError,
    QueueError,
    RegistryError,
    ReviewError,
    SeriesError,
    SourceError,
    StorageError,
    TimeUpError,
    TooManyJobsError,
    TrackingError,
    TrainingError,
    TsadError,
    UnexplainedError,
    UnknownJobError,
    UnknownLoopError,
    UnknownNameError,
    UnknownPointError,
    UnknownVersionError,
    UploadError,
    UploadTooLargeError,
)
from tsad.core.labels import labels

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = logging.getLogger("tsad")

# The first class that an error is of decides.
STATUSES: tuple[tuple[type[TsadError], int], ...] = (
    (UnknownNameError, 404), (UnknownPointError, 404), (UnknownLoopError, 404), (UnknownJobError, 404),
    (UnknownVersionError, 404), (TooManyJobsError, 429), (JobError, 409), (QueueError, 503), (ClaimError, 409),
    (RegistryError, 503), (TrackingError, 503), (SourceError, 503), (ReviewError, 422), (SeriesError, 422),
    (ConfigError, 422), (FileNameError, 422), (EngineError, 503), (DetectorError, 422), (TrainingError, 422),
    (UnexplainedError, 422), (LabelError, 422), (TimeUpError, 503),
    (UploadTooLargeError, 413), (UploadError, 422), (InUseError, 409), (StorageError, 507), (LoopError, 409),
    (DatasetError, 422), (EmbeddingError, 422), (CacheError, 503), (MissingPackageError, 501),
)  # fmt: skip


class RequestRefused(TsadError):
    """A request that is refused before anything is done for it.

    Args:
        status: of HTTP. headers: of the answer, e.g. ``Retry-After``.
    """

    def __init__(self, status: int, found: str, remedy: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(found, remedy)
        self.status, self.headers = status, dict(headers or {})


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What an endpoint says of its errors in ``/openapi.json``, to be given as ``responses``."""
    body = {"$ref": "#/components/schemas/Error"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {"application/json": {"schema": body}}}
        for status in statuses
    }


def status_of(error: TsadError) -> int:
    """The status of HTTP that an error has; 500 where none is named."""
    if isinstance(error, RequestRefused):
        return error.status
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def body_of(error: TsadError) -> dict[str, Any]:
    """What an answer says of an error: its name, what was found, what to do, and a number to find it by in the log."""
    number = labels().get("request_id") or uuid.uuid4().hex[:16]
    return {"code": type(error).__name__, "message": error.found, "remedy": error.remedy, "request_id": number}


def install(app: FastAPI) -> None:
    """Every error of the application as that body; what nobody has foreseen tells nothing of the inside."""

    @app.exception_handler(TsadError)
    async def named(request: Request, error: TsadError) -> Response:
        return _answer(request, error, status_of(error), error.headers if isinstance(error, RequestRefused) else {})

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        refusal = RequestRefused(error.status_code, str(error.detail), "See /openapi.json for what there is.")
        return _answer(request, refusal, error.status_code, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        # Not what was sent: it may hold a token.
        where = ", ".join(sorted({".".join(map(str, one["loc"])) for one in error.errors()}))
        refusal = RequestRefused(422, f"the request does not fit: {where}", "See /openapi.json.")
        return _answer(request, refusal, 422, {})

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, _: ClientDisconnect) -> Response:
        log.info("%s %s: who asked has left before all was said", request.method, request.url.path)
        return _answer(request, RequestRefused(400, "the body broke off", "Send it again."), 400, {})

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        log.error("%s %s: %s", request.method, request.url.path, type(error).__name__, exc_info=error)
        return _answer(request, TsadError("something nobody has foreseen", "See the service's log."), 500, {})


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>tsad: {code}</title>
<link rel="stylesheet" href="/assets/page.css"><main><h1>{code}</h1><p class="error">{message}. {remedy}</p>
<p><a href="/">Overview</a> <span class="quiet">request {request_id}</span></p></main></html>"""


def _answer(request: Request, error: TsadError, status: int, headers: Mapping[str, str]) -> Response:
    """As JSON; as a page where a browser has asked for one."""
    body = body_of(error)
    if status >= 500:
        log.warning("%s %s (%s): %s", request.method, request.url.path, body["request_id"], error)
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/"):
        page = PAGE.format(**{key: escape(str(value)) for key, value in body.items()})
        return HTMLResponse(page, status, dict(headers))
    return JSONResponse(body, status, dict(headers))


def table() -> list[tuple[str, int, str]]:
    """Every error that an answer may name: its code (the command line's name of it, too), its status, what it means."""
    kinds, found = [TsadError], list[type[TsadError]]()
    while kinds:
        kind = kinds.pop()
        found.append(kind)
        kinds += kind.__subclasses__()
    own = [kind for kind in found if kind.__module__ == TsadError.__module__ and kind is not TsadError]
    return sorted((kind.__name__, status_of(kind("")), (kind.__doc__ or "").partition("\n")[0]) for kind in own)
