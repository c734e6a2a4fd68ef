"""What the service says of itself: ids of requests, its log, figures for Prometheus; no secret in any of them."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, Request
from live_kit import HERE, TOKEN, client, wait_for
from prometheus_client.parser import text_string_to_metric_families
from tracking_rig import SPAWN

from tsad.core.errors import RegistryError, TrackingError
from tsad.core.labels import labelled
from tsad.core.options import ServiceOptions
from tsad.files.json_lines import JsonFormatter, JsonLines, logged_to
from tsad.service.access import token_needed
from tsad.service.app import make_app
from tsad.service.bodies import json_of
from tsad.service.logs import log_file, logging_to_file
from tsad.service.prometheus import Figures, Gauge, prometheus
from tsad.service.requests import log_access
from tsad.service.running import running

SECRET = 'ein "geheimes" Wort €/\\'


class Kept(logging.Handler):
    """Where a terminal would say it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def options(log_mb: float = 10.0, logs: int = 2) -> ServiceOptions:
    return ServiceOptions.model_construct(log_mb=log_mb, logs=logs)


def counted() -> Iterable[Gauge]:
    return [Gauge("tsad_jobs", "Jobs by state", "state", {"running": 2.0, "failed": 0.0})]


def unreachable() -> Iterable[Gauge]:
    raise TrackingError("the store is gone")


def a_part() -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(token_needed(TOKEN))])

    @router.get("/jobs/{job}")
    def one(job: str) -> dict[str, str]:
        logging.getLogger("tsad").info("looked at %s with %s", job, TOKEN)
        return {"job": job}

    @router.post("/jobs")
    async def new(request: Request) -> dict[str, Any]:
        return await json_of(request, 1000)

    @router.get("/champion")
    def champion() -> None:
        raise RegistryError("no champion at https://user:pass-word@host/x", "Run tsad iterate.")

    @router.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError(f"with {TOKEN} inside")

    return router


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    figures = Figures({"jobs": counted, "store": unreachable})
    needed = APIRouter(dependencies=[Depends(token_needed(TOKEN))])
    needed.include_router(prometheus(figures))
    app = make_app(a_part(), needed, heard=(log_access, figures.answered))
    logging.getLogger("tsad").setLevel(logging.INFO)
    with logging_to_file(tmp_path, options(), TOKEN), running(app, HERE, 2.0) as address:
        yield address


def lines(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log_file(home).read_text(encoding="utf-8").splitlines()]


def accesses(home: Path, request_id: str) -> list[dict[str, Any]]:
    return [x for x in lines(home) if x["logger"] == "tsad.access" and x["request_id"] == request_id]


def test_an_id_goes_with_a_request_from_its_answer_to_the_log(url: str, tmp_path: Path) -> None:
    with client(url) as http:
        given = http.get("/api/v1/champion", headers={"X-Request-ID": "my-own.id_7"})
        assert given.status_code == 503
        assert given.headers["X-Request-ID"] == given.json()["request_id"] == "my-own.id_7"
        for insane in ("", "x" * 65, "a b", "a\x7f", 'a"b', "$(id)"):
            made = http.get("/api/v1/champion", headers={"X-Request-ID": insane})
            assert made.headers["X-Request-ID"] == made.json()["request_id"] != insane
            assert len(made.headers["X-Request-ID"]) == 16
        for path, status in (("/api/v1/jobs/a1", 200), ("/nothing", 404), ("/api/v1/broken", 500)):
            answer = http.get(path)
            assert answer.status_code == status
            number = answer.headers["X-Request-ID"]
            wait_for(lambda number=number: accesses(tmp_path, number))
    (access,) = wait_for(lambda: accesses(tmp_path, "my-own.id_7"))
    assert {k: access[k] for k in ("method", "path", "route", "status", "client", "level", "message")} == {
        "method": "GET", "path": "/api/v1/champion", "route": "/api/v1/champion", "status": 503, "client": "127.0.0.1",
        "level": "INFO", "message": "GET /api/v1/champion 503",
    }  # fmt: skip
    assert access["seconds"] >= 0 and access["bytes"] > 50 and access["at"].endswith("+00:00")
    warned = [x for x in lines(tmp_path) if x.get("request_id") == "my-own.id_7" and x["level"] == "WARNING"]
    assert len(warned) == 1 and "pass-word" not in warned[0]["message"]
    (broken,) = [line for line in lines(tmp_path) if "ZeroDivisionError" in line.get("error", "")]
    assert broken["level"] == "ERROR" and "Traceback" in broken["error"]


def test_a_client_that_leaves_in_the_midst_of_its_body_is_no_fault(url: str, tmp_path: Path) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as raw:
        head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nX-Request-ID: gone"
        raw.sendall(f"{head}\r\nContent-Length: 500\r\n\r\n{{".encode())
        time.sleep(0.2)  # the service has begun to read
    (access,) = wait_for(lambda: log_file(tmp_path).is_file() and accesses(tmp_path, "gone"))
    assert access["status"] == 400
    assert not [x for x in lines(tmp_path) if x["level"] in ("WARNING", "ERROR") and x.get("request_id") == "gone"]


def test_lines_bear_the_ids_of_what_they_are_about(url: str, tmp_path: Path) -> None:
    with client(url) as http:
        http.get("/api/v1/jobs/a1", params={"loop": "plant", "iteration": "3"})
        http.get("/api/v1/jobs/a1", params={"loop": "a b\n"})
    said = [line for line in lines(tmp_path) if "looked at a1" in line["message"]]
    assert (said[0]["job"], said[0]["loop"], said[0]["iteration"]) == ("a1", "plant", "3")
    assert said[1]["job"] == "a1" and "loop" not in said[1]


def test_no_secret_is_in_the_log_however_it_comes(url: str, tmp_path: Path) -> None:
    with httpx.Client(base_url=url, trust_env=False) as http:
        answers = [
            http.get("/api/v1/jobs/a1", headers={"Authorization": f"Bearer {TOKEN}"}),
            http.get("/api/v1/jobs/a1", auth=("anybody", TOKEN)),
            http.get("/api/v1/jobs/a1", headers={"Authorization": "Bearer wrong-but-secret"}),
            http.get("/api/v1/jobs/a1", params={"token": "query-secret", "job": TOKEN}),
            http.post("/api/v1/jobs", json={"password": "body-secret"}, auth=("x", TOKEN)),
            http.post("/api/v1/jobs", content=b'{"password": "body-secret"', auth=("x", TOKEN)),
            http.get(f"/api/v1/jobs/{TOKEN}", auth=("x", TOKEN)),
            http.get("/api/v1/jobs/a1", headers={"X-Request-ID": TOKEN}, auth=("x", TOKEN)),
            http.get("/api/v1/jobs/a1", headers={"Cookie": "session=cookie-secret"}),
            http.get("/api/v1/broken", auth=("x", TOKEN)),
            http.get("/api/v1/champion", auth=("x", TOKEN)),
        ]
    assert {a.status_code for a in answers} == {200, 401, 400, 500, 503}
    read = log_file(tmp_path).read_text
    wait_for(lambda: read(encoding="utf-8").count('"tsad.access"') == len(answers))  # told once they are answered
    text = read(encoding="utf-8")
    for secret in (TOKEN, "wrong-but-secret", "query-secret", "body-secret", "cookie-secret", "pass-word"):
        assert secret not in text, secret
    assert "/api/v1/jobs/***" in text, "it is masked where it is part of an address"
    assert log_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_secret_is_masked_as_json_spells_it() -> None:
    record = logging.LogRecord("tsad", logging.INFO, "x", 1, "it is %s", (SECRET,), None)
    line = JsonFormatter([SECRET, ""]).format(record)
    assert json.loads(line)["message"] == "it is ***"


def test_a_line_is_a_line_whatever_it_says(tmp_path: Path) -> None:
    log = logging.getLogger("tsad.test_lines")
    log.propagate, log.level = False, logging.INFO
    with logged_to(JsonLines(tmp_path / "l", 10**6, 1), [log.name]), labelled(loop="厂"):
        log.info('a\nb\r{"level": "ERROR"}\u2028\x00 \ud800')
        log.info("x" * 100_000)
        log.info("with %s", Path("a"), extra={"fields": {"where": Path("b")}})
    content = (tmp_path / "l").read_bytes()
    first, second, third = (json.loads(line) for line in content.splitlines())
    assert first["level"] == "INFO" and first["loop"] == "厂" and first["message"].startswith('a\nb\r{"level"')
    assert len(second["message"]) == 20_000 and third["where"] == "b"
    assert log.handlers == []


def test_the_log_begins_a_new_file_at_its_size_and_keeps_so_many(tmp_path: Path) -> None:
    path, log = tmp_path / "logs" / "s.jsonl", logging.getLogger("tsad.test_rotation")
    log.propagate, log.level = False, logging.INFO
    with logged_to(JsonLines(path, 1000, 2), [log.name]):
        for number in range(40):
            log.info("line %d", number)
        log.info("y" * 3000)  # longer than a file: it has one alone
        log.info("after")
    names = sorted(p.name for p in path.parent.iterdir() if not p.name.endswith(".lock"))
    assert names == ["s.jsonl", "s.jsonl.1", "s.jsonl.2"]
    newest = [json.loads(line)["message"] for line in path.read_text().splitlines()]
    before = [json.loads(line)["message"] for line in (path.parent / "s.jsonl.1").read_text().splitlines()]
    assert newest == ["after"] and before == ["y" * 3000]
    with logged_to(JsonLines(path, 100, 0), [log.name]):
        log.info("alone")
    assert json.loads(path.read_text())["message"] == "alone"


def _write(path: str, name: str, count: int) -> None:
    log = logging.getLogger(f"tsad.writer.{name}")
    log.propagate, log.level = False, logging.INFO
    with logged_to(JsonLines(Path(path), 20_000, 100), [log.name]):
        for number in range(count):
            log.info("%s %d", name, number)


def test_processes_that_share_a_log_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    children = [SPAWN.Process(target=_write, args=(str(path), name, 400)) for name in "abc"]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    said = [
        json.loads(line)["message"]
        for file in tmp_path.iterdir() if not file.name.endswith(".lock")
        for line in file.read_text().splitlines()
    ]  # fmt: skip
    assert sorted(said) == sorted(f"{name} {number}" for name in "abc" for number in range(400))


def test_a_log_that_was_moved_away_is_begun_again(tmp_path: Path) -> None:
    path, log = tmp_path / "s.jsonl", logging.getLogger("tsad.test_moved")
    log.propagate, log.level = False, logging.INFO
    with logged_to(JsonLines(path, 10**6, 1), [log.name]):
        log.info("one")
        path.rename(tmp_path / "away")
        log.info("two")
    assert json.loads(path.read_text())["message"] == "two"


def test_accesses_are_not_said_in_the_terminal(url: str) -> None:
    terminal = Kept()
    logging.getLogger("tsad").addHandler(terminal)
    with client(url) as http:
        http.get("/api/v1/jobs/a1")
    logging.getLogger("tsad").removeHandler(terminal)
    assert terminal.said == [f"looked at a1 with {TOKEN}"]


def test_labels_are_of_one_task_or_thread_alone() -> None:
    from tsad.core.labels import labels

    seen: list[dict[str, str]] = []
    with labelled(loop="a"):
        with labelled(iteration="2"):
            assert labels() == {"loop": "a", "iteration": "2"}
            thread = threading.Thread(target=lambda: seen.append(dict(labels())))
            thread.start()
            thread.join()
        assert labels() == {"loop": "a"}
    assert labels() == {} and seen == [{}]


def test_prometheus_is_told_of_requests_and_of_what_the_parts_count(url: str) -> None:
    with client(url) as http:
        for path in ("/api/v1/jobs/a1", "/api/v1/jobs/b2", "/api/v1/champion", "/made/up/1", "/made/up/2"):
            http.get(path)
        http.request("BREW", "/api/v1/jobs/a1")
        wait_for(lambda: 'method="unknown"' in http.get("/metrics").text)
        answer = http.get("/metrics")
        with client(url, "") as nobody:
            assert nobody.get("/metrics").status_code == 401
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text) for sample in family.samples
    }  # fmt: skip
    assert found["tsad_requests_total", "GET", "/api/v1/jobs/{job}", "200"] == 2
    assert found["tsad_requests_total", "GET", "/api/v1/champion", "503"] == 1
    assert found["tsad_requests_total", "GET", "unknown", "404"] == 2, "addresses that somebody makes up are one"
    assert not any("BREW" in map(str, key) for key in found)
    assert found["tsad_request_seconds_count", "/api/v1/jobs/{job}"] >= 2
    assert (found["tsad_jobs", "running"], found["tsad_jobs", "failed"]) == (2, 0)
    assert (found["tsad_up", "jobs"], found["tsad_up", "store"]) == (1, 0)
    assert found["process_resident_memory_bytes",] > 10**7
