"""``/predict``: one series or many, JSON or CSV in and out."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from tsad.loop.predicting import AnswerParts
from tsad.service.asked import (
    VERSION,
    BatchAsked,
    PredictAsked,
    Question,
    parsed,
    question_of,
    questions_of,
    series_of_csv,
)
from tsad.service.bodies import body_of, read_aside
from tsad.service.described import ANSWER, ANSWERS, CSV, accepts
from tsad.service.errors import RequestRefused, documented

if TYPE_CHECKING:
    from tsad.service.predictor import Predictor
    from tsad.service.site import Site

FAILURES = documented(400, 401, 404, 408, 409, 413, 415, 422, 429, 500, 501, 503)
COLUMNS = ("point_id", "start", "end", "score", "label", "note", "model_version")
JSON_TYPE, CSV_TYPE = "application/json", "text/csv"


def predict(site: Site, predictor: Predictor) -> APIRouter:
    """``POST /predict`` and ``POST /predict/batch``."""
    router, most = APIRouter(tags=["predict"]), site.standing.bounds.body

    @router.post("/predict", responses={200: _ok(ANSWER), **FAILURES}, openapi_extra=accepts(PredictAsked, CSV))
    async def one(
        request: Request,
        loop: Annotated[str, Query(max_length=300)] = "",
        version: Annotated[str, Query(pattern=VERSION)] = "champion",
        point_id: Annotated[str, Query(min_length=1, max_length=300)] = "series",
        explain: bool = False,
    ) -> Response:
        """What a version says of a series: intervals, and on request scores and explanations.

        The parameters are for a body of CSV, read as the service's source reads files; the answer then has items. With
        ``Accept: text/csv`` it is a table of intervals.
        """
        with predictor.gate.admitted():  # before anything of it is read: so many bodies are held at once, and no more
            kind, body = _type_of(request, JSON_TYPE, CSV_TYPE), await body_of(request, most)
            if kind == CSV_TYPE:
                series = await run_in_threadpool(series_of_csv, body, point_id, site.bench)
                question = Question(loop, version, AnswerParts(explain=explain), series, many=True)
            else:
                question = await read_aside(body, _one, predictor.gate.reading)
            return await _answered(request, predictor, question)

    @router.post("/predict/batch", responses={200: _ok(ANSWERS), **FAILURES}, openapi_extra=accepts(BatchAsked))
    async def batch(request: Request) -> Response:
        """What one version says of several series, in order; where one cannot be scored its item has ``error``."""
        with predictor.gate.admitted():
            _type_of(request, JSON_TYPE)
            body = await body_of(request, most)
            question = await read_aside(body, _several, predictor.gate.reading)
            return await _answered(request, predictor, question)

    @router.get("/predict/models", responses=documented(401, 500, 503))
    def models() -> dict[str, Any]:
        """Versions in memory, the last one asked for at the end; ``restarts`` of the process with them."""
        return {"items": predictor.models(), "restarts": predictor.process.restarts}

    return router


def _one(body: bytes) -> Question:
    return question_of(parsed(PredictAsked, body))


def _several(body: bytes) -> Question:
    return questions_of(parsed(BatchAsked, body))


async def _answered(request: Request, predictor: Predictor, question: Question) -> Response:
    """The answer in the form that is asked for."""
    as_table = CSV_TYPE in request.headers.get("accept", "")
    if as_table and (question.wanted.scores or question.wanted.explain):
        found = "a table of intervals has no room for scores and explanations"
        raise RequestRefused(422, found, f"Ask for {JSON_TYPE}.")
    body = await predictor.turn(question)
    if not as_table:
        return Response(body, media_type=JSON_TYPE)
    return Response(await run_in_threadpool(_table, body), media_type=CSV_TYPE)


def _table(body: bytes) -> str:
    """An answer as a table of its intervals.

    Raises:
        RequestRefused: 422: of one of its series there are none.
    """
    answer: dict[str, Any] = json.loads(body)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for item in answer.get("items", [answer]):
        if "error" in item:
            found = f"{item['point_id']}: {item['error']['message']}"
            raise RequestRefused(422, found, item["error"]["remedy"])
        about = {"point_id": _plain(item["point_id"]), "model_version": item["model_version"]}
        for interval in item["intervals"]:
            shown = {**about, **interval, "label": _plain(interval["label"]), "note": _plain(interval["note"])}
            rows.writerow([shown[name] for name in COLUMNS])
    return text.getvalue()


def _plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _type_of(request: Request, *known: str) -> str:
    """Of which type the body is; the first one where the request does not say.

    Raises:
        RequestRefused: 415: of another.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower() or known[0]
    if kind not in known:
        raise RequestRefused(415, "the body is of a type that is not read here", f"Send {' or '.join(known)}.")
    return kind


def _ok(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "What the version says", "content": schema}
