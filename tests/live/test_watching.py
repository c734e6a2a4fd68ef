"""A loop that goes on by itself on a real Label Studio: webhook, watcher killed, backend asked as a task is opened."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from second_studio import until

from tsad.config.workbench import Workbench
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.reviews import reviews_of

if TYPE_CHECKING:
    from conftest import Studio

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("stocked")]
ROOT = Path(__file__).parents[2]
KILLER = Path(__file__).with_name("killer.py")
SMALL = (
    "source=synthetic", "source.series=5", "source.points=800", "windows.length=100", "detector=robust_zscore",
    "adapter=none", "gold=default", "sampling.windows=6", "threshold.default=0.99", "tracking.plots=0",
    "gold.resamples=100", "loop.iterations=3", "tracking.system_metrics=false",
)  # fmt: skip
PATIENCE = 400.0  # a busy machine takes its time


class Terminal:
    """``tsad`` in processes of their own, on the loop of the test."""

    def __init__(self, home: Path, studio: Studio, loop: str) -> None:
        self.home, self.loop, self.running = home, loop, list[subprocess.Popen[str]]()
        self.env = {
            **os.environ, "TSAD_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200",
            "LABEL_STUDIO_API_KEY": studio.token, "PYTHONUNBUFFERED": "1",
        }  # fmt: skip

    def start(self, *words: str, point: str = "never") -> subprocess.Popen[str]:
        """A verb that goes on; what it says is in ``said``."""
        log = (self.home / f"{words[0]}-{len(self.running)}.log").open("w")
        self.running.append(subprocess.Popen(
            [sys.executable, str(KILLER), point, *words, f"loop.name={self.loop}"], cwd=self.home, env=self.env,
            stdout=log, stderr=log, text=True,
        ))  # fmt: skip
        return self.running[-1]

    def said(self) -> str:
        return "\n".join(p.read_text() for p in sorted(self.home.glob("*-*.log")))

    def stop(self, process: subprocess.Popen[str]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(60)


@pytest.fixture
def waiting(bench: Callable[..., Workbench], studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", studio.token)
    name = f"watch-{uuid.uuid4().hex[:6]}"
    one = bench(*SMALL, f"loop.name={name}", "review=label_studio", f"review.url={studio.url}")
    assert iterate(one).waiting is not None
    return one


@pytest.fixture
def terminal(waiting: Workbench, studio: Studio, home: Path) -> Iterator[Terminal]:
    made = Terminal(home, studio, waiting.loop.name)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
            process.wait()


def unanswered(studio: Studio, project: int) -> list[dict[str, Any]]:
    asked = {"project": project, "page_size": 100, "fields": "all"}
    return [t for t in studio.call("GET", "/api/tasks/", params=asked)["tasks"] if not t["total_annotations"]]


def submit_all(studio: Studio, project: int) -> None:
    """Accept what is proposed of every task that nobody has answered."""
    for task in unanswered(studio, project):
        own = [r for p in task["predictions"] for r in p["result"] if r["from_name"] == "label"]
        studio.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": own, "lead_time": 9.0})


def project_of(one: Workbench) -> int:
    return int(reviews_of(one).reviewer._project()["id"])  # type: ignore[attr-defined]


@pytest.mark.timeout(1500)
def test_the_last_answer_begins_the_next_iteration_and_a_killed_watcher_loses_nothing(
    waiting: Workbench, terminal: Terminal, studio: Studio
) -> None:
    project, loop = project_of(waiting), open_loop(waiting)
    # Killed between condition and start: the first thing that the turn itself does is to keep its dataset version.
    doomed = terminal.start("watch", "watch.poll_seconds=1", point="before:dataset=train")
    submit_all(studio, project)
    assert doomed.wait(PATIENCE) == -signal.SIGKILL, terminal.said()
    both = [terminal.start("watch", "watch.poll_seconds=3600", "watch.webhook=true", "watch.port=0") for _ in range(2)]
    until(PATIENCE, lambda: len(unanswered(studio, project)) == 6)
    until(PATIENCE, lambda: len(studio.call("GET", "/api/webhooks/", params={"project": project})) == 2)
    begun = time.monotonic()
    submit_all(studio, project)
    until(PATIENCE, lambda: len(loop.iterations()) == 3)
    assert time.monotonic() - begun < PATIENCE, "an hour between two looks: the webhook was heard"
    until(PATIENCE, lambda: len(unanswered(studio, project)) == 6)
    assert [terminal.stop(process) for process in both] == [0, 0], terminal.said()
    assert [it.number for it in loop.iterations()] == [1, 2, 3]
    runs = [run for it in loop.iterations()[:2] for run in it.steps() if run.info.status == "FINISHED"]
    steps = [run.data.tags["tsad.step"] for run in runs]
    assert len(steps) == len(set(steps)) * 2, f"each stage of each iteration once: {steps}"
    assert studio.call("GET", "/api/webhooks/", params={"project": project}) == [], "taken away at the end"
    assert studio.token not in terminal.said()


@pytest.mark.timeout(1500)
def test_a_task_that_is_opened_without_a_prediction_gets_the_champion_s(
    waiting: Workbench, terminal: Terminal, studio: Studio
) -> None:
    project = project_of(waiting)
    task = studio.call("GET", "/api/tasks/", params={"project": project, "page_size": 1, "fields": "all"})["tasks"][0]
    backend = terminal.start("serve", "only=backend", "port=0", "connect=true")
    until(PATIENCE, lambda: "password is in" in terminal.said() or backend.poll() is not None)
    assert backend.poll() is None, terminal.said()
    (connected,) = studio.call("GET", "/api/ml/", params={"project": project})
    assert connected["state"] == "CO" and connected["auth_method"] == "BASIC_AUTH", connected
    (imported,) = studio.call(
        "POST", f"/api/projects/{project}/import", params={"return_task_ids": "true"}, json=[{"data": task["data"]}]
    )["task_ids"]
    opened = studio.call("GET", f"/api/tasks/{imported}/")
    (made,) = opened["predictions"]
    pushed = task["predictions"][0]
    assert made["model_version"] == pushed["model_version"] == f"tsad-{waiting.loop.name}-robust_zscore:1"
    assert made["result"] == pushed["result"] and made["score"] == pytest.approx(pushed["score"])
    columns = {name: [] for name in task["data"]["series"]}
    other = {"data": {**task["data"], "window_id": "", "series": columns}}
    (number,) = studio.call(
        "POST", f"/api/projects/{project}/import", params={"return_task_ids": "true"}, json=[other]
    )["task_ids"]
    assert studio.call("GET", f"/api/tasks/{number}/")["predictions"] == []
    until(20, lambda: re.search(rf"task {number} is not pre-annotated", terminal.said()) is not None)
    reviewer: Any = reviews_of(waiting).reviewer
    token = (terminal.home / "service" / "token").read_text()
    reviewer.connect("backend", connected["url"], token)
    assert [c["id"] for c in studio.call("GET", "/api/ml/", params={"project": project})] == [connected["id"]], "once"
    assert terminal.stop(backend) == 0 and studio.call("GET", "/api/ml/", params={"project": project}) == []
    assert studio.token not in terminal.said() and token not in terminal.said()


def test_a_webhook_is_registered_once_and_taken_away(waiting: Workbench, studio: Studio) -> None:
    reviewer: Any = reviews_of(waiting).reviewer
    reviewer.connect("webhook", "http://127.0.0.1:9", "s3cret")
    reviewer.connect("webhook", "http://127.0.0.1:9", "another")
    (hook,) = studio.call("GET", "/api/webhooks/", params={"project": project_of(waiting)})
    assert (hook["send_payload"], hook["headers"]) == (False, {"X-Tsad-Secret": "another"})
    reviewer.connect("webhook", "http://127.0.0.1:11", "next")  # where nobody listens any more was a killed watcher
    (hook,) = studio.call("GET", "/api/webhooks/", params={"project": project_of(waiting)})
    assert hook["url"].startswith("http://127.0.0.1:11/")
    reviewer.disconnect("webhook", "http://127.0.0.1:11")
    reviewer.disconnect("webhook", "http://127.0.0.1:11")
    assert studio.call("GET", "/api/webhooks/", params={"project": project_of(waiting)}) == []
