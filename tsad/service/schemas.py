"""What verbs take, over HTTP, as JSON Schema: forms are made from it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tsad.core.errors import UnknownNameError
from tsad.service.errors import documented

if TYPE_CHECKING:
    from tsad.core.serving import Verbs
    from tsad.service.site import Site


class Schemas:
    """Schemas of verbs, each made once: that takes seconds, and nothing in them changes while a service runs."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs, self._lock = verbs, threading.Lock()
        self._known: dict[str, Mapping[str, Any]] = {}

    def of(self, verb: str) -> Mapping[str, Any]:
        """What a verb takes.

        Raises:
            UnknownNameError: there is none of that name.
        """
        if verb not in self._verbs.names():
            raise UnknownNameError(f"there is no verb {verb[:40]!r}", f"There are {', '.join(self._verbs.names())}.")
        with self._lock:
            if verb not in self._known:
                self._known[verb] = self._verbs.schema(verb)
            return self._known[verb]


def schemas(site: Site) -> APIRouter:
    """``/schema`` and ``/schema/{verb}``."""
    router, known = APIRouter(tags=["operation"]), Schemas(site.verbs)

    @router.get("/schema", responses=documented(401))
    def names() -> JSONResponse:
        """Names of all verbs."""
        return JSONResponse({"verbs": site.verbs.names()})

    @router.get("/schema/{verb}", responses=documented(401, 404, 422))
    def schema(verb: str) -> JSONResponse:
        """What a verb takes: its own keys and those of all groups, with bounds, choices, defaults and comments."""
        return JSONResponse(dict(known.of(verb)))

    return router
