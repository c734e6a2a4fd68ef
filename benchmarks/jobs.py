"""Jobs of the service: how soon one begins, and whether kills lose or double any.

    python -m benchmarks.jobs                 # start latency, five jobs with and without the spare process
    python -m benchmarks.jobs --kills 25      # kill -9 of service, job, or both, at so many random instants

Every job is a ``tsad detect`` of its own loop, whose effect can be counted: one finished DETECT run that bears the
job's id. Lost: a job that does not end as succeeded. Doubled: one with more than one such run, or two jobs for what was
submitted once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

SMALL = ("source=synthetic", "source.series=2", "source.points=400", "detector=robust_zscore", "version=none")
PATIENCE = 900.0  # seconds for all jobs to end
ENDED = ("succeeded", "failed", "stopped")
KINDS = ("service", "job", "both")
WAITING, WORKING = 8.0, 4.0  # seconds of a job's life before and after it is begun, about


@dataclass
class Site:
    """A service over a store of its own, that can be killed and started again.

    Attributes:
        words: of its command line.
    """

    home: Path
    words: Sequence[str] = ()
    url: str = ""
    process: subprocess.Popen[str] | None = None
    log: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {**os.environ, "TSAD_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        with (self.home / "serve.err").open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tsad", "serve", "port=0", "-o", "json", *self.words], env=environment,
                stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit((self.home / "serve.err").read_text()[-2000:])
        self.url = str(json.loads(line)["url"])

    def kill(self) -> None:
        """kill -9, as when the machine has no memory left."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As Ctrl-C does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        self.process.kill()

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A request with the token."""
        token = (self.home / "service" / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        url = f"{self.url}/api/v1{path}"
        return httpx.request(method, url, headers=headers, timeout=60, trust_env=False, **more)

    def post(self, loop: str, key: str = "") -> httpx.Response:
        """Submit a job about a loop of its own."""
        body = {"verb": "detect", "overrides": [*SMALL, f"loop.name={loop}"]}
        return self.call("POST", "/jobs", json=body, headers={"Idempotency-Key": key} if key else {})

    def jobs(self) -> list[dict[str, Any]]:
        """All of them."""
        return list(self.call("GET", "/jobs", params={"limit": 500}).json()["items"])

    def workers(self) -> list[int]:
        """Processes of its jobs that are alive, spare ones not counted."""
        from psutil import NoSuchProcess, process_iter

        found = []
        for process in process_iter(["pid", "cmdline"]):
            with suppress(NoSuchProcess, PermissionError):
                words = process.info["cmdline"] or []
                if "detect" in words or not words[3:]:
                    mine = process.environ().get("TSAD_HOME") == str(self.home)
                    if mine and words[1:3] == ["-m", "tsad"]:
                        found.append(process.info["pid"])
        return found


@contextmanager
def site(*words: str) -> Iterator[Site]:
    """A service on a store of its own, which goes with it."""
    home = Path(tempfile.mkdtemp(prefix="tsad-jobs-"))
    made = Site(home, words)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        for pid in made.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)


def kill_at_random(made: Site, kills: int, seed: int) -> Counter[str]:
    """Submit a job, kill something at a random instant of its life, start again; so many times.

    Every other instant is counted from when the job runs, for on a busy machine it waits most of its life.

    Returns:
        What was killed in which state, counted.
    """
    dice, counted = random.Random(seed), Counter[str]()
    for number in range(kills):
        answer = made.post(f"loop-{number}", key=f"key-{number}")
        assert answer.status_code in (200, 201), answer.text
        job_id = answer.json()["id"]
        if number % 5 == 4:
            made.call("POST", f"/jobs/{job_id}/pause")
        if number % 2:
            _await_running(made, job_id)
        time.sleep(dice.uniform(0, WAITING if number % 2 == 0 else WORKING))
        state = made.call("GET", f"/jobs/{job_id}").json()["state"]
        what = dice.choice(KINDS)
        if what != "service":
            for pid in made.workers():
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
        if what != "job":
            made.kill()
            made.start()
        counted[f"{what} while {state}"] += 1
        if number % 5 == 4 and (again := made.call("POST", f"/jobs/{job_id}/resume")).status_code not in (200, 409):
            raise SystemExit(f"resume: {again.text}")
        repeated = made.post(f"loop-{number}", key=f"key-{number}")  # a client that never had the answer
        assert repeated.json()["id"] == job_id, "a client that comes again gets another job"
    return counted


def _await_running(made: Site, job_id: str) -> None:
    until = time.monotonic() + 60
    while made.call("GET", f"/jobs/{job_id}").json()["state"] == "pending" and time.monotonic() < until:
        time.sleep(0.05)


def await_all(made: Site) -> list[dict[str, Any]]:
    """Every job, when all have ended."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        jobs = made.jobs()
        if all(job["state"] in ENDED for job in jobs):
            return jobs
        time.sleep(1)
    return made.jobs()


def finished_runs(home: Path) -> Counter[str]:
    """How many finished DETECT runs there are of each job."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments() if e.name.startswith("loop-")]
    runs = client.search_runs(experiments, "attributes.status = 'FINISHED'", max_results=10_000) if experiments else []
    return Counter(run.data.tags.get("tsad.job", "") for run in runs if run.data.tags.get("tsad.step") == "DETECT")


def kills(count: int, seed: int) -> dict[str, Any]:
    """Lost and doubled jobs after so many kills."""
    with site("service.attempts=99", "service.cpu_jobs=2") as made:
        began = time.monotonic()
        counted = kill_at_random(made, count, seed)
        jobs = await_all(made)
        runs = finished_runs(made.home)
        lost = [job for job in jobs if job["state"] != "succeeded"]
        doubled = [job for job in jobs if runs[job["id"]] > 1]
        undone = [job for job in jobs if job["state"] == "succeeded" and runs[job["id"]] == 0]
        return {
            "kills": count, "seed": seed, "jobs": len(jobs), "submitted": count, "lost": len(lost),
            "doubled": len(doubled) + max(0, len(jobs) - count), "succeeded without its run": len(undone),
            "attempts": sum(job["attempt"] for job in jobs), "seconds": round(time.monotonic() - began),
            "killed": dict(sorted(counted.items())), "why lost": [(job["state"], job["exit"]) for job in lost],
        }  # fmt: skip


def latency(repeats: int = 5) -> dict[str, Any]:
    """Seconds from POST to 201, to running and to the end, median and worst, with and without the spare process."""
    found: dict[str, Any] = {}
    for spare in ("true", "false"):
        with site(f"service.spare={spare}") as made:
            time.sleep(10)
            rows = [_timed(made, number) for number in range(repeats)]
        for place, name in enumerate(("submitted", "running", "ended")):
            times = sorted(row[place] for row in rows)
            found[f"spare={spare} {name}"] = {"median": times[len(times) // 2], "worst": times[-1]}
    return found


def _timed(made: Site, number: int) -> list[float]:
    began = time.monotonic()
    job_id = made.post(f"loop-{number}").json()["id"]
    times = [time.monotonic() - began]
    for states in (("running", *ENDED), ENDED):
        while made.call("GET", f"/jobs/{job_id}").json()["state"] not in states:
            time.sleep(0.02)
        times.append(time.monotonic() - began)
    time.sleep(8)  # a new spare process gets ready
    return [round(seconds, 2) for seconds in times]


def main() -> None:
    """Print the figures, with the machine's load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0, help="so many kills at random instants, instead of latencies")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    figures = kills(given.kills, given.seed) if given.kills else latency(given.repeats)
    figures["load"] = [round(load, 1) for load in os.getloadavg()]
    print(json.dumps(figures, indent=1))
    if figures.get("lost") or figures.get("doubled"):
        sys.exit(1)


if __name__ == "__main__":
    main()
