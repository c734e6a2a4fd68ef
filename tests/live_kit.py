"""A service of the live part alone, over jobs that are folders; clients of its streams."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import APIRouter, Depends

from tsad.core.errors import TsadError, UnknownJobError
from tsad.core.serving import Address
from tsad.jobs.folder import JobFolder
from tsad.service.access import token_needed
from tsad.service.app import make_app
from tsad.service.errors import RequestRefused
from tsad.service.fanout import Fanout, Pace
from tsad.service.live import Training, live
from tsad.service.running import running
from tsad.service.sockets import sockets

TOKEN = "correct-horse-battery"
HERE = Address("127.0.0.1", 0)
QUICK = Pace(look=0.005, silence=0.2, behind=0.5, linger=0.2)


@dataclass
class Known:
    """What a job's record says."""

    id: str
    state: str

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "state": self.state}


@dataclass
class Folders:
    """Jobs as folders and a state each, in the place of those in MLflow."""

    home: Path
    states: dict[str, str] = field(default_factory=dict)

    def get(self, job_id: str) -> Known:
        if job_id not in self.states:
            raise UnknownJobError(f"there is no job {job_id}")
        return Known(job_id, self.states[job_id])

    def list(self, state: str = "", verb: str = "", loop: str = "", limit: int = 50, offset: int = 0) -> Any:
        found = [Known(job, at) for job, at in reversed(self.states.items()) if at == state]
        return found[offset : offset + limit], len(found)

    def _ask(self, job_id: str, **asked: Any) -> Known:
        known = self.get(job_id)
        if known.state in ("succeeded", "failed", "stopped"):
            raise RequestRefused(409, f"job {job_id} has ended")
        JobFolder(self.home, job_id).ask(**asked)
        return known

    def stop(self, job_id: str) -> Known:
        return self._ask(job_id, stop=True)

    def pause(self, job_id: str) -> Known:
        return self._ask(job_id, pause=True)

    def resume(self, job_id: str) -> Known:
        return self._ask(job_id, pause=False)

    def checkpoint(self, job_id: str) -> Known:
        return self._ask(job_id, checkpoint=True)

    def state(self, job_id: str) -> str:
        return self.get(job_id).state

    def job(self, job_id: str, state: str = "running") -> JobFolder:
        """A job more, and its folder."""
        self.states[job_id] = state
        return JobFolder(self.home, job_id)


@contextmanager
def serving(jobs: Folders, pace: Pace = QUICK, at: Address = HERE) -> Iterator[str]:
    """The live part on a real uvicorn; gives its URL."""
    fanout = Fanout(jobs.home, jobs.state, pace)
    training = Training(jobs, fanout, lambda job: JobFolder(jobs.home, job))
    api = APIRouter(prefix="/api/v1", dependencies=[Depends(token_needed(TOKEN))])
    api.include_router(live(training))
    app = make_app(api, sockets(training, TOKEN, "/api/v1/ws"))
    with ExitStack() as parts:
        url = parts.enter_context(running(app, at, 3.0))
        parts.enter_context(fanout.reading())
        yield url


def client(url: str, token: str = TOKEN) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=20)


@dataclass
class Event:
    """An event of a stream as its client has it."""

    id: str
    name: str
    data: dict[str, Any]

    @property
    def number(self) -> int:
        return int(self.data["id"])


def events(lines: Iterator[str]) -> Iterator[Event]:
    """Events of the lines of a stream, by the rules of HTML (9.2.6)."""
    found: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            found[name] = value.removeprefix(" ")
        else:
            if "data" in found:
                yield Event(found.get("id", ""), found.get("event", "message"), json.loads(found["data"]))
            found = {}


@contextmanager
def listening(url: str, job: str, last: str = "", **query: Any) -> Iterator[Iterator[Event]]:
    """The events of a stream as they come."""
    headers = {"Last-Event-ID": last} if last else {}
    with client(url) as http, http.stream(
        "GET", "/api/v1/stream/metrics", params={"job": job, **query}, headers=headers
    ) as answer:
        if answer.status_code != 200:
            answer.read()
            raise TsadError(f"{answer.status_code}: {answer.text}")
        yield events(answer.iter_lines())


class Listener(threading.Thread):
    """Listens as a browser does: comes back with the last id whenever the stream ends before the job does."""

    def __init__(self, url: Callable[[], str], job: str) -> None:
        super().__init__(daemon=True)
        self._url, self._job = url, job
        self.got: list[Event] = []
        self.names: list[str] = []
        self.came_back = -1

    def run(self) -> None:
        last, until = "", time.monotonic() + 30
        while time.monotonic() < until and "end" not in self.names:
            self.came_back += 1
            try:
                with listening(self._url(), self._job, last) as stream:
                    for event in stream:
                        self.names.append(event.name)
                        if event.id:
                            last = event.id
                            self.got.append(event)
            except (httpx.HTTPError, TsadError):
                time.sleep(0.05)


def wait_for(what: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What it gives as soon as that is true."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.01)
    return found
