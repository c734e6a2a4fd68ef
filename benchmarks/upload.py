"""Uploads over loopback: megabytes a second as they come, through the door, and what the service's memory does.

    python -m benchmarks.upload [--megabytes 200] [--turns 3]

Both sides on this machine, the service in a process of its own. Beside each other: a plain copy of the file on the same
disk; the file in one part (``PUT``, all of it received, one byte more announced, so that nothing is read); as a form
(``POST``, of a type that the door refuses at once); and as a form through the door, with validation and quality of all
its series, which the copy is no measure of: beside that stands ``tsad data action=register`` in this process.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from tsad.config import compose, settings, workbench
from tsad.config.workbench import Workbench
from tsad.core.serving import Address, Bounds, Standing
from tsad.steps.uploads import register
from tsad.tracking.store import open_store

MB = 10**6
PIECE = 1 << 20
LIMIT_GB = 4.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        file = written(place / "plant.csv", given.megabytes * MB)
        ours, theirs = context.Pipe()
        service = context.Process(target=serve, args=(place / "store", theirs))
        service.start()
        try:
            compare(file, ours.recv(), psutil.Process(service.pid), given.turns)
        finally:
            ours.send("stop")
            service.join(30)


def written(path: Path, size: int) -> Path:
    """A CSV file of about that size in layout=wide: a time column and a hundred series."""
    with path.open("w", encoding="ascii") as file:
        file.write("timestamp," + ",".join(f"p{k:03}" for k in range(100)) + "\n")
        line = ",".join(f"{k * 1.37:.3f}" for k in range(100)) + "\n"
        for row in range(1, size // (len(line) + 11)):
            file.write(f"{1_700_000_000 + 60 * row},{line}")
    return path


def bench_at(home: Path) -> Workbench:
    """A workbench on that store, reading such files."""
    words = ["source=csv", "source.layout=wide", f"service.upload_gb={LIMIT_GB}"]
    return workbench(replace(settings(compose(words), words), home=home))


def serve(home: Path, pipe: Connection) -> None:
    """The upload endpoints alone, until the pipe says stop."""
    from tsad.service.app import make_app
    from tsad.service.running import running
    from tsad.service.site import Site
    from tsad.service.uploads import uploads
    from tsad.verbs.asking import Asking

    at = Address("127.0.0.1", 0)
    bench = bench_at(home)
    open_store(bench.tracking, home)  # made once in a store's life: no part of an upload
    site = Site(bench, Asking(), Standing(at, "token", Bounds(1, 1, 600.0, MB)))
    with running(make_app(uploads(site)), at) as url:
        pipe.send(url)
        pipe.recv()


def compare(file: Path, url: str, service: psutil.Process, turns: int) -> None:
    """Each way several times, in turn, so that a busy minute is everybody's."""
    size, numbers = file.stat().st_size, itertools.count()
    post(url, file, "warm.txt")
    idle = service.memory_info().rss
    other = bench_at(file.parent / "other")
    open_store(other.tracking, other.home)
    ways: dict[str, Callable[[], Any]] = {
        "plain copy": lambda: copied(file), "PUT, received": lambda: put(url, file, next(numbers)),
        "POST, received": lambda: post(url, file, "plant.txt"),
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            seconds[name].append(taken(way))
    received = service.memory_info().rss
    doors: dict[str, Callable[[], Any]] = {
        "POST, through the door": lambda: post(url, file, f"plant{next(numbers)}.csv"),
        "register in this process": lambda: register(other, linked(file, next(numbers))),
    }
    for name, way in doors.items():
        seconds[name] = [taken(way) for _ in range(turns)]
    print(f"{size / MB:.0f} MB, {turns} turns; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, own in seconds.items():
        rate = size / MB / statistics.median(own)
        print(f"{name:26} {statistics.median(own):7.2f} s  {rate:7.1f} MB/s  (best {size / MB / min(own):.1f})")
    grown, after = (received - idle) / MB, (service.memory_info().rss - idle) / MB
    print(f"memory of the service: idle {idle / MB:.0f} MB, {grown:+.0f} after receiving, {after:+.0f} after the door")


def taken(way: Callable[[], Any]) -> float:
    """Seconds."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def copied(file: Path) -> None:
    """Through user space, as the service writes: no reflink, no sendfile."""
    target = file.with_name("copy")
    with file.open("rb") as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, PIECE)
    target.unlink()


def linked(file: Path, number: int) -> Path:
    """The file by another name, so that it is another upload."""
    other = file.with_name(f"plant{number}.csv")
    other.hardlink_to(file)
    return other


def put(url: str, file: Path, number: int) -> None:
    """All of the file as a part of one that is a byte longer."""
    size = file.stat().st_size
    headers = {"Content-Length": str(size), "Content-Range": f"bytes 0-{size - 1}/{size + 1}"}
    status = asked(url, "PUT", f"/uploads/benchmark-{number}?name=plant.csv", headers, pieces(file))
    if status != 202:
        raise RuntimeError(f"PUT answered {status}")


def post(url: str, file: Path, name: str) -> None:
    """The file as a form, under a name whose type the door takes or refuses."""
    head = f'--mark\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    tail = b"\r\n--mark--\r\n"
    length = len(head) + file.stat().st_size + len(tail)
    headers = {"Content-Length": str(length), "Content-Type": "multipart/form-data; boundary=mark"}
    status = asked(url, "POST", "/uploads", headers, itertools.chain([head], pieces(file), [tail]))
    if status != (201 if name.endswith(".csv") else 422):
        raise RuntimeError(f"POST of {name} answered {status}")


def asked(url: str, method: str, path: str, headers: dict[str, str], body: Iterator[bytes]) -> int:
    """The status of the answer."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=1200)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def pieces(file: Path) -> Iterator[bytes]:
    """Its content."""
    with file.open("rb") as source:
        while piece := source.read(PIECE):
            yield piece


if __name__ == "__main__":
    main()
