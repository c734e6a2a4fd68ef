"""Jobs as they are run: real services, kills at random instants, a real Redis, several services at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port, unavailable

from benchmarks.jobs import ENDED, Site, await_all, finished_runs, kills, site

pytestmark = pytest.mark.live
SECONDS = 240.0


def awaited(made: Site, job_id: str, states: tuple[str, ...] = ENDED) -> dict[str, Any]:
    """The job, as soon as it is in one of those states."""
    until = time.monotonic() + SECONDS
    while True:
        job: dict[str, Any] = made.call("GET", f"/jobs/{job_id}").json()
        if job["state"] in states or time.monotonic() > until:
            return job
        time.sleep(0.1)


def test_kills_lose_and_double_nothing() -> None:
    figures = kills(3, seed=int(time.time()))
    print(figures)
    assert figures["lost"] == 0 and figures["doubled"] == 0 and figures["succeeded without its run"] == 0, figures
    assert figures["jobs"] == figures["submitted"] == 3


def test_ten_clients_of_two_services_get_one_job() -> None:
    with site() as one:
        other = Site(one.home)
        other.start()
        try:
            with ThreadPoolExecutor(10) as clients:
                answers = list(clients.map(lambda n: (one, other)[n % 2].post("same"), range(10)))
            assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
            (job_id,) = {answer.json()["id"] for answer in answers}
            ids = [job_id, *((one, other)[n % 2].post(f"loop-{n}").json()["id"] for n in range(3))]
            jobs = await_all(one)
            assert {job["id"] for job in jobs} == set(ids) and {job["state"] for job in jobs} == {"succeeded"}
            runs = finished_runs(one.home)
            assert [runs[job_id] for job_id in ids[1:]] == [1, 1, 1]
        finally:
            other.stop()


def test_a_job_outlives_its_service_and_keeps_its_place() -> None:
    with site() as made:
        first = made.post("loop-1").json()["id"]
        made.call("POST", f"/jobs/{first}/pause")
        assert awaited(made, first, ("paused", *ENDED))["state"] == "paused"
        made.kill()
        made.start()
        second = made.post("loop-2").json()["id"]
        time.sleep(8)
        assert awaited(made, first, ("paused",))["state"] == "paused"
        assert awaited(made, second, ("pending",))["state"] == "pending"  # the one place is taken
        made.call("POST", f"/jobs/{first}/resume")
        assert awaited(made, first)["state"] == awaited(made, second)["state"] == "succeeded"
        assert awaited(made, first)["attempt"] == 1


def test_a_stop_ends_a_job_while_it_works() -> None:
    with site("service.stop_seconds=5") as made:
        words = ["source=synthetic", "source.series=200", "source.points=20000", "detector=kmeans", "version=none"]
        body = {"verb": "detect", "overrides": [*words, "loop.name=long"]}
        job_id = made.call("POST", "/jobs", json=body).json()["id"]
        assert awaited(made, job_id, ("running", *ENDED))["state"] == "running"
        time.sleep(3)
        made.call("POST", f"/jobs/{job_id}/stop")
        job = awaited(made, job_id)
        assert (job["state"], job["exit"]) == ("stopped", "stopped by request")
        assert made.call("POST", f"/jobs/{job_id}/retry").json()["state"] == "pending"
        assert awaited(made, job_id, ("running", *ENDED))["attempt"] == 2
        made.call("POST", f"/jobs/{job_id}/stop")
        assert awaited(made, job_id)["state"] == "stopped"


@dataclass
class Redis:
    """Debian's redis-server on this machine, without anything kept on disk."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 30
        import redis

        while time.monotonic() < until:
            try:
                redis.Redis.from_url(self.url).ping()
                return
            except redis.RedisError:
                time.sleep(0.1)
        raise AssertionError("redis-server did not come up")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def redis_server() -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        unavailable("There is no redis-server: apt-get install redis-server")
    made = Redis(free_port())
    made.start()
    yield made
    made.kill()


def test_redis_holds_the_queue_and_may_lose_it(redis_server: Redis) -> None:
    with site(f"service.queue={redis_server.url}") as made:
        first = made.post("loop-1")
        assert first.status_code == 201
        job = awaited(made, first.json()["id"])
        assert job["state"] == "succeeded", job
        blocking = made.post("loop-2").json()["id"]
        made.call("POST", f"/jobs/{blocking}/pause")
        waiting = made.post("loop-3").json()["id"]
        awaited(made, blocking, ("paused",))
        redis_server.kill()  # and all that waits in it is gone
        answer = made.post("loop-4")
        assert answer.status_code == 503 and answer.json()["code"] == "QueueError", answer.text
        assert made.call("GET", f"/jobs/{waiting}").json()["state"] == "pending"
        redis_server.start()
        made.call("POST", f"/jobs/{blocking}/resume")
        assert awaited(made, blocking)["state"] == awaited(made, waiting)["state"] == "succeeded"
        assert made.post("loop-4").status_code == 201
        assert {job["state"] for job in await_all(made)} == {"succeeded"}
        assert set(finished_runs(made.home).values()) == {1}


def test_a_worker_works_for_a_service_that_works_on_nothing(redis_server: Redis) -> None:
    queue = f"service.queue={redis_server.url}"
    with site(queue, "service.cpu_jobs=0") as made:
        job_id = made.post("loop-1").json()["id"]
        time.sleep(3)
        assert made.call("GET", f"/jobs/{job_id}").json()["state"] == "pending"
        words = [sys.executable, "-m", "tsad", "serve", "only=worker", queue, "-o", "json"]
        environment = {**os.environ, "TSAD_HOME": str(made.home)}
        worker = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, cwd=Path.cwd())
        try:
            assert worker.stdout is not None and b'"cpu.0"' in worker.stdout.readline()
            assert awaited(made, job_id)["state"] == "succeeded"
        finally:
            worker.send_signal(signal.SIGINT)
            assert worker.wait(60) == 0


def test_a_job_hears_what_another_host_asks(redis_server: Redis, tmp_path: Path) -> None:
    """Two stores' folders and one tracking database are two hosts; the queue is named on command lines alone."""
    shared = (f"service.queue={redis_server.url}", f"tracking.uri=sqlite:///{tmp_path / 'shared.db'}")
    with site(*shared, "service.cpu_jobs=0") as made:
        job_id = made.post("loop-1").json()["id"]
        made.call("POST", f"/jobs/{job_id}/pause")
        words = [sys.executable, "-m", "tsad", "serve", "only=worker", *shared, "-o", "json"]
        environment = {**os.environ, "TSAD_HOME": str(tmp_path / "there")}
        worker = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, cwd=Path.cwd())
        try:
            assert awaited(made, job_id, ("paused", *ENDED))["state"] == "paused"
            made.call("POST", f"/jobs/{job_id}/resume")
            assert awaited(made, job_id)["state"] == "succeeded"
            second = made.post("loop-2").json()["id"]
            made.call("POST", f"/jobs/{second}/pause")
            assert awaited(made, second, ("paused", *ENDED))["state"] == "paused"
            made.call("POST", f"/jobs/{second}/stop")
            assert awaited(made, second)["state"] == "stopped"
        finally:
            worker.send_signal(signal.SIGINT)
            assert worker.wait(60) == 0
