"""The review queue over HTTP: windows and candidates with filters, one window, its pictures, batch actions."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathPart
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from tsad.core.reviews import Choice
from tsad.loop.candidates import CandidateTold, candidates_of, large_picture, no_window, small_picture, window_told
from tsad.loop.detect import DETECT
from tsad.loop.opening import open_loop
from tsad.loop.queue import queue_of
from tsad.loop.review_order import ReviewWords, review_words, reviewed_as
from tsad.loop.reviewing import WindowStanding, windows_of
from tsad.loop.reviews import reviews_of
from tsad.review.batch import WindowFilter
from tsad.service.answers import (
    SVG,
    Limit,
    LoopName,
    Offset,
    Sort,
    answer,
    asked_loop,
    in_order,
    of_loop,
    page,
    picture,
)
from tsad.service.bodies import json_of
from tsad.service.errors import RequestRefused, documented
from tsad.service.json_bodies import MOST

if TYPE_CHECKING:
    from tsad.config.workbench import Workbench
    from tsad.service.site import Site

HELD = 4  # queues whose windows are in memory for their pictures
REFUSALS = documented(401, 404, 409, 422, 503)
DRAWN = {200: {"description": "A drawing", "content": {SVG: {}}}, **REFUSALS}
State = Literal["pending", "accepted", "corrected", "annotated", "skipped", "conflict"]
WindowName = Annotated[str, PathPart(pattern=r"^[0-9a-f]{16}$", description="Id of the window.")]
ProposedBy = Annotated[str | None, Query(max_length=100, description="What any version of it proposed.")]
Score = Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class QueueFilter:
    """Which windows; what is left out lets every window pass.

    Attributes:
        series: a pattern of points. score_above, score_below: bounds of a score, the first inclusive.
    """

    loop: LoopName = ""
    state: State | None = None
    score_above: Score = None
    score_below: Score = None
    detector: ProposedBy = None
    version: Annotated[str | None, Query(max_length=200)] = None
    series: Annotated[str | None, Query(description="A pattern of points, e.g. U1.*", max_length=300)] = None
    kind: Annotated[str | None, Query(max_length=100)] = None

    @property
    def windows(self) -> WindowFilter:
        """The filter of windows, whose score is that which people see."""
        words = {"state": self.state, "score_above": self.score_above, "score_below": self.score_below,
                 "version": self.version, "point": self.series, "kind": self.kind}  # fmt: skip
        return dataclasses.replace(review_words(words).filter, detector=self.detector)


Filtered = Annotated[QueueFilter, Depends()]


class Queues:
    """The windows of the newest queues as they were drawn, held for their pictures; nothing in them changes."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[Workbench, dict[str, Choice]]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, bench: Workbench, window: str) -> tuple[Workbench, Choice]:
        """A window of any queue of the loop, of the newest that has it, and the workbench that it was drawn by.

        Args:
            bench: named as the loop; of its config nothing else counts.

        Raises:
            UnknownNameError: no queue has it.
        """
        loop = open_loop(bench)
        for iteration in reversed(loop.iterations()):
            record = iteration.finished(DETECT.name)
            if record is None:
                continue
            with self._lock:
                held = self._held.get(record.run_id)
            if held is None:
                own = bench.thaw(iteration.config_yaml)
                held = own, {choice.window.window_id: choice for choice in queue_of(own, record)}
            with self._lock:
                self._held[record.run_id] = held
                self._held.move_to_end(record.run_id)
                while len(self._held) > HELD:
                    self._held.popitem(last=False)
            if window in held[1]:
                return held[0], held[1][window]
        raise no_window(loop.name, window)


def queue(site: Site) -> APIRouter:
    """``/queue`` and ``/candidates``."""
    router, queues = APIRouter(tags=["review"]), Queues()
    windows = [field.name for field in dataclasses.fields(WindowStanding)]
    fields = [field.name for field in dataclasses.fields(CandidateTold)]

    @router.get("/queue", responses=REFUSALS)
    def listed(among: Filtered, sort: Sort = None, limit: Limit = 50, offset: Offset = 0) -> JSONResponse:
        """Windows of all queues of a loop, as people have left them."""
        found = windows_of(reviews_of(asked_loop(site, among.loop)), among.windows)
        return page(in_order(found, sort, windows), limit, offset)

    @router.get("/candidates", responses=REFUSALS)
    def proposed(among: Filtered, sort: Sort = None, limit: Limit = 50, offset: Offset = 0) -> JSONResponse:
        """Intervals that detector versions propose for them; the score is that of each interval."""
        wide = dataclasses.replace(among, score_above=None, score_below=None).windows
        found = candidates_of(reviews_of(asked_loop(site, among.loop)), wide, among.score_above, among.score_below)
        return page(in_order(found, sort, fields), limit, offset)

    @router.get("/reviews", responses=REFUSALS)
    def standing(loop: LoopName = "") -> JSONResponse:
        """How the reviews of a loop stand: progress, acceptance, people, agreement, audits of batch actions."""
        _, found = reviewed_as(asked_loop(site, loop), review_words({}))
        return answer(dataclasses.replace(found, windows=()))

    @router.post("/queue/actions", openapi_extra=_described(), responses=REFUSALS | documented(400, 408, 413))
    async def act(request: Request, loop: LoopName = "", detector: ProposedBy = None) -> JSONResponse:
        """Accept, reject or return windows in a batch, audited; done again it changes nothing."""
        words = await run_in_threadpool(_order, await json_of(request, MOST))
        _, found = await run_in_threadpool(lambda: reviewed_as(asked_loop(site, loop), words, detector))
        return answer(dataclasses.replace(found, windows=()))

    _one(router, site, queues)
    return router


def _one(router: APIRouter, site: Site, queues: Queues) -> None:
    """What there is of one window."""

    @router.get("/queue/{window}", responses=REFUSALS)
    def told(window: WindowName, loop: LoopName = "") -> JSONResponse:
        """A window: what is proposed for it, by whom, and what people said."""
        return answer(window_told(reviews_of(asked_loop(site, loop)), window))

    @router.get("/queue/{window}/thumbnail", responses=DRAWN, response_class=Response)
    def small(window: WindowName, loop: LoopName = "") -> Response:
        """The window with what is proposed for it, 240 by 40 pixels."""
        return picture(small_picture(queues.find(of_loop(site, loop), window)[1]))

    @router.get("/queue/{window}/picture", responses=DRAWN, response_class=Response)
    def large(window: WindowName, loop: LoopName = "") -> Response:
        """The whole series with the window marked."""
        return picture(large_picture(*queues.find(of_loop(site, loop), window)))



def _order(values: Mapping[str, Any]) -> ReviewWords:
    """What is to be done.

    Raises:
        ConfigError: a key that is none, a value that does not fit. RequestRefused: 422: nothing is to be done.
    """
    if values.get("action", "show") == "show":
        raise RequestRefused(422, "the body names no action", "Give accept, reject, same or return as its action.")
    return review_words(values)


def _described() -> dict[str, Any]:
    """The body of an action: the keys of ``tsad review``, of which only the action is needed."""
    schema: dict[str, Any] = ReviewWords.model_json_schema() | {"required": ["action"]}
    schema["properties"]["action"]["enum"] = ["accept", "reject", "same", "return"]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
