"""What ``tsad ui`` serves: MLflow's own server behind a token, and the way from ``/`` to the loop.

    python -m tsad.tracking.ui_app PORT

MLflow shows and takes everything of everybody who reaches its port: runs, uploads, experiments whose artifacts lie
anywhere. Read-only by method it cannot be made, since the UI's searches are POSTs. So nothing but ``/health`` is
answered without the token, which comes by the printed link and stays as a cookie, or as ``Authorization: Bearer`` (what
MLflow's clients send of ``MLFLOW_TRACKING_TOKEN``). The routes by which MLflow asks language models and runs jobs, for
which it has no switch, are answered with 403.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HOST = "127.0.0.1"
# of the environment: command lines are seen by everybody
TOKEN, START, MARK = "TSAD_UI_TOKEN", "TSAD_UI_START", "TSAD_UI_MARK"
HEALTH, MARKED = "/health", "x-tsad-ui"  # the route that everybody may ask, and the header that says who answers
PAGE = "/ui"  # MLflow's page; its own place is "/"
REFUSED = re.compile(
    r"/(ajax-api|api)/[\d.]+/(mlflow/)?"
    r"(assistant|gateway|gateway-proxy|jobs|mcp[\w-]*|scorers?/invoke|issues/invoke|genai/evaluate|demo)(/.*)?"
    r"|/gateway(/.*)?"
)
# Else its panel, which can do nothing here, opens over the runs in every new browser; its button goes with it. And the
# page of the runs asks the gateway for its models, and shows a refusal to everybody.
NO_ASSISTANT = (
    b"<script>localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1','true');"
    b"{const ask=window.fetch;window.fetch=(what,...how)=>String(what&&what.url||what).includes('/gateway-proxy')?"
    b"Promise.resolve(new Response('{\"endpoints\":[]}',{headers:{'content-type':'application/json'}})):"
    b"ask(what,...how)}"
    b"</script><style>[data-assistant-ui]{display:none!important}</style>"
)
WITHOUT_TOKEN = "Open the link that `tsad ui` has printed: it carries the token.\n"


class Guarded:
    """An ASGI application that lets requests through to another one.

    Args:
        token: what has to be shown; "" = nothing.
        start: where ``/`` leads to, e.g. ``/ui#/experiments/1/runs``.
        cookie: name of the cookie that keeps the token; cookies are shared by all ports of a host.
        mark: what ``/health`` shows, so that whoever started this server knows it from another one on its port.
    """

    def __init__(self, app: App, token: str, start: str, cookie: str, mark: str = "") -> None:
        self._app, self._token, self._start, self._cookie, self._mark = app, token, start, cookie, mark

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse or pass on one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # MLflow has no websockets
            await send({"type": "websocket.close", "code": 1008})
            return
        path, headers = scope["path"], _headers(scope)
        answer = self._health(path) or self._refusal(scope, path, headers) or self._way(scope, path)
        if answer is not None:
            await _answer(send, *answer)
        elif path == PAGE:
            await self._page(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _health(self, path: str) -> tuple[int, str, dict[str, str]] | None:
        return (200, "OK", {MARKED: self._mark}) if path == HEALTH else None

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """MLflow's page, with a word to the browser ahead of its own."""
        head: MutableMapping[str, Any] = {}
        parts: list[bytes] = []

        async def keep(message: MutableMapping[str, Any]) -> None:
            head.update(message if message["type"] == "http.response.start" else {})
            parts.append(message.get("body", b""))

        headers = [(k, v) for k, v in scope["headers"] if not k.lower().startswith(b"if-")]  # the whole page
        await self._app({**scope, "path": "/", "raw_path": b"/", "headers": headers}, receive, keep)
        body = b"".join(parts).replace(b"<head>", b"<head>" + NO_ASSISTANT, 1)
        kept = [(k, v) for k, v in head["headers"] if k.lower() not in (b"content-length", b"etag", b"last-modified")]
        await send({**head, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope, path: str, headers: dict[str, str]) -> tuple[int, str, dict[str, str]] | None:
        """Why the request is refused: a foreign page's, without the token, or for what is switched off."""
        origin = headers.get("origin", "")
        if origin and origin.partition("://")[2] != headers.get("host"):
            return 403, f"Requests of pages from {origin} are refused.\n", {}
        if not self._shown(scope, headers):
            return 401, WITHOUT_TOKEN, {"www-authenticate": "Bearer"}
        if REFUSED.fullmatch(re.sub("/+", "/", path)):
            return 403, "tsad ui has no assistant, gateway, jobs or judges.\n", {}
        return None

    def _way(self, scope: Scope, path: str) -> tuple[int, str, dict[str, str]] | None:
        """From ``/`` to the loop; who came by the printed link takes the token along as a cookie."""
        if path != "/":
            return None
        headers = {"location": self._start, "cache-control": "no-store"}
        if self._token and _asked(scope):
            headers["set-cookie"] = f"{self._cookie}={self._token}; HttpOnly; SameSite=Lax; Path=/"
        return 303, "", headers

    def _shown(self, scope: Scope, headers: dict[str, str]) -> bool:
        shown = [headers.get("authorization", "").removeprefix("Bearer ")]
        if scope["path"] == "/":
            shown.append(_asked(scope))
        try:
            kept = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            kept = None
        shown.append(kept.value if kept else "")
        return not self._token or any(secrets.compare_digest(one.encode(), self._token.encode()) for one in shown)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _asked(scope: Scope) -> str:
    """The token in the address."""
    return parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]


async def _answer(send: Send, status: int, text: str, headers: dict[str, str]) -> None:
    every = {"content-type": "text/plain; charset=utf-8", "referrer-policy": "no-referrer", **headers}
    await send({
        "type": "http.response.start", "status": status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in every.items()],
    })  # fmt: skip
    await send({"type": "http.response.body", "body": text.encode()})


def main(port: int) -> None:
    """Serve MLflow on this machine until SIGTERM or Ctrl-C; store and token come by the environment."""
    import uvicorn
    from mlflow.server.fastapi_app import app

    guarded = Guarded(app, os.environ[TOKEN], os.environ[START], f"tsad_ui_{port}", os.environ[MARK])
    # no log of requests: the printed link would be in it
    uvicorn.run(guarded, host=HOST, port=port, access_log=False, log_level="warning", server_header=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
