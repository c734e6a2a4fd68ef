"""The loop without any label, as a newcomer runs it: the command line, people in a real Label Studio, a browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from test_label_studio import annotate, drag, place, submit

from tsad.core.options import TrackingOptions
from tsad.core.types import Purpose
from tsad.training.datasets import load

if TYPE_CHECKING:
    from conftest import Studio

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
SECOND = 1_000_000_000
START = 1_767_225_600  # 2026-01-01 00:00:00 UTC, seconds
LENGTH = 100
TRACKING = TrackingOptions(uri="", timeout_seconds=30.0, system_metrics=False, keep_versions=5, plots=0)


class Newcomer:
    """Somebody with a folder of CSVs and a terminal."""

    def __init__(self, place: Path, studio: Studio) -> None:
        self.place, self.home, self.studio = place, place / "store", studio
        self.settings = (
            f"source.root={place / 'plant data'}", "loop.name=people", "loop.iterations=1", "review=label_studio",
            f"review.url={studio.url}", "review.utc_offset=+08:00", "detector=robust_zscore", "adapter=none",
            "windows.length=100", "gold.windows=4", "gold.strata=2", "gold.min_intervals=1", "sampling.windows=4",
        )  # fmt: skip

    def tsad(self, *arguments: str) -> str:
        env = {
            **os.environ, "TSAD_HOME": str(self.home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
            "LABEL_STUDIO_API_KEY": self.studio.token, "COLUMNS": "160",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tsad", *arguments], cwd=self.place, env=env, capture_output=True, text=True,
            timeout=600, check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        assert self.studio.token not in done.stdout + done.stderr
        return done.stdout

    def tasks(self, project: int) -> list[dict[str, Any]]:
        found = self.studio.call(
            "GET", "/api/tasks/", params={"project": project, "page_size": 100, "fields": "all"}
        )
        return list(found["tasks"])

    def loop(self) -> Any:
        from tsad.tracking.store import open_store

        return open_store(TRACKING, self.home).loop("people")


@pytest.fixture
def newcomer(tmp_path: Path, studio: Studio) -> Newcomer:
    """Six unlabelled sensors of 600 minutes, some with a bump; one has a Chinese name."""
    folder = tmp_path / "plant data"
    folder.mkdir()
    for number in range(6):
        rng = np.random.default_rng(number)
        values = 50 + 3 * np.sin(np.arange(600) / 30) + rng.normal(scale=0.4, size=600)
        values[60 + 80 * number : 70 + 80 * number] += 15
        name = "温度 1" if number == 0 else f"U1.TI{number}"
        stamps = np.datetime_as_string((START + 60 * np.arange(600)).astype("datetime64[s]"), unit="s")
        rows = "\n".join(f"{t},{v:.4f}" for t, v in zip(stamps, values, strict=True))
        (folder / f"{name}.csv").write_text(f"timestamp,value\n{rows}\n", encoding="utf-8")
    return Newcomer(tmp_path, studio)


def shown(task: dict[str, Any], position: int) -> str:
    """The time string of a point, as Label Studio shows it."""
    return str(next(iter(task["data"]["series"].values()))[position])


def moment(text: str) -> int:
    """ns UTC of a shown time (UTC+08:00)."""
    stamp = np.datetime64(text.replace(" ", "T"), "ns").astype(np.int64)
    return int(stamp) - 8 * 3600 * SECOND


@pytest.mark.timeout(1200)
def test_from_bare_csvs_to_a_dataset_version(
    newcomer: Newcomer, page: Any, shot: Callable[[Any, str], Any], tmp_path: Path
) -> None:
    first = newcomer.tsad("iterate", "source=csv", *newcomer.settings)
    url = re.search(r"waits for reviews at (\S+/projects/(\d+)/data)", first)
    assert url is not None, first
    project = int(url[2])
    loop = newcomer.loop()
    (iteration,) = loop.iterations()
    assert (iteration.state, iteration.status) == ("REVIEWING", "SCHEDULED")
    tasks = newcomer.tasks(project)
    gold = [t for t in tasks if not t["predictions"]]
    queue = [t for t in tasks if t["predictions"]]
    assert (len(gold), len(queue)) == (4, 4)
    assert {t["predictions"][0]["model_version"] for t in queue} == {"tsad-people-robust_zscore:1"}
    assert "8 pending" in newcomer.tsad("status")

    newcomer.tsad("iterate")  # nothing is reviewed yet: no second task, still waiting
    assert len(newcomer.tasks(project)) == 8
    assert loop.iterations()[0].state == "REVIEWING"

    drawn = next(t for t in queue if t["predictions"][0]["result"])
    expected = corrected_in_browser(page, newcomer, drawn, shot)
    for number, task in enumerate(t for t in [*queue, *gold] if t is not drawn):
        if task in queue and number == 0:
            annotate(newcomer.studio, task, was_cancelled=True)
        else:
            annotate(newcomer.studio, task, (shown(task, 10), shown(task, 19)))
            expected[task["data"]["window_id"]] = [(moment(shown(task, 10)), moment(shown(task, 19)) + 60 * SECOND)]

    last = newcomer.tsad("iterate")
    (iteration,) = loop.iterations()
    assert (iteration.state, iteration.status) == ("COMPLETED", "FINISHED"), last
    decision = iteration.finished("PROMOTE")
    assert decision is not None and decision.result["reason"] in last
    found: dict[str, list[tuple[int, int]]] = {}
    for record in loop.datasets():
        version = load(loop.fetch_dataset(record.version, tmp_path / record.version))
        assert len(version.windows) == (4 if version.purpose is Purpose.GOLD else 3)
        assert all(0 < r.choice.probability <= 1 for r in version.windows)
        found |= {r.window.window_id: [(i.start, i.end) for i in r.intervals] for r in version.windows}
    assert found == expected
    states = iteration.finished("DATASET").result["states"]
    assert states["REJECTED"] == 1 and states["CORRECTED"] + states["ACCEPTED"] == 7


def corrected_in_browser(
    page: Any, newcomer: Newcomer, task: dict[str, Any], shot: Callable[[Any, str], Any]
) -> dict[str, list[tuple[int, int]]]:
    """Extend the last drawn region by dragging; what the dataset version has to hold of this window."""
    page.goto(f"{newcomer.studio.url}/projects/{task['project']}/data?task={task['id']}", wait_until="commit")
    page.wait_for_selector(".htx-timeseries-channel svg .brush")
    page.wait_for_timeout(500)
    regions = task["predictions"][0]["result"]
    assert page.locator(".htx-timeseries-channel .brush").count() == len(regions)
    shot(page, "people_opened")
    spans = sorted((r["value"]["start"], r["value"]["end"]) for r in regions)
    times = next(iter(task["data"]["series"].values()))
    start, end = (times.index(t) for t in spans[-1])
    target = end + 6 if end + 6 < LENGTH else end - (end - start) // 2
    page.mouse.click((place(page, start, LENGTH)[0] + place(page, end, LENGTH)[0]) / 2, place(page, 0, LENGTH)[1])
    drag(page, place(page, end, LENGTH), place(page, target, LENGTH))
    shot(page, "people_corrected")
    submit(page)
    answers = newcomer.studio.call("GET", f"/api/tasks/{task['id']}/annotations/")
    submitted = sorted((r["value"]["start"], r["value"]["end"]) for r in answers[-1]["result"])
    assert submitted != spans, "nothing was corrected"
    assert submitted[-1][1] == times[target]
    return {task["data"]["window_id"]: [(moment(a), moment(b) + 60 * SECOND) for a, b in submitted]}


@pytest.mark.timeout(600)
def test_iterations_can_be_compared_in_the_mlflow_ui(
    tmp_path: Path, browser: Any, shot: Callable[[Any, str], Any]
) -> None:
    import socket
    import time

    import httpx

    env = {**os.environ, "TSAD_HOME": str(tmp_path / "store"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    small = (
        "experiment=demo", "detector=robust_zscore", "source.series=10", "source.points=1500", "loop.iterations=2",
        "windows.length=256", "sampling.windows=12", "tracking.plots=1",
    )  # fmt: skip
    subprocess.run([sys.executable, "-m", "tsad", "iterate", *small], cwd=tmp_path, env=env, check=True, timeout=300)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = subprocess.Popen([sys.executable, "-m", "tsad", "ui", f"port={port}"], cwd=tmp_path, env=env)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                if httpx.get(url, trust_env=False, timeout=2).is_success:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        tab = context.new_page()
        tab.set_default_timeout(120_000)
        tab.goto(f"{url}/#/experiments/1/runs", wait_until="commit")
        tab.get_by_text("iteration-2", exact=True).first.wait_for()
        assert tab.get_by_text("iteration-1", exact=True).count() >= 1
        tab.wait_for_timeout(1500)
        shot(tab, "mlflow_runs")
        context.close()
    finally:
        served.terminate()
        served.wait(30)
