"""Whether the service lives, and whether everything that it depends on does; without a token, so it says no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tsad import __version__
from tsad.core.errors import TsadError

if TYPE_CHECKING:
    from tsad.service.site import Site

SECONDS = 3.0  # for which one look at what it depends on serves everybody


def health(site: Site, parts: Mapping[str, Callable[[], bool]] | None = None) -> APIRouter:
    """``/health`` and ``/ready``.

    Args:
        parts: of the service itself by name, and whether each works.
    """
    router, depends = APIRouter(tags=["operation"]), Dependencies(site, parts or {})

    @router.get("/health")
    async def alive() -> dict[str, str]:
        """The process answers."""
        return {"status": "UP", "version": __version__}

    @router.get("/ready", responses={503: {"description": "Something that the service depends on is down"}})
    def ready() -> JSONResponse:
        """Each dependency by name: ``up``, or ``down`` in which case the status is 503."""
        states = depends.states()
        well = all(state != "down" for state in states.values())
        return JSONResponse({"status": "ready" if well else "not ready", "depends_on": states}, 200 if well else 503)

    return router


class Dependencies:
    """What the service depends on, asked for all who want to know at once: nobody needs a token for it."""

    def __init__(self, site: Site, parts: Mapping[str, Callable[[], bool]]) -> None:
        self._site, self._parts, self._lock = site, parts, threading.Lock()
        self._known, self._at = dict[str, str](), float("-inf")

    def states(self) -> dict[str, str]:
        """Each dependency by name, some seconds old at most; while somebody asks, as it was before."""
        if time.monotonic() - self._at > SECONDS and self._lock.acquire(blocking=not self._known):
            try:
                if time.monotonic() - self._at > SECONDS:
                    site = self._site
                    known = {"store": _state(lambda: _store(site)), "label_studio": _state(lambda: _label_studio(site))}
                    self._known, self._at = known, time.monotonic()
            finally:
                self._lock.release()
        return self._known | {name: "up" if works() else "down" for name, works in self._parts.items()}


def _state(ask: Any) -> str:
    try:
        return str(ask())
    except TsadError:
        return "down"


def _store(site: Site) -> str:
    from tsad.tracking.store import open_store

    open_store(site.bench.tracking, site.home).client.search_experiments(max_results=1)
    return "up"


def _label_studio(site: Site) -> str:
    """``not used`` where people review elsewhere, ``not started`` where the embedded one waits for ``tsad studio``."""
    from tsad.review.label_studio.server import answers, status

    if not site.bench.reviewer.people:
        return "not used"
    url = site.bench.label_studio().url.rstrip("/")
    if not url:
        state = status(site.home)
        if state is None:
            return "not started"
        url = state["url"]
    return "up" if answers(url) else "down"
