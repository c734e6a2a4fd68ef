"""Series over HTTP: points in pages, a preview that a page can draw, a picture."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response

from tsad.core.results import Result
from tsad.plots.little import series_picture
from tsad.service.answers import SVG, Limit, LoopName, Offset, answer, asked_loop, page, picture
from tsad.service.errors import documented
from tsad.steps.points import SeriesWanted, SpanWanted, points_of, preview_of, series_wanted

if TYPE_CHECKING:
    from tsad.core.series import Series
    from tsad.service.site import Site

Moment = Annotated[str, Query(description="ISO 8601 (UTC where it names no zone), or an index.", max_length=40)]
Upload = Annotated[str, Query(description="Read it from this upload.", max_length=100)]
FromSource = Annotated[str, Query(description="Part of what it was read from, where several have it.", max_length=1000)]
REFUSALS = documented(401, 404, 422, 503)
MOST_VALUES = 1_000_000  # of one answer, over all channels


@dataclass(frozen=True, eq=False)
class PointName(Result):
    """A point of a source, described in words."""

    point: str
    source: str


@dataclass(frozen=True)
class Which:
    """Which series of the name: of the upload that is named, of the loop's source, else of what the store holds."""

    upload: Upload = ""
    source: FromSource = ""
    loop: LoopName = ""


Selected = Annotated[Which, Depends()]


def series(site: Site) -> APIRouter:
    """``/series/{point}/points``, ``/preview`` and ``/picture``; ``/source/points``."""
    router = APIRouter(tags=["data"])
    _names(router, site)

    def wanted(point: str, which: Which, span: SpanWanted) -> Series:
        bench = asked_loop(site, which.loop) if which.loop else site.bench
        return series_wanted(bench, SeriesWanted(point, which.upload, which.source, own=bool(which.loop)), span)

    @router.get("/series/{point:path}/points", responses=REFUSALS)
    def points(
        point: str, which: Selected, start: Moment = "", end: Moment = "",
        limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
    ) -> JSONResponse:  # fmt: skip
        """Its points in ``[start, end)``, at most ``limit``; ``next`` is the ``start`` of what follows.

        Of the upload that is named, of the source of the loop that is named, else of what the store holds.
        """
        found = wanted(point, which, SpanWanted(start, end))
        return answer(points_of(found, min(limit, max(1, MOST_VALUES // found.values.shape[1]))))

    @router.get("/series/{point:path}/preview", responses=REFUSALS)
    def preview(
        point: str, which: Selected, rows: Annotated[int, Query(ge=1, le=1000)] = 20,
        points: Annotated[int, Query(ge=50, le=20_000, description="To plot, about.")] = 1000,
    ) -> JSONResponse:  # fmt: skip
        """Its first rows, and few enough points to plot that look as all of them do."""
        return answer(preview_of(wanted(point, which, SpanWanted()), rows, points))

    @router.get(
        "/series/{point:path}/picture", response_class=Response,
        responses={200: {"description": "A drawing", "content": {SVG: {}}}, **REFUSALS},
    )  # fmt: skip
    def drawn(point: str, which: Selected, start: Moment = "", end: Moment = "") -> Response:
        """The whole of it, or a part, as SVG; what is labelled is marked."""
        found = wanted(point, which, SpanWanted(start, end))
        return picture(series_picture(found, found.labels or ()))

    return router


def _names(router: APIRouter, site: Site) -> None:
    @router.get("/source/points", responses=REFUSALS)
    def names(
        loop: LoopName = "", name: Annotated[str, Query(description="A pattern of points.", max_length=300)] = "",
        limit: Limit = 50, offset: Offset = 0,
    ) -> JSONResponse:  # fmt: skip
        """Names of the points that a loop's source has, whether anything of them was read yet or not."""
        source = asked_loop(site, loop).make_source()
        try:
            found = [PointName(p, source.describe()) for p in source.points() if not name or fnmatchcase(p, name)]
        finally:
            source.close()
        return page(found, limit, offset)
