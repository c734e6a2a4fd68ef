"""A loop that starts itself: from the last submit to the next iteration begun, and how soon the backend answers.

    python -m benchmarks.backend [--requests 200] [--turns 3] [--predict-only]

Both sides on this machine, loopback. ``watch`` with its webhook on an embedded Label Studio, an hour between two looks:
from the answer to the last submit until the turn's first stage is claimed (by polling alone it is half of
``watch.poll_seconds`` more on the average). The backend: ``/predict`` for one window of 100 points of a series of 800,
the first one of each series and again, 1 and 16 clients; beside it the champion's own time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tsad.config import compose, settings, workbench
from tsad.config.workbench import Workbench
from tsad.core.context import Context
from tsad.core.control import Switch
from tsad.core.serving import Address, Bounds
from tsad.loop.iteration import iterate
from tsad.loop.live_champion import LiveChampion
from tsad.loop.on_the_spot import OnTheSpot
from tsad.loop.opening import open_loop
from tsad.loop.watching import watch
from tsad.review.label_studio import server
from tsad.service.face import Face

TOKEN, QUEUE = "benchmark", 6
SMALL = (
    "windows.length=100", "adapter=none", "gold=default",
    f"sampling.windows={QUEUE}", "tracking.plots=0", "gold.resamples=100", "tracking.system_metrics=false",
    "watch.webhook=true", "watch.port=0", "watch.poll_seconds=3600",
)  # fmt: skip


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--predict-only", action="store_true", help="without a Label Studio: the backend alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        if not given.predict_only:
            url = server.start(home)
            try:
                turns(home, url, given.turns)
            finally:
                server.stop(home)
        predictions(home, given.requests)


def made(home: Path, *words: str) -> Workbench:
    """A workbench on that store."""
    checked = settings(compose([*SMALL, *words]), [*SMALL, *words])
    return workbench(replace(checked, home=home), Context(control=Switch(), serving=Face()))


def turns(home: Path, url: str, count: int) -> None:
    """Seconds from the last submit until the next iteration is begun, by a watcher that is told."""
    plant = ("source=synthetic", "source.series=5", "source.points=800", "detector=robust_zscore", "loop.name=turns")
    one = made(home, *plant, "review=label_studio", f"review.url={url}")
    os.environ["LABEL_STUDIO_API_KEY"] = server.read_token(home)  # of this process alone
    iterate(one)
    loop, seconds = open_loop(one), list[float]()
    thread = threading.Thread(target=watch, args=(one,))
    thread.start()
    for number in range(1, count + 1):
        until(partial(_waits, url, home))
        time.sleep(5)  # the watcher has looked, and listens
        submit_all(url, home)
        begun = time.monotonic()
        until(partial(_begun, loop, number))
        seconds.append(time.monotonic() - begun)
    one.context.control.stop()  # type: ignore[attr-defined]
    thread.join()
    print(f"submit -> the next turn begun by watch (webhook), {count} turns: " + spread(seconds, "s"))


def _waits(url: str, home: Path) -> bool:
    """Whether a queue lies with people."""
    return len(unanswered(url, home)) == QUEUE


def _begun(loop: Any, number: int) -> bool:
    """Whether the queue of an iteration is being made a dataset version: the first thing that a turn does."""
    iteration = next(it for it in loop.iterations() if it.number == number)
    return any(run.data.tags.get("tsad.step") == "DATASET" for run in iteration.steps())


def at(url: str, home: Path) -> Any:
    """A connection to Label Studio."""
    import httpx

    headers = {"Authorization": f"Token {server.read_token(home)}"}
    return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60)


def unanswered(url: str, home: Path) -> list[dict[str, Any]]:
    """Tasks that nobody has answered, of the only project."""
    with at(url, home) as http:
        (project,) = http.get("/api/projects/").json()["results"]
        rows = http.get("/api/tasks/", params={"project": project["id"], "page_size": 200, "fields": "all"}).json()
        return [task for task in rows["tasks"] if not task["total_annotations"]]


def submit_all(url: str, home: Path) -> None:
    """Accept what is proposed, task by task."""
    tasks = unanswered(url, home)
    with at(url, home) as http:
        for task in tasks:
            own = [r for p in task["predictions"] for r in p["result"] if r["from_name"] == "label"]
            http.post(f"/api/tasks/{task['id']}/annotations/", json={"result": own}).raise_for_status()


def until(reached: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise SystemExit("it took too long")
        time.sleep(0.1)


def predictions(home: Path, requests: int) -> None:
    """p50 and p95 of ``/predict``."""
    from tsad.core.series import Window
    from tsad.loop.common import load_series

    files = f"source.root={as_files(home)}"
    for detector in ("robust_zscore", "patch"):
        words = (f"detector={detector}", f"loop.name=predict-{detector}", "review=simulated", "loop.iterations=1")
        one = made(home, *words, files)
        iterate(one)
        live = LiveChampion(one, 60.0)
        live.refresh()
        model, series = OnTheSpot(live), load_series(one)
        tasks, config = as_tasks([Window(s, 100, 200) for s in series], one)
        begun = time.monotonic()
        live.current().loaded.detections([series[0]])
        own = time.monotonic() - begun
        print(f"{detector}: the champion's own time for a series of {len(series[0])} points, the first: {own:.3f} s")
        bounds = Bounds(2, 64, 90.0, 10**8)
        with Face().backend(Address("127.0.0.1", 0), TOKEN, model, lambda: None, bounds) as url:
            with connection() as http:
                first = [ask(http, url, task, config) for task in tasks]
            print(f"  first of its series, 1 client: {spread(first, 's')}")
            for clients in (1, 16):
                print(f"  again, {clients} clients, {requests} requests: {load(url, tasks, config, clients, requests)}")


def as_tasks(windows: Sequence[Any], one: Workbench) -> tuple[list[dict[str, Any]], str]:
    """Tasks as a push makes them, and a project's template."""
    from tsad.core.reviews import Choice
    from tsad.review.label_studio import convert, fitting, template
    from tsad.review.label_studio.located import find_file

    options = one.label_studio()
    choices = [Choice(window, 1.0, "random") for window in windows]
    config = fitting.filled(find_file(options.template, "template", "*.xml"), (), choices, options)
    form = template.read(config, "benchmark")
    return [{"id": k, **convert.task(c, form, options, "x")} for k, c in enumerate(choices)], config


def as_files(home: Path) -> Path:
    """The plant as labelled CSV files, as a site would have it."""
    from tsad.core.intervals import intervals_to_mask
    from tsad.loop.common import load_series

    folder = home / "plant"
    folder.mkdir()
    for series in load_series(made(home, "source=synthetic", "source.series=5", "source.points=800")):
        truth = intervals_to_mask(series.labels or (), series.timestamps)
        rows = zip(series.timestamps // 10**9, series.values[:, 0], truth, strict=True)
        text = "\n".join(f"{stamp},{value:.6g},{int(label)}" for stamp, value, label in rows)
        (folder / f"{series.point_id}.csv").write_text(f"timestamp,value,label\n{text}\n", "utf-8")
    return folder


def connection() -> Any:
    """One client's, kept open as Label Studio keeps its own."""
    import httpx

    return httpx.Client(auth=("x", TOKEN), trust_env=False, verify=False, timeout=120)


def ask(http: Any, url: str, task: dict[str, Any], config: str) -> float:
    """Seconds of one request."""
    body = {"tasks": [{"id": task["id"], "data": task["data"]}], "label_config": config, "params": {}}
    begun = time.monotonic()
    answer = http.post(f"{url}/predict", json=body)
    answer.raise_for_status()
    assert "result" in answer.json()["results"][0], answer.text
    return time.monotonic() - begun


def load(url: str, tasks: Sequence[dict[str, Any]], config: str, clients: int, requests: int) -> str:
    """The spread over all requests of so many clients, and how many a second."""
    def client(number: int) -> list[float]:
        with connection() as http:
            own = range(number, requests, clients)
            return [ask(http, url, tasks[k % len(tasks)], config) for k in own]

    begun = time.monotonic()
    with ThreadPoolExecutor(clients) as threads:
        times = [seconds for own in threads.map(client, range(clients)) for seconds in own]
    return f"{spread(times, 's')}, {requests / (time.monotonic() - begun):.1f}/s"


def spread(values: Sequence[float], unit: str) -> str:
    """p50, p95 and the worst."""
    ranked = sorted(values)
    p95 = ranked[min(len(ranked) - 1, round(0.95 * (len(ranked) - 1)))]
    return f"p50 {statistics.median(ranked):.3f} {unit}, p95 {p95:.3f} {unit}, worst {ranked[-1]:.3f} {unit}"


if __name__ == "__main__":
    main()
