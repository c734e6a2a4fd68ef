"""What stands in front of MLflow's server: the token, the refused routes, and the way from ``/`` to the loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from tsad.loop.showing import CHARTS, COLUMNS
from tsad.tracking.ui_app import NO_ASSISTANT, Guarded
from tsad.tracking.views import share_view, view_of

START = "/ui#/experiments/7/runs"


class Inner:
    """MLflow's part: says what reached it."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached.append(scope["path"] if scope["type"] == "http" else scope["type"])
        if scope["type"] == "http":
            length = [(b"content-length", b"13"), (b"etag", b"x")]
            await send({"type": "http.response.start", "status": 200, "headers": length})
            await send({"type": "http.response.body", "body": b"<html><head>", "more_body": True})
            await send({"type": "http.response.body", "body": b"\n"})


def ask(
    path: str, headers: Mapping[str, str] | None = None, *, query: str = "", kind: str = "http", token: str = "s3cret"
) -> tuple[int, dict[str, str], list[str]]:
    """Status, headers and what reached MLflow."""
    inner, sent = Inner(), []
    raw = [(k.encode(), v.encode()) for k, v in {"host": "127.0.0.1:5000", **(headers or {})}.items()]
    scope = {"type": kind, "path": path, "raw_path": path.encode(), "query_string": query.encode(), "headers": raw,
             "method": "POST"}  # fmt: skip

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    asyncio.run(Guarded(inner, token, START, "tsad_ui_5000", "4711")(scope, receive, send))
    first = sent[0] if sent else {"status": 0, "headers": []}
    return first.get("status", 0), {k.decode(): v.decode() for k, v in first.get("headers", [])}, inner.reached


COOKIE = {"cookie": "other=1; tsad_ui_5000=s3cret"}


@pytest.mark.parametrize("path", [
    "/", "/ui", "/version", "/static-files/main.js", "/ajax-api/2.0/mlflow/runs/search",
    "/api/2.0/mlflow/runs/log-parameter", "/ajax-api/2.0/mlflow/upload-artifact", "/api/2.0/mlflow/experiments/create",
    "/healthy", "/health/", "//health",
])  # fmt: skip
@pytest.mark.parametrize("headers", [
    {}, {"cookie": "tsad_ui_5000=other"}, {"cookie": "tsad_ui_5001=s3cret"}, {"authorization": "Bearer nothing"},
    {"authorization": "Basic czNjcmV0"}, {"cookie": "\x00;=;="},
])  # fmt: skip
def test_without_the_token_nothing_is_answered(path: str, headers: dict[str, str]) -> None:
    status, _, reached = ask(path, headers)
    assert (status, reached) == (401, [])


def test_with_it_everything_is() -> None:
    for headers in (COOKIE, {"authorization": "Bearer s3cret"}):
        assert ask("/ajax-api/2.0/mlflow/runs/search", headers)[::2] == (200, ["/ajax-api/2.0/mlflow/runs/search"])
    status, headers, reached = ask("/health")
    assert (status, headers["x-tsad-ui"], reached) == (200, "4711", []), "who asked for it knows whose it is"
    status, headers, reached = ask("/ui", COOKIE)
    assert (status, reached) == (200, ["/"]), "MLflow's page lies at its own root"
    assert headers == {"content-length": str(13 + len(NO_ASSISTANT))}
    assert ask("/ajax-api/2.0/mlflow/runs/search", query="token=s3cret")[0] == 401, "only the printed link carries it"
    assert ask("/", token="")[0] == 303 and ask("/version", token="")[0] == 200


def test_the_printed_link_leads_to_the_loop_and_leaves_a_cookie() -> None:
    status, headers, reached = ask("/", query="token=s3cret")
    assert (status, headers["location"], reached) == (303, START, [])
    assert headers["set-cookie"] == "tsad_ui_5000=s3cret; HttpOnly; SameSite=Lax; Path=/"
    status, headers, _ = ask("/", COOKIE)
    assert (status, headers["location"]) == (303, START) and "set-cookie" not in headers
    assert ask("/", query="token=guess")[0] == 401


@pytest.mark.parametrize("path", [
    "/ajax-api/3.0/mlflow/assistant/message", "/ajax-api/3.0/mlflow/assistant", "/gateway/x/mlflow/invocations",
    "/ajax-api/2.0/mlflow/gateway-proxy", "/api/3.0/mlflow/gateway/secrets/create", "/ajax-api/3.0/jobs/1",
    "/ajax-api/3.0/mlflow/jobs/1", "//ajax-api//3.0/jobs/", "/ajax-api/3.0/mlflow/scorer/invoke",
    "/ajax-api/3.0/mlflow/genai/evaluate/invoke", "/ajax-api/3.0/mlflow/issues/invoke",
])  # fmt: skip
def test_what_mlflow_has_no_switch_for_is_refused(path: str) -> None:
    for token in ("s3cret", ""):
        assert ask(path, COOKIE, token=token)[::2] == (403, [])


def test_pages_of_other_origins_are_refused() -> None:
    search = "/ajax-api/2.0/mlflow/runs/search"
    for origin in ("http://127.0.0.1:8080", "http://localhost:5000", "null", "https://elsewhere.example"):
        assert ask(search, {**COOKIE, "origin": origin})[0] == 403
    assert ask(search, {**COOKIE, "origin": "http://127.0.0.1:5000"})[0] == 200


def test_other_kinds_of_connections() -> None:
    assert ask("/", kind="lifespan")[2] == ["lifespan"]
    assert ask("/ajax-api", COOKIE, kind="websocket")[2] == []


# ---- where a loop is shown


class Experiments:
    """A store with these loops."""

    def __init__(self, *names: str) -> None:
        self.tags: dict[str, dict[str, str]] = {name: {"tsad.loop": name} for name in names}
        self.client = SimpleNamespace(set_experiment_tag=self.set)
        self.written = 0

    def experiments(self) -> Any:
        return iter(SimpleNamespace(experiment_id=name, tags=dict(tags)) for name, tags in self.tags.items())

    def set(self, experiment: str, key: str, value: str) -> None:
        self.tags[experiment][key] = value
        self.written += 1


def test_the_named_loop_is_shown_else_the_newest() -> None:
    store: Any = Experiments("a", "b")
    experiments = list(store.experiments())
    assert view_of(experiments, "a").loop == "a" and view_of(experiments, "").loop == "b"
    route = "#/experiments/b/runs?workflowType=machine_learning&viewStateShareKey=tsad"
    assert view_of(experiments, "gone").route == route
    assert view_of([], "a").loop == ""


def test_the_shared_view_is_written_once_and_fits() -> None:
    store: Any = Experiments("a")
    for _ in range(2):
        for experiment in store.experiments():
            share_view(store, experiment, CHARTS, COLUMNS)
    assert store.written == 2
    text = store.tags["a"]["mlflow.sharedViewState.tsad"]
    state = json.loads(text)
    assert len(text) < 5000, "what MLflow takes of an experiment's tag"
    drawn = [chart for chart in state["compareRunCharts"] if not chart["deleted"]]
    assert drawn[0]["type"] == "LINE" and "gold/interval_f1" in drawn[0]["selectedMetricKeys"]
    assert "metrics.`gold/interval_f1`" in state["selectedColumns"]
