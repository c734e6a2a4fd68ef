"""Every request has an id, which its answer, its errors and the log bear; how each was answered is told once it is."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tsad.core.labels import labelled

access = logging.getLogger("tsad.access")

PREFIX = "/api/v1"  # of what programs use
HEADER = b"x-request-id"
_SANE = re.compile(r"[\w.-]{1,64}", re.ASCII)
_LABELS = ("job", "loop", "iteration")  # ids in an address that the log bears too
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "WEBSOCKET")
UNKNOWN = "unknown"  # route of what there is not: addresses that somebody makes up are no names of figures


@dataclass(frozen=True)
class RequestDone:
    """A request and how it was answered.

    Attributes:
        route: as the application has it, e.g. ``/api/v1/jobs/{job}``. path: as it was asked, without its query.
        status: of HTTP; of a WebSocket 101. bytes: of the answer's body. client: its address.
    """

    method: str
    route: str
    path: str
    status: int
    seconds: float
    bytes: int
    client: str


class Requests:
    """An application around which requests get their ids.

    Args:
        heard: each is told of every answered request, and answers at once.
    """

    def __init__(self, app: ASGIApp, heard: tuple[Callable[[RequestDone], None], ...] = ()) -> None:
        self._app, self._heard = app, heard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id, begun = _id_of(scope), time.perf_counter()
        seen = {"status": 500 if scope["type"] == "http" else 101, "bytes": 0, "whole": 0}

        async def sent(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
                seen["status"] = message.get("status", 101)
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id.encode())]
            elif message["type"] == "http.response.body":
                seen["bytes"] += len(message.get("body", b""))
                seen["whole"] = not message.get("more_body", False)
            await send(message)

        with labelled(request_id=request_id, **_labels(scope)):
            try:
                await self._app(scope, receive, sent)
            except Exception:
                if not seen["whole"]:  # else it was answered and logged, and the server would only log it again
                    raise
            finally:
                self._tell(scope, seen, time.perf_counter() - begun)

    def _tell(self, scope: Scope, seen: MutableMapping[str, int], seconds: float) -> None:
        route = _route(scope)
        client = scope.get("client") or ("",)
        method = scope.get("method", "WEBSOCKET")
        method = method if method in _METHODS else UNKNOWN
        answered = RequestDone(method, route, scope["path"], seen["status"], seconds, seen["bytes"], str(client[0]))
        for heard in self._heard:
            heard(answered)


def _route(scope: Scope) -> str:
    """The route that answered with its placeholders; a route knows its own router's prefix alone."""
    own = getattr(scope.get("route"), "path", None)
    if own is None:
        return UNKNOWN
    under = scope["path"].startswith(f"{PREFIX}/") and not own.startswith(f"{PREFIX}/")
    return f"{PREFIX}{own}" if under else str(own)


def log_access(answered: RequestDone) -> None:
    """A line of the access log; what a query, a header or a body holds is in none."""
    fields = {
        "method": answered.method, "path": answered.path[:500], "route": answered.route, "status": answered.status,
        "seconds": round(answered.seconds, 4), "bytes": answered.bytes, "client": answered.client,
    }  # fmt: skip
    access.info("%s %s %d", answered.method, answered.path[:500], answered.status, extra={"fields": fields})


def _id_of(scope: Scope) -> str:
    """The id that the request brings along, where it is sane; else a new one."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == HEADER), "")
    return given if _SANE.fullmatch(given) else uuid.uuid4().hex[:16]


def _labels(scope: Scope) -> dict[str, str]:
    """Ids of job, loop and iteration in the address: ``.../jobs/ID``, ``?job=ID``."""
    parts = scope["path"].split("/")
    found = {name.removesuffix("s"): value for name, value in pairwise(parts)}
    found |= dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
    return {name: found[name] for name in _LABELS if _SANE.fullmatch(found.get(name, ""))}
