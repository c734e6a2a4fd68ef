"""Predictions over HTTP: latency, requests per second, memory, and the same model behind MLflow's scoring server.

    python -m benchmarks.predict [--requests 300] [--clients 1 16 64] [--detector robust_zscore] [--memory 2000]
    python -m benchmarks.predict --memory 100000 --requests 300       # the issue's figure; takes an hour and more
    python -m benchmarks.predict --no-peer

A service of its own over a store of its own with a small champion; windows of 512 points, one value a minute. Clients
are threads of this process with a connection each, both sides on this machine, loopback. Overhead: what a request took
beyond the model's own time, which the answer tells. The peer: ``mlflow models serve`` of the very version, in the same
run, one worker, asked for the same windows as a data frame.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

POINTS, LOOP = 512, "bench"
LOOKS = 5  # at memory, after as many requests each: what flattens is no leak
BEGIN = 1_767_225_600  # 2026-01-01, seconds since 1970
PATIENCE = 300.0  # seconds until a server answers
SMALL = (
    "experiment=demo", "source.series=3", "source.points=800", "windows.length=100", "sampling.windows=6",
    "loop.iterations=1", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100", "adapter=none",
    "tracking.system_metrics=false", "review=simulated", f"loop.name={LOOP}",
)  # fmt: skip


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--detector", default="robust_zscore")
    parser.add_argument("--memory", type=int, default=2000, help="requests between the two looks at memory; 0 = none")
    parser.add_argument("--no-peer", action="store_true", help="without MLflow's scoring server")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch, "store")
        champion(home, given.detector)
        load = f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
        print(f"{given.detector}, windows of {POINTS} points, {load}", flush=True)
        with service(home) as (server, token, pid):
            ours = Target(server, "/api/v1/predict", {"Authorization": f"Bearer {token}"}, question, model_seconds)
            rates = measured("tsad serve", ours, given.clients, given.requests)
            processor(ours, pid, given.requests)
            if given.memory:
                memory(ours, pid, given.memory)
        if not given.no_peer:
            with scoring_server(home, given.detector) as server:
                peer = Target(server, "/invocations", {}, frame)
                others = measured("mlflow models serve", peer, given.clients, given.requests)
            for count in given.clients:
                ratio = rates[count] / others[count]
                print(f"{count} clients: {ratio:.2f} times as many per second as MLflow's server")


@dataclass(frozen=True)
class Target:
    """A server, and how it is asked.

    Attributes:
        body: of the request with that number. own: seconds of the model itself, as the answer tells them.
    """

    server: tuple[str, int]
    path: str
    headers: dict[str, str]
    body: Callable[[int], bytes]
    own: Callable[[bytes], float] | None = None


@dataclass
class Tally:
    """What was measured by all clients together."""

    seconds: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


def values(number: int) -> list[float]:
    """A window of a calm series with one stretch that is not."""
    shift = number % 97
    calm = (math.sin((k + shift) / 9) + 0.01 * (k * 7919 % 13) for k in range(POINTS))
    return [value + (4.0 if 300 <= k < 310 else 0.0) for k, value in enumerate(calm)]


def question(number: int) -> bytes:
    """A request to tsad's service."""
    stamps = [BEGIN + 60 * k for k in range(POINTS)]
    return json.dumps({"point_id": f"p{number % 97}", "timestamps": stamps, "values": values(number)}).encode()


def frame(number: int) -> bytes:
    """The same for MLflow's scoring server."""
    import numpy as np

    stamps = [f"{np.datetime64(BEGIN + 60 * k, 's')}" for k in range(POINTS)]
    rows = [[f"p{number % 97}", stamp, value] for stamp, value in zip(stamps, values(number), strict=True)]
    return json.dumps({"dataframe_split": {"columns": ["point_id", "timestamp", "value"], "data": rows}}).encode()


def model_seconds(answer: bytes) -> float:
    """Of the model itself."""
    return float(json.loads(answer)["seconds"])


def measured(name: str, target: Target, clients: Sequence[int], requests: int) -> dict[int, float]:
    """Requests per second by number of clients."""
    bodies, rates = [target.body(number) for number in range(97)], {}
    ask(target, bodies, 20, Tally())
    for count in clients:
        tally, begun = Tally(), time.perf_counter()
        threads = [
            threading.Thread(target=ask, args=(target, bodies, max(1, requests // count), tally)) for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates[count] = len(tally.seconds) / (time.perf_counter() - begun)
        rate = f"{name}, {count} clients: {rates[count]:.1f}/s"
        print(f"{rate}, {told(tally.seconds)} ms; statuses {tally.statuses}", flush=True)
        if tally.own:
            beyond = [whole - own for whole, own in zip(tally.seconds, tally.own, strict=True)]
            print(f"  the model's own time {told(tally.own)} ms; beyond it {told(beyond)} ms", flush=True)
    return rates


def ask(target: Target, bodies: Sequence[bytes], count: int, tally: Tally) -> None:
    """So many requests over one connection."""
    connection = http.client.HTTPConnection(*target.server, timeout=PATIENCE)
    headers = {"Content-Type": "application/json", **target.headers}
    for number in range(count):
        begun = time.perf_counter()
        connection.request("POST", target.path, bodies[number % len(bodies)], headers)
        answer = connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - begun
        tally.statuses[answer.status] = tally.statuses.get(answer.status, 0) + 1
        if answer.status == 200:
            tally.seconds.append(seconds)
            if target.own is not None:
                tally.own.append(target.own(body))
    connection.close()


def told(seconds: Sequence[float]) -> str:
    """p50, p95 and p99 in ms."""
    ordered = sorted(seconds)
    places = {share: min(len(ordered) - 1, len(ordered) * share // 100) for share in (50, 95, 99)}
    return ", ".join(f"p{share} {1000 * ordered[place]:.1f}" for share, place in places.items())


def memory(target: Target, pid: int, requests: int) -> None:
    """Resident memory of the service's processes before, on the way and after so many requests by four clients."""
    bodies, each = [target.body(number) for number in range(97)], requests // 4 // LOOKS
    looks, begun = [resident(pid)], time.perf_counter()
    for _ in range(LOOKS):
        threads = [threading.Thread(target=ask, args=(target, bodies, each, Tally())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        looks.append(resident(pid))
    parts = ", ".join(f"{name} {' -> '.join(f'{look.get(name, 0):.0f}' for look in looks)} MB" for name in looks[0])
    print(f"memory, {requests} requests in {time.perf_counter() - begun:.0f} s: {parts}")


def processor(target: Target, pid: int, requests: int) -> None:
    """What a request costs the service's processes, which depends less on what else the machine does."""
    bodies, tally = [target.body(number) for number in range(97)], Tally()
    before = used(pid)
    ask(target, bodies, requests, tally)
    spent = {name: 1000 * (seconds - before[name]) / requests for name, seconds in used(pid).items()}
    own = 1000 * sum(tally.own) / requests
    both = f"web {spent['web']:.1f} ms, models {spent['models']:.1f} ms"
    print(f"processor time of a request: {both}; the model's own time by the clock {own:.1f} ms", flush=True)


def used(pid: int) -> dict[str, float]:
    """Processor seconds of both processes."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = {name: Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for name, one in both(pid).items()}
    return {name: (int(stat[11]) + int(stat[12])) / ticks for name, stat in fields.items()}


def both(pid: int) -> dict[str, int]:
    """The process that answers HTTP, and the one with the models."""
    found = {"web": pid}
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for other in child.read_text().split():
            if b"model_work" in Path(f"/proc/{other}/cmdline").read_bytes():
                found["models"] = int(other)
    return found


def resident(pid: int) -> dict[str, float]:
    """Resident MB of both processes."""
    page = os.sysconf("SC_PAGE_SIZE") / 1e6
    return {name: int(Path(f"/proc/{one}/statm").read_text().split()[1]) * page for name, one in both(pid).items()}


def champion(home: Path, detector: str) -> None:
    """A store with a loop that has a champion."""
    words = [*SMALL, f"detector={detector}"]
    run([sys.executable, "-m", "tsad", "iterate", *words], home)


def run(command: Sequence[str], home: Path) -> None:
    """A command to its end."""
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)


def environment(home: Path) -> dict[str, str]:
    """Of every process here; MLflow looks for uvicorn on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {
        **os.environ, "PATH": path, "TSAD_HOME": str(home), "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip


@contextmanager
def service(home: Path) -> Iterator[tuple[tuple[str, int], str, int]]:
    """``tsad serve``: where it is, its token and its process."""
    port = free_port()
    words = [f"port={port}", f"loop.name={LOOP}", "waiting=256", "service.history_days=1"]
    with started([sys.executable, "-m", "tsad", "serve", *words], home, port) as pid:
        token = (home / "service" / "token").read_text().strip()
        target = Target(("127.0.0.1", port), "/api/v1/predict", {"Authorization": f"Bearer {token}"}, question)
        until = time.monotonic() + PATIENCE
        while not _answers(target) and time.monotonic() < until:
            time.sleep(0.5)
        yield ("127.0.0.1", port), token, pid


def _answers(target: Target) -> bool:
    tally = Tally()
    with suppress(OSError):
        ask(target, [target.body(0)], 1, tally)
    return 200 in tally.statuses


@contextmanager
def scoring_server(home: Path, detector: str) -> Iterator[tuple[str, int]]:
    """``mlflow models serve`` of the same version, in this environment."""
    port = free_port()
    uri = f"models:/tsad-{LOOP}-{detector}/1"
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "-p", str(port), "--env-manager", "local",
        "--workers", "1",
    ]  # fmt: skip
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{home / 'mlflow.db'}"  # of this process and its children alone
    with started(command, home, port):
        until = time.monotonic() + PATIENCE
        target = Target(("127.0.0.1", port), "/invocations", {}, frame)
        while not _answers(target) and time.monotonic() < until:
            time.sleep(0.5)
        yield "127.0.0.1", port


@contextmanager
def started(command: Sequence[str], home: Path, port: int) -> Iterator[int]:
    """A server, for as long as the block takes; gives its process's id once something listens."""
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment(home), stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        else:
            raise SystemExit((home / "server.log").read_text())
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """One that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
