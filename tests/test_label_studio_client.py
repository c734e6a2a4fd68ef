"""The client against a small HTTP server of its own: tokens, servers that go away and come back, pages."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tsad.core.context import Context
from tsad.core.control import StopRequested, Switch
from tsad.core.errors import ReviewError
from tsad.review.label_studio import client as module
from tsad.review.label_studio.client import Client, LostCallError, where

PERSONAL = "header.payload.signature"
Answer = tuple[int, Any]


class Site(ThreadingHTTPServer):
    """Answers each call by ``answer(method, path, query, body, authorization)``; keeps what was asked.

    Attributes:
        cut: how many of the next calls are cut off after they were carried out.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, str]] = []
        self.cookies: list[str | None] = []
        self.answer: Callable[[str, str, dict[str, list[str]], Any, str], Answer] = lambda *call: (200, {})
        self.cut = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def _do(self) -> None:
        parts, length = urlsplit(self.path), int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        who = self.headers.get("Authorization", "")
        self.server.asked.append((self.command, parts.path, who))
        self.server.cookies.append(self.headers.get("Cookie"))
        status, answer = self.server.answer(self.command, parts.path, parse_qs(parts.query), body, who)
        if self.server.cut and parts.path != "/health":
            self.server.cut -= 1
            self.close_connection = True
            return
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Set-Cookie", "sessionid=of-an-earlier-call; Path=/")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _do

    def log_message(self, *args: Any) -> None:
        """Nothing on the tests' output."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(module, "POLL", 0.01)
    made = Site()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def projects(site: Site, **kwargs: Any) -> Client:
    """A client that has met the server."""
    site.answer = lambda *call: (200, {"results": [], "count": 0})
    made = Client(site.url, kwargs.pop("token", "legacy"), **kwargs)
    made.find_projects("tsad-x")
    site.asked.clear()
    return made


def test_a_legacy_token_goes_as_it_is_and_no_session_replaces_it(site: Site) -> None:
    made = projects(site)
    made.find_projects("tsad-x")
    assert site.asked == [("GET", "/api/projects/", "Token legacy")]
    assert set(site.cookies) == {None}


def test_a_personal_token_buys_access_again_when_it_runs_out(site: Site) -> None:
    bought: list[str] = []

    def answer(method: str, path: str, query: Any, body: Any, who: str) -> Answer:
        if path == "/api/token/refresh/":
            assert body == {"refresh": PERSONAL} and not who
            bought.append(f"access{len(bought)}")
            return 200, {"access": bought[-1]}
        return (200, {"id": 1}) if who == f"Bearer {bought[-1]}" and len(site.asked) != 4 else (401, {"detail": "old"})

    site.answer = answer
    made = Client(site.url, PERSONAL)
    for title in "abc":
        assert made.create_project(title=title) == {"id": 1}
    paths = [path for _, path, _ in site.asked]
    assert bought == ["access0", "access1"]
    assert paths == ["/api/token/refresh/", *["/api/projects/"] * 3, "/api/token/refresh/", "/api/projects/"]


def test_a_revoked_personal_token_is_named_and_not_shown(site: Site) -> None:
    site.answer = lambda method, path, *rest: (401, {"detail": "Token is blacklisted"})
    named = r"refused the token \(a personal one, revoked.*Personal Access Token"
    with pytest.raises(ReviewError, match=named) as caught:
        Client(site.url, PERSONAL).find_projects("x")
    assert PERSONAL not in str(caught.value)


def test_access_that_is_refused_at_once_is_not_asked_for_for_ever(site: Site) -> None:
    site.answer = lambda method, path, *rest: (200, {"access": "a"}) if "refresh" in path else (401, {})
    with pytest.raises(ReviewError, match="refused the token"):
        Client(site.url, PERSONAL).find_projects("x")
    assert len(site.asked) == 2


def test_a_server_that_is_not_there_is_not_waited_for() -> None:
    with pytest.raises(ReviewError, match=r"cannot be reached.*tsad studio") as caught:
        Client("http://127.0.0.1:9", "legacy", 60).find_projects("x")
    assert not isinstance(caught.value, LostCallError)


def test_a_read_is_made_again_when_the_server_is_back(site: Site) -> None:
    made, states = projects(site, patience=30), iter((502, 503, 200, 200))
    site.answer = lambda *call: (next(states), {"results": [], "count": 0})
    assert made.find_projects("tsad-x") == []
    assert [path for _, path, _ in site.asked] == ["/api/projects/", "/health", "/health", "/api/projects/"]


def test_what_may_not_be_made_twice_is_told_as_lost_when_the_server_is_back(site: Site) -> None:
    made = projects(site, patience=30)
    site.answer, site.cut = lambda *call: (200, {"task_ids": [4, 5]}), 1
    with pytest.raises(LostCallError, match=r"cannot be reached \(import 2 tasks\)"):
        made.import_tasks(1, [{}, {}])
    assert [path for _, path, _ in site.asked] == ["/api/projects/1/import", "/health"]
    assert made.import_tasks(1, [{}, {}]) == [4, 5]


def test_replacing_predictions_survives_a_lost_call(site: Site) -> None:
    made = projects(site, patience=30)

    def answer(method: str, path: str, *rest: Any) -> Answer:
        site.cut = sum(p.endswith("predictions") for _, p, _ in site.asked) == 1 and path.endswith("predictions")
        return 200, {}

    site.answer = answer
    made.replace_predictions(1, [{"task": 3}])
    posted = [path for _, path, _ in site.asked if path != "/health"]
    assert posted == ["/api/dm/actions/", "/api/projects/1/import/predictions"] * 2


def test_pre_annotations_that_the_server_leaves_out_untold_are_told(site: Site) -> None:
    made, task = projects(site), {"data": {}, "predictions": [{"result": []}]}
    site.answer = lambda *call: (201, {"task_ids": [4], "prediction_count": 0, "created": 0})
    with pytest.raises(ReviewError, match=r"took 0 of 1 pre-annotations.*project's template.*tsad push"):
        made.import_tasks(1, [task])
    site.answer = lambda *call: (201, {"created": 0})
    with pytest.raises(ReviewError, match="took 0 of 1 pre-annotations"):
        made.replace_predictions(1, [{"task": 4, "result": []}])
    site.answer = lambda *call: (201, {"task_ids": [4], "prediction_count": 0, "created": 1})
    assert made.import_tasks(1, [task]) == [4], "a busy database lost it, and took it the second time"
    assert site.asked[-1][1] == "/api/projects/1/import/predictions"


def test_waiting_ends_with_patience_or_when_stopped(site: Site) -> None:
    made = projects(site, patience=0.1)
    site.answer = lambda *call: (503, {})
    with pytest.raises(ReviewError, match=r"is away.*, for 0 s"):
        made.find_projects("x")
    switch = Switch()
    stopped = projects(site, patience=30, context=Context(control=switch))
    site.answer = lambda *call: (503, {})
    switch.stop()
    with pytest.raises(StopRequested):
        stopped.find_projects("x")


def test_tasks_that_go_meanwhile_shift_no_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    rows = [{"id": n} for n in range(1, 8)]

    def answer(method: str, path: str, query: Any, *rest: Any) -> Answer:
        asked = json.loads(query["query"][0])
        last = max([0, *(c["value"] for c in asked["filters"]["items"])])
        among = asked.get("selectedItems", {}).get("included")
        left = [r for r in rows if r["id"] > last and (among is None or r["id"] in among)]
        if last == 2:
            rows[:] = [r for r in rows if r["id"] not in (1, 2, 5)]  # deleted after the first page was read
            left = [r for r in left if r["id"] != 5]
        return 200, {"tasks": left[:2], "total": len(left)}

    made = projects(site)
    site.answer = answer
    assert [t["id"] for t in made.tasks(1, (), [where("id", "greater", 0)])] == [1, 2, 3, 4, 6, 7]
    assert [t["id"] for t in made.tasks(1, ("data",), ids=[7, 3])] == [3, 7]
    assert list(made.tasks(1, ("data",), ids=[])) == []
    assert made.count_tasks(1, [3, 4, 5]) == 2
