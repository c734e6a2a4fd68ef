"""``/predict/points/{point}``: values as they are measured; the answer is what has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from tsad.core.series import Series
from tsad.service.asked import AppendAsked, parsed, require_few, series_asked
from tsad.service.bodies import body_of, read_aside
from tsad.service.described import CHANGED, accepts
from tsad.service.errors import documented

if TYPE_CHECKING:
    from tsad.service.predictor import Predictor
    from tsad.service.site import Site

FAILURES = documented(400, 401, 404, 408, 409, 413, 422, 429, 500, 501, 503, 507)
PointName = Annotated[str, Path(min_length=1, max_length=300)]


def streaming(site: Site, predictor: Predictor) -> APIRouter:
    """``POST`` and ``DELETE /predict/points/{point}``."""
    router, most = APIRouter(tags=["predict"]), site.standing.bounds.body
    content = {"description": "What has changed", "content": {"application/json": {"schema": CHANGED}}}

    @router.post(
        "/predict/points/{point_id:path}",
        responses={200: content, **FAILURES},
        openapi_extra=accepts(AppendAsked),
    )
    async def append(request: Request, point_id: PointName) -> Response:
        """Take the newest values of a point in; what is proposed now that was not before, and the other way round.

        So many of its newest values are held as ``service.stream_points`` says. Values of a time that is held replace
        those: the same request again changes nothing. Explanations are ``/predict``'s.
        """
        with predictor.gate.admitted():
            body = await body_of(request, most)
            asked, series = await read_aside(body, lambda data: _read(data, point_id), predictor.gate.reading)
            return Response(await predictor.append(asked, series), media_type="application/json")

    @router.delete("/predict/points/{point_id:path}", responses=documented(401, 404, 409, 422, 500, 503))
    async def forget(point_id: PointName, loop: Annotated[str, Query(max_length=300)] = "") -> dict[str, Any]:
        """Forget what is held of a point: its next values begin it anew."""
        return await run_in_threadpool(predictor.forget, loop, point_id)

    return router


def _read(body: bytes, point_id: str) -> tuple[AppendAsked, Series]:
    asked = parsed(AppendAsked, body)
    require_few([asked])
    return asked, series_asked(asked.model_copy(update={"point_id": point_id}), piece=True)
