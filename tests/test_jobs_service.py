"""Jobs over a real socket, with a dispatcher and processes of their own; `tsad jobs` beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi import APIRouter
from jobs_kit import SMALL, Said, at_work, awaited, board, emptied  # noqa: F401 - a fixture
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.control import StopRequested
from tsad.core.errors import ConfigError, TrackingError, UnknownJobError
from tsad.core.serving import Address
from tsad.jobs.board import JobBoard
from tsad.jobs.dispatch import Dispatcher
from tsad.jobs.process import Slot, Starter, end_group, end_leftovers, killed_words
from tsad.jobs.recovery import recover
from tsad.service.app import make_app
from tsad.service.jobs import _whole, jobs
from tsad.service.running import running
from tsad.tracking.claims import process_name, this_process
from tsad.verbs.asking import Asking

# ruff: noqa: F811 - the fixture is imported
HERE = Address("127.0.0.1", 0)


@dataclass
class Http:
    """Requests to the jobs of a board."""

    client: httpx.Client

    def __call__(self, method: str, path: str = "", **more: Any) -> httpx.Response:
        return self.client.request(method, f"/jobs{path}", **more)

    def post(self, verb: str = "ingest", overrides: Any = SMALL, **more: Any) -> httpx.Response:
        return self("POST", json={"verb": verb, "overrides": list(overrides)}, **more)


@pytest.fixture
def http(board: JobBoard) -> Iterator[Http]:
    router = APIRouter()
    router.include_router(jobs(board))
    with running(make_app(router), HERE, 2.0) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield Http(client)


# ---- over HTTP, nobody works


def test_a_job_is_submitted_listed_stopped_and_deleted(http: Http) -> None:
    made = http.post()
    job = made.json()
    assert made.status_code == 201 and job["state"] == "pending" and made.headers["location"] == f"/jobs/{job['id']}"
    assert http.post().status_code == 200 and http.post().json()["id"] == job["id"]
    path = f"/{job['id']}"
    listed = http("GET", params={"state": "pending", "limit": 5}).json()
    assert listed == {"items": [job], "total": 1, "limit": 5, "offset": 0}
    assert http("GET", path).json() == job
    assert http("DELETE", path).json()["code"] == "JobError"
    assert http("POST", f"{path}/pause").json()["asked"] == "pause"
    assert http("POST", f"{path}/resume").json()["asked"] == ""
    assert http("POST", f"{path}/checkpoint").status_code == 200
    assert http("POST", f"{path}/stop").json()["state"] == "stopped"
    assert http("POST", f"{path}/stop").status_code == 409
    assert http("GET", f"{path}/result").status_code == 409
    assert http("POST", f"{path}/retry").json()["state"] == "pending"
    http("POST", f"{path}/stop")
    assert http("DELETE", path).status_code == 204 and http("GET", path).status_code == 404


WRONG = {
    "no body": (b"", 400), "no JSON": (b"{verb}", 400), "a list": (b"[]", 400), "NaN": (b'{"verb": NaN}', 400),
    "no verb": (b"{}", 422), "a number": (b'{"verb": 1}', 422), "unknown key": (b'{"verb": "ingest", "x": 1}', 422),
    "no list": (b'{"verb": "ingest", "overrides": "a=b"}', 422),
    "numbers": (b'{"verb": "clean", "overrides": [1]}', 422),
    "null": (b'{"verb": "clean", "overrides": null}', 422), "unknown verb": (b'{"verb": "trian"}', 422),
    "too many": (json.dumps({"verb": "clean", "overrides": ["a=b"] * 500}).encode(), 422),
    "too large": (b'{"verb": "' + b"x" * 300_000 + b'"}', 413),
    "secret": (b'{"verb": "iterate", "overrides": ["review.token=xyzzy"]}', 422),
    "class": (b'{"verb": "detect", "overrides": ["detector._target_=os.system"]}', 422),
    "file": (b'{"verb": "ingest", "overrides": ["source=csv", "source.root=/etc"]}', 422),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_job_is_refused_in_our_words(case: str, http: Http) -> None:
    body, status = WRONG[case]
    answer = http("POST", content=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "message", "remedy", "request_id"} and "xyzzy" not in answer.text
    assert http("GET").json()["total"] == 0


def test_questions_that_make_no_sense_are_refused(http: Http) -> None:
    for params in ({"state": "x"}, {"limit": 0}, {"limit": 501}, {"offset": -1}):
        assert http("GET", params=params).status_code == 422
    assert http("GET", "/abc").status_code == http("GET", "/abc/log").status_code == 422
    for path in ("", "/log", "/result", "/log/stream"):
        assert http("GET", f"/{'0' * 32}{path}").status_code == 404
    assert http("GET", params={"loop": "it's", "verb": "'"}).json()["total"] == 0


def test_a_flood_is_told_when_to_come_again(board: JobBoard, http: Http) -> None:
    board.bench.service.__dict__["pending"] = 1
    assert http.post().status_code == 201
    answer = http.post(overrides=[*SMALL, "source.seed=3"])
    assert answer.status_code == 429 and answer.headers["retry-after"] == "10"


def test_a_key_is_the_same_job(http: Http) -> None:
    first = http.post(headers={"Idempotency-Key": "k"})
    assert (first.status_code, http.post(headers={"Idempotency-Key": "k"}).status_code) == (201, 200)
    assert http.post("clean", [], headers={"Idempotency-Key": "k"}).status_code == 409


def test_a_log_is_read_in_parts_and_as_it_comes(board: JobBoard, http: Http) -> None:
    job_id = http.post().json()["id"]
    empty = http("GET", f"/{job_id}/log").json()
    assert empty == {"text": "", "offset": 0, "next": 0, "size": 0, "ended": False}
    log, text = board.folder(job_id).log, "读取 10 series\nfertig: ä\n"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text, encoding="utf-8")
    read, at = "", 0
    while at < len(text.encode()):
        part = http("GET", f"/{job_id}/log", params={"offset": at, "limit": 4}).json()
        read, at = read + part["text"], part["next"]
    assert read == text and "�" not in read

    def later() -> None:
        with at_work(board, job_id) as work, log.open("a", encoding="utf-8") as file:
            file.write("more\n")
            file.flush()
            time.sleep(0.6)
            work.answered(Said())

    threading.Timer(0.5, later).start()
    with http.client.stream("GET", f"/jobs/{job_id}/log/stream", headers={"Last-Event-ID": "3"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = "".join(stream.iter_text())
    events = [dict(line.split(": ", 1) for line in event.splitlines()) for event in told.strip().split("\n\n")]
    logged = "".join(json.loads(event["data"])["text"] for event in events if event["event"] == "log")
    assert logged == text.removeprefix("读") + "more\n"
    assert events[-1]["event"] == "end" and json.loads(events[-1]["data"])["state"] == "succeeded"
    ended = http("GET", f"/{job_id}/log", params={"offset": 10_000}).json()
    assert ended["text"] == "" and ended["ended"]
    assert http("GET", f"/{job_id}/result").json() == {"words": "done", "waits": False}
    board.folder(job_id).log.unlink()  # worked on elsewhere: as kept with the run
    assert http("GET", f"/{job_id}/log").json()["text"] == text + "more\n"


def test_a_part_ends_with_a_whole_sign() -> None:
    text = "a读ä😀".encode()
    for end in range(1, len(text) + 1):
        part = _whole(text[:end])
        assert text.startswith(part) and (part.decode(errors="strict") or end < 4)


def test_a_log_s_stream_outlives_an_outage_and_ends_with_its_job(
    board: JobBoard, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tsad.jobs.board.OPEN_SECONDS", 0.0)
    job_id, unended = http.post().json()["id"], board.runs.unended
    board.folder(job_id).log.parent.mkdir(parents=True, exist_ok=True)
    board.folder(job_id).log.write_text("read\n")
    outages: list[int] = []

    def out() -> object:
        outages.append(1)
        if len(outages) < 4:
            raise TrackingError("the store does not answer")
        return unended()

    with http.client.stream("GET", f"/jobs/{job_id}/log/stream") as stream:
        told = stream.iter_text()
        assert "read" in next(told)
        monkeypatch.setattr(board.runs, "unended", out)
        assert awaited(lambda: len(outages) >= 4)
        board.runs.delete(job_id)
        rest = "".join(told)
    assert '"state": "deleted"' in rest, rest


def test_streams_end_with_the_service(board: JobBoard) -> None:
    router = APIRouter()
    router.include_router(jobs(board))
    job_id = board.submit("ingest", SMALL).job.id
    began = time.monotonic()
    with httpx.Client(trust_env=False, timeout=60) as client:
        with running(make_app(router), HERE, 30.0) as url:
            answer = client.send(client.build_request("GET", f"{url}/jobs/{job_id}/log/stream"), stream=True)
            assert answer.status_code == 200
        assert time.monotonic() - began < 20
        answer.close()


# ---- processes of their own


@contextmanager
def dispatched(board: JobBoard) -> Iterator[Dispatcher]:
    made = Dispatcher(board)
    with made.dispatching():
        yield made


def test_a_process_works_on_a_job_and_another_one_waits(stocked: None, bench: Callable[..., Workbench]) -> None:
    board = JobBoard(bench("service.spare=true"), Asking())
    first = board.submit("ingest", SMALL).job.id
    second = board.submit("promote", ["loop.name=none"]).job.id  # there is nothing to promote
    with dispatched(board) as dispatcher:
        assert awaited(lambda: board.get(first).ended and board.get(second).ended), board.list()
        assert dispatcher.problem == ""
    done, failed = board.get(first), board.get(second)
    assert done.state == "succeeded" and done.answer["series"] and done.attempt == 1 and done.exit == "succeeded"
    assert failed.state == "failed" and failed.error["code"] and failed.error["remedy"]
    assert board.folder(second).log.read_text().startswith("--- attempt 1, ")
    assert not (board.folder(first).path / "taken").exists()
    board.close()


def test_a_job_that_the_system_ends_is_begun_again(board: JobBoard) -> None:
    """As a machine that goes down ends all its processes, the service last."""
    job_id = board.submit("detect", [*SMALL, "detector=robust_zscore", "version=none"]).job.id
    board.pause(job_id)
    with dispatched(board):
        for attempt in (1, 2):
            assert awaited(lambda n=attempt: (board.get(job_id).state, board.get(job_id).attempt) == ("paused", n), 200)
            if attempt == 1:
                os.kill(int(board.runs.require(job_id).process.split()[0]), signal.SIGTERM)
        board.resume(job_id)
        assert awaited(lambda: board.get(job_id).ended, 200)
    assert board.get(job_id).state == "succeeded" and board.runs.require(job_id).begun == 1


def test_what_does_not_stop_is_ended(board: JobBoard) -> None:
    board.bench.service.__dict__["stop_seconds"] = 0.1
    job_id = board.submit("ingest", SMALL).job.id
    emptied(board)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    name = process_name(child.pid)
    record = board.runs.require(job_id)
    with board.runs.claimed(record):
        board.runs.begin(job_id, name)
    board.folder(job_id).ask(stop=True)
    dispatcher = Dispatcher(board)
    for _ in range(20):
        dispatcher._hurry()
        if child.poll() is not None:
            break
        time.sleep(0.1)
    assert child.poll() == -signal.SIGKILL
    assert recover(board) == [] and board.get(job_id).exit == "stopped by request"


def test_a_job_that_is_to_stop_gets_one_signal_and_its_helpers_none(board: JobBoard) -> None:
    """A second SIGTERM means "at once" to a command; helpers end with it, not before."""
    board.bench.service.__dict__["stop_seconds"] = 1.0
    job_id = board.submit("ingest", SMALL).job.id
    emptied(board)
    helper = "signal.signal(signal.SIGTERM, lambda *_: print('helper', flush=True))"
    code = (
        "import os, signal, time\n"
        f"if os.fork() == 0: {helper}\n"
        "else: signal.signal(signal.SIGTERM, lambda *_: print('leader', flush=True))\n"
        "os.write(1, b'ready\\n')\n"
        "while True: time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert [child.stdout.readline(), child.stdout.readline()] == ["ready\n", "ready\n"]
    with board.runs.claimed(board.runs.require(job_id)):
        board.runs.begin(job_id, process_name(child.pid))
    board.folder(job_id).ask(stop=True)
    dispatcher = Dispatcher(board)
    until = time.monotonic() + 30
    while child.poll() is None and time.monotonic() < until:
        dispatcher._hurry()
        time.sleep(0.05)
    assert child.wait() == -signal.SIGKILL
    assert child.stdout.read() == "leader\n"


def test_helpers_of_a_killed_job_go_with_it() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert child.stdout is not None
    helper = int(child.stdout.readline())
    name = process_name(child.pid)
    assert end_leftovers(name) == 0 and psutil.pid_exists(helper)  # it lives
    child.kill()
    child.wait()
    assert end_leftovers(name) == 1
    awaited(lambda: not psutil.pid_exists(helper) or psutil.Process(helper).status() == "zombie", 10)
    assert end_leftovers("") == 0 and not end_group(name) and not end_group("1 0.00")
    assert this_process().startswith(str(os.getpid()))


def test_a_signal_in_words() -> None:
    assert killed_words(9) == "killed by signal 9 (out of memory, or by hand)"
    assert killed_words(15) == "killed by signal 15"


def test_a_spare_process_that_nobody_needs_ends(home: Path) -> None:
    starter = Starter(home, True, False)
    starter.prepare()
    spare = starter._spare
    assert spare is not None and spare.poll() is None
    starter.prepare()
    assert starter._spare is spare
    starter.close()
    assert awaited(lambda: spare.poll() is not None) and spare.returncode == 0
    starter.prepare()
    assert starter._spare is None
    assert Slot("gpu0", 0, "3").name == "gpu0.0"


# ---- in the terminal


def test_the_terminal_does_the_same(
    stocked: None, bench: Callable[..., Workbench], capsys: pytest.CaptureFixture[str]
) -> None:
    made = bench()
    assert call("jobs", made).total == 0
    job = call("jobs", made, action="submit", verb="ingest", overrides=list(SMALL)).job
    assert call("jobs", made, action="submit", verb="ingest", overrides=list(SMALL)).action == "is open already"
    assert "a service has to run to begin it: tsad serve" in capsys.readouterr().out
    (listed,) = call("jobs", made, state="pending", of_loop="default").jobs
    assert listed.id == job.id and job.id[:8] in capsys.readouterr().out
    shown = call("jobs", made, action="show", id=job.id[:6])
    assert shown.job.overrides == SMALL and "source.points=300" in capsys.readouterr().out
    for action, state in (("pause", "pending"), ("resume", "pending"), ("checkpoint", "pending"), ("stop", "stopped"),
                          ("retry", "pending"), ("stop", "stopped")):  # fmt: skip
        assert call("jobs", made, action=action, id=job.id).job.state == state
    assert call("jobs", made, action="log", id=job.id).text == ""
    assert call("jobs", made, action="delete", id=job.id).job is None
    with pytest.raises(UnknownJobError):
        call("jobs", made, action="show", id=job.id)
    for given in ({"action": "show"}, {"action": "submit"}, {"action": "submit", "verb": "serve"}):
        with pytest.raises(ConfigError):
            call("jobs", made, **given)


def test_a_failed_job_says_why_in_the_terminal(
    board: JobBoard, bench: Callable[..., Workbench], capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = board.submit("ingest", SMALL).job.id
    with pytest.raises(ConfigError), at_work(board, job_id) as work, work.progress.task("reading", 3):
        raise ConfigError("adapter.r is 0", "Give another.")
    call("jobs", board.bench, action="show", id=job_id)
    assert "ConfigError: adapter.r is 0. Give another." in capsys.readouterr().out
    board.retry(job_id)
    with pytest.raises(StopRequested), at_work(board, job_id) as work, work.progress.task("reading", 3):
        call("jobs", board.bench, action="show", id=job_id)
        board.stop(job_id)
        time.sleep(0.25)
        work.control.safe_point()
    assert "reading: 0 of 3" in capsys.readouterr().out
