"""Live metrics: what reaches clients of a job's stream, how late, and what that costs the service.

    python benchmarks/live.py                       # 50 clients for a minute
    python benchmarks/live.py --minutes 10          # the figure of issue 19
    python benchmarks/live.py --clients 50 100 200 500 --seconds 30   # where it bends

A process that appends as a training job does (its rate beside the figures), the whole service as ``tsad serve`` starts
it, and a process of clients that come back with their last id when they are cut. Lost and doubled: against the job's
file. Delay: from the append to the client, one clock, the clients' own turn to read included. Memory and CPU: of the
service's process alone, beside what it takes idle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tsad.jobs.folder import JobFolder

sys.path.insert(0, str(Path(__file__).parent))  # where jobs.py lies, also for python -m
from jobs import Site, site

STEP, BAR, SYSTEM, EVALUATION = 1.0, 0.5, 5.0, 10.0  # seconds between events of each kind, as a training tells them
SETTLE, IDLE = 30.0, 60.0  # seconds until the service is idle, and over which it is measured then
LATE = 10.0  # seconds that the last events have to arrive
MB = 1024**2


def train(home: str, job: str, seconds: float) -> None:
    """Append what a training tells, each event with the moment it was told at (monotonic clock)."""
    folder, began = JobFolder(Path(home), job), time.monotonic()
    told: list[tuple[float, str, dict[str, Any]]] = [
        (STEP, "metrics", {"step": 1, "step_loss": 0.123456, "learning_rate": 1e-3, "grad_norm": 0.98765}),
        (BAR, "progress", {"parts": [{"name": "training", "total": 1000, "count": 1}], "rate": 3.2}),
        (SYSTEM, "metrics", {"step": 1, **{f"system/figure_{k}": 1234.5678 for k in range(6)}}),
        (EVALUATION, "metrics", {"step": 1, **{f"validation_{k}": 0.87654321 for k in range(8)}}),
    ]  # fmt: skip
    due = [began + every for every, _, _ in told]
    while (now := time.monotonic()) < began + seconds:
        for place, (every, kind, values) in enumerate(told):
            if now >= due[place]:
                due[place] += every
                folder.append(kind, {**values, "told": time.monotonic()})
        time.sleep(max(0.0, min(due) - time.monotonic()))
    folder.append("state", {"state": "succeeded", "told": time.monotonic()})


@dataclass
class Heard:
    """What one client has heard.

    Attributes:
        ids: in the order they came. delays: seconds, of those that were told while it listened.
        cut: how often its stream ended before the job. refused: connections that were answered otherwise.
    """

    ids: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    cut: int = 0
    refused: int = 0


async def listen(url: str, token: str, job: str, until: float) -> Heard:
    """Hear the job to its end, as a browser does."""
    heard, place = Heard(), urlsplit(url)
    while time.monotonic() < until:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        last = f"Last-Event-ID: {job}:{heard.ids[-1]}\r\n" if heard.ids else ""
        head = f"GET /api/v1/stream/metrics?job={job} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        writer.write(f"{head}{last}\r\n".encode())
        try:
            async with asyncio.timeout(until - time.monotonic()):
                if b" 200 " not in await reader.readline():
                    heard.refused += 1
                    await asyncio.sleep(1)
                elif await _hear(reader, heard):
                    return heard
                else:
                    heard.cut += 1
        except (TimeoutError, ConnectionError):
            heard.cut += 1
        finally:
            writer.close()
    return heard


async def _hear(reader: asyncio.StreamReader, heard: Heard) -> bool:
    """Take events until the stream ends; whether the job has ended with it."""
    began = time.monotonic()
    while line := await reader.readline():
        if line.startswith(b"event: end"):
            return True
        if line.startswith(b'data: {"job":') and b'"kind":' in line:
            now, event = time.monotonic(), json.loads(line[6:])
            heard.ids.append(event["id"])
            if event["values"]["told"] > began:
                heard.delays.append(now - event["values"]["told"])
    return False


def crowd(told: Any, url: str, token: str, job: str, clients: int, until: float) -> None:
    """All clients in this process; what they heard goes through the pipe."""

    async def together() -> list[Heard]:
        return list(await asyncio.gather(*(listen(url, token, job, until) for _ in range(clients))))

    told.send(asyncio.run(together()))


@dataclass(frozen=True)
class Cost:
    """Share of a core in percent, and the most memory in MB, over a time."""

    cpu: float
    memory: float


def cost(pid: int, seconds: float) -> Cost:
    """What a process takes over the next seconds."""
    from psutil import Process

    process, began, most = Process(pid), time.monotonic(), 0.0
    before = sum(process.cpu_times()[:2])
    while time.monotonic() < began + seconds:
        most = max(most, process.memory_info().rss / MB)
        time.sleep(0.5)
    used = sum(process.cpu_times()[:2]) - before
    return Cost(100 * used / (time.monotonic() - began), most)


def measured(made: Site, clients: int, seconds: float, idle: Cost) -> dict[str, Any]:
    """So many clients of one job for so long."""
    assert made.process is not None
    spawn, job = multiprocessing.get_context("spawn"), uuid.uuid4().hex
    token = (made.home / "service" / "token").read_text().strip()
    JobFolder(made.home, job).append("state", {"state": "running", "told": 0.0})
    here, there = spawn.Pipe()
    until = time.monotonic() + seconds + LATE + 5
    listeners = spawn.Process(target=crowd, args=(there, made.url, token, job, clients, until))
    listeners.start()
    time.sleep(5)  # all of them are there before it begins
    training = spawn.Process(target=train, args=(str(made.home), job, seconds))
    training.start()
    busy = cost(made.process.pid, seconds)
    training.join()
    heard: list[Heard] = here.recv()
    listeners.join()
    return _figures(heard, [event.id for event in JobFolder(made.home, job).events()], seconds, busy, idle)


def _figures(heard: list[Heard], told: list[int], seconds: float, busy: Cost, idle: Cost) -> dict[str, Any]:
    delays = sorted(delay for one in heard for delay in one.delays)

    def quantile(share: float) -> float:
        return round(1000 * delays[min(len(delays) - 1, int(share * len(delays)))], 1) if delays else float("nan")

    return {
        "clients": len(heard), "seconds": seconds, "events": len(told),
        "events per second": round(len(told) / seconds, 2),
        "lost": sum(len(set(told) - set(one.ids)) for one in heard),
        "doubled": sum(len(one.ids) - len(set(one.ids)) for one in heard),
        "out of order": sum(one.ids != sorted(one.ids) for one in heard),
        "cut": sum(one.cut for one in heard), "refused": sum(one.refused for one in heard),
        "delay ms": {"p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99), "max": quantile(1.0)},
        "more than idle": {
            "memory MB": round(busy.memory - idle.memory, 1), "percent of a core": round(busy.cpu - idle.cpu, 2),
        },
        "load": [round(load, 1) for load in os.getloadavg()],
    }  # fmt: skip


def main() -> None:
    """Print the figures; fails where anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="*", default=[50], help="one run for each")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--minutes", type=float, default=0.0)
    given = parser.parse_args()
    seconds, bad = given.minutes * 60 or given.seconds, False
    with site("service.spare=false") as made:
        assert made.process is not None
        time.sleep(SETTLE)
        idle = cost(made.process.pid, IDLE)
        print(json.dumps({"idle service": {"memory MB": round(idle.memory), "percent of a core": round(idle.cpu, 2)}}))
        for clients in given.clients:
            figures = measured(made, clients, seconds, idle)
            print(json.dumps(figures, indent=1), flush=True)
            bad = bad or bool(figures["lost"] or figures["doubled"] or figures["out of order"])
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
