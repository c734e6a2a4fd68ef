"""The loop without any label, as a newcomer runs it: the command line, people in a real Label Studio, a browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from test_label_studio import annotate, drag, own_regions, place, submit, times_of

from tsad.core.options import TrackingOptions
from tsad.core.reviews import Purpose
from tsad.training.datasets import load

if TYPE_CHECKING:
    from conftest import Studio

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
KILLER = Path(__file__).with_name("killer.py")
SECOND = 1_000_000_000
START = 1_767_225_600  # 2026-01-01 00:00:00 UTC, seconds
LENGTH = 100
TRACKING = TrackingOptions(
    uri="", timeout_seconds=30.0, system_metrics=False, tensorboard=False, keep_versions=5, plots=0
)


class Newcomer:
    """Somebody with a folder of CSVs and a terminal."""

    def __init__(self, place: Path, studio: Studio) -> None:
        self.place, self.home, self.studio = place, place / "store", studio
        self.name = f"people-{uuid.uuid4().hex[:6]}"  # a kept server knows the windows of earlier sessions
        self.folder = place / "plant data"
        self.folder.mkdir()
        self.settings = (
            "source=csv", f"source.root={self.folder}", f"loop.name={self.name}", "loop.iterations=1",
            "review=label_studio", f"review.url={studio.url}", "review.utc_offset=+08:00", "detector=robust_zscore",
            "adapter=none", "windows.length=100", "gold.windows=4", "gold.strata=2", "gold.min_intervals=1",
            "sampling.windows=4",
        )  # fmt: skip

    def csv(self, name: str, number: int, hole: slice = slice(0)) -> None:
        """600 minutes of a sensor with a bump; nothing was measured in the hole."""
        rng = np.random.default_rng(number)
        values = 50 + 3 * np.sin(np.arange(600) / 30) + rng.normal(scale=0.4, size=600)
        values[60 + 80 * number : 70 + 80 * number] += 15
        values[hole] = np.nan
        stamps = np.datetime_as_string((START + 60 * np.arange(600)).astype("datetime64[s]"), unit="s")
        rows = "\n".join(f"{t},{v:.4f}" for t, v in zip(stamps, values, strict=True))
        (self.folder / f"{name}.csv").write_text(f"timestamp,value\n{rows}\n", encoding="utf-8")

    def tsad(self, *arguments: str) -> str:
        done = self.run("-m", "tsad", *arguments)
        expected = 3 if "waits for reviews" in done.stdout else 0  # 3: people have to act
        assert done.returncode == expected, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def killed(self, point: str, *arguments: str) -> None:
        done = self.run(str(KILLER), point, *arguments)
        assert done.returncode == -signal.SIGKILL, f"{point} was not reached\n{done.stdout}\n{done.stderr}"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A verb that goes on beside the test; it writes into a file."""
        with (self.place / f"{arguments[0]}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tsad", *arguments], cwd=self.place, env=self.env, stdout=log, stderr=log
            )

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ, "TSAD_HOME": str(self.home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
            "LABEL_STUDIO_API_KEY": self.studio.token, "COLUMNS": "160",
        }  # fmt: skip

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.place, env=self.env, capture_output=True, text=True, timeout=600,
            check=False,
        )
        assert self.studio.token not in done.stdout + done.stderr
        return done

    def tasks(self, project: int) -> list[dict[str, Any]]:
        found = self.studio.call(
            "GET", "/api/tasks/", params={"project": project, "page_size": 100, "fields": "all"}
        )
        return list(found["tasks"])

    def loop(self) -> Any:
        from tsad.tracking.runs import LoopStore
        from tsad.tracking.store import open_store

        return LoopStore(open_store(TRACKING, self.home), self.name)


@pytest.fixture
def newcomer(tmp_path: Path, studio: Studio) -> Newcomer:
    """With an empty folder so far."""
    return Newcomer(tmp_path, studio)


def project_in(text: str) -> int:
    """The project that the command line says it waits for."""
    url = re.search(r"iteration 1 waits for reviews at (\S+/projects/(\d+)/data)", text)
    assert url is not None and "run tsad iterate again" in text, text
    return int(url[2])


def by_purpose(tasks: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(gold, queue)."""
    return tuple([t for t in tasks if t["data"]["purpose"] == p] for p in ("gold", "train"))  # type: ignore[return-value]


def shown(task: dict[str, Any], position: int) -> str:
    """The time string of a point, as Label Studio shows it."""
    return str(times_of(task)[position])


def spans_of(result: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Half-open ns UTC of an annotation's regions."""
    values = sorted((r["value"]["start"], r["value"]["end"]) for r in result if r["from_name"] == "label")
    return [(moment(a), moment(b) + 60 * SECOND) for a, b in values]


def moment(text: str) -> int:
    """ns UTC of a shown time (UTC+08:00)."""
    stamp = np.datetime64(text.replace(" ", "T"), "ns").astype(np.int64)
    return int(stamp) - 8 * 3600 * SECOND


@pytest.mark.timeout(1200)
def test_from_bare_csvs_to_a_dataset_version(
    newcomer: Newcomer, page: Any, shot: Callable[[Any, str], Any], tmp_path: Path
) -> None:
    for number in range(6):
        newcomer.csv("温度 1" if number == 0 else f"U1.TI{number}", number)
    first = newcomer.tsad("iterate", *newcomer.settings)
    project = project_in(first)
    assert "4 windows with proposals" in first and "4 blind ones that score the model" in first
    assert "4 windows with proposals: 4 pending; 4 blind ones: 4 pending" in first
    loop = newcomer.loop()
    (iteration,) = loop.iterations()
    assert (iteration.state, iteration.status) == ("REVIEWING", "SCHEDULED")
    gold, queue = by_purpose(newcomer.tasks(project))
    assert [own_regions(t) for t in gold] == [[]] * 4 and [len(t["predictions"]) for t in queue] == [1] * 4
    version = f"tsad-{newcomer.name}-robust_zscore:1"
    assert {t["predictions"][0]["model_version"] for t in queue} == {version}
    assert "4 windows with proposals: 4 pending; 4 blind ones: 4 pending" in newcomer.tsad()
    opened = newcomer.studio.call("GET", f"/api/projects/{project}/next")
    assert own_regions(opened), "the first task that a person opens shows a proposal"

    assert project_in(newcomer.tsad("iterate")) == project  # nothing is reviewed yet: no second task, still waiting
    assert len(newcomer.tasks(project)) == 8
    (iteration,) = loop.iterations()
    assert (iteration.state, iteration.status) == ("REVIEWING", "SCHEDULED")

    drawn = next(t for t in queue if own_regions(t))
    expected = corrected_in_browser(page, newcomer, drawn, shot)
    skipped, accepted, corrected = (t for t in queue if t is not drawn)
    annotate(newcomer.studio, skipped, was_cancelled=True)
    said = accepted["predictions"][0]["result"]
    newcomer.studio.call("POST", f"/api/tasks/{accepted['id']}/annotations/", json={"result": said})
    expected[accepted["data"]["window_id"]] = spans_of(said)
    for task in (corrected, *gold):
        annotate(newcomer.studio, task, (shown(task, 10), shown(task, 19)))
        expected[task["data"]["window_id"]] = [(moment(shown(task, 10)), moment(shown(task, 19)) + 60 * SECOND)]
    assert "1 accepted, 2 corrected, 1 skipped; 4 blind ones: 4 annotated" in newcomer.tsad()

    last = newcomer.tsad("iterate")
    (iteration,) = loop.iterations()
    assert (iteration.state, iteration.status) == ("COMPLETED", "FINISHED"), last
    decision = iteration.finished("PROMOTE")
    assert decision is not None and decision.result["reason"] and decision.result["reason"] in last
    found: dict[str, list[tuple[int, int]]] = {}
    names: dict[str, set[str]] = {}
    for record in loop.datasets():
        kept = load(loop.fetch_dataset(record.digest, tmp_path / record.digest))
        found |= {r.window.window_id: [(i.start, i.end) for i in r.intervals] for r in kept.windows}
        names[kept.purpose.value] = {r.window.window_id for r in kept.windows}
        assert all(0 < r.choice.probability <= 1 for r in kept.windows)
        if kept.purpose is Purpose.GOLD:
            assert [r.choice.probability for r in kept.windows] == pytest.approx([2 / 18] * 4)  # 36 windows, two strata
    assert found == expected
    assert names["gold"] == {t["data"]["window_id"] for t in gold}
    assert names["train"] == {t["data"]["window_id"] for t in (drawn, accepted, corrected)}
    assert "1 accepted, 2 corrected, 1 skipped; 4 blind ones: 4 annotated" in newcomer.tsad()


@pytest.mark.timeout(1200)
def test_what_nobody_answered_is_withdrawn_once_though_killed(newcomer: Newcomer) -> None:
    newcomer.csv("A", 1)
    newcomer.csv("B", 2, hole=slice(200, 300))  # a window in which nothing was measured
    project = project_in(
        newcomer.tsad(
            "iterate", *newcomer.settings, "gold.windows=3", "gold.windows_share=0.3", "sampling.windows=50",
            "review.min_reviewed=2",
        )
    )  # fmt: skip
    gold, queue = by_purpose(newcomer.tasks(project))
    assert (len(gold), len(queue)) == (3, 8)  # 12 windows, one of them without any value
    for task in gold:
        annotate(newcomer.studio, task)
    annotate(newcomer.studio, queue[0])
    newcomer.tsad("iterate")
    assert len(newcomer.tasks(project)) == 11  # one more has to be reviewed
    annotate(newcomer.studio, queue[1], (shown(queue[1], 10), shown(queue[1], 19)))
    newcomer.killed("before:close=DATASET", "iterate")
    newcomer.killed("before:close=WITHDRAW", "iterate")
    newcomer.tsad("iterate")
    answered = {t["id"] for t in (*gold, *queue[:2])}
    assert {t["id"] for t in newcomer.tasks(project)} == answered
    loop = newcomer.loop()
    (iteration,) = loop.iterations()
    assert (iteration.state, iteration.status) == ("COMPLETED", "FINISHED")
    assert iteration.finished("WITHDRAW").result == {"withdrawn": 0}  # the killed attempt had withdrawn all
    assert iteration.finished("DATASET").result["states"]["PENDING"] == 6
    assert sorted(r.windows for r in loop.datasets()) == [2, 3]


def corrected_in_browser(
    page: Any, newcomer: Newcomer, task: dict[str, Any], shot: Callable[[Any, str], Any]
) -> dict[str, list[tuple[int, int]]]:
    """Extend the last drawn region by dragging; what the dataset version has to hold of this window."""
    page.goto(f"{newcomer.studio.url}/projects/{task['project']}/data?task={task['id']}", wait_until="commit")
    page.wait_for_selector(".htx-timeseries-channel svg .brush")
    page.wait_for_timeout(500)
    regions = own_regions(task)
    assert page.locator(".htx-timeseries-channel .brush").count() == len(task["predictions"][0]["result"])
    shot(page, "people_opened")
    spans = sorted((r["value"]["start"], r["value"]["end"]) for r in regions)
    times = next(iter(task["data"]["series"].values()))
    start, end, last = (times.index(t) for t in (*spans[-1], times_of(task)[-1]))
    target, drawn = end + 6 if end + 6 <= last else end - (end - start) // 2, len(times)
    page.mouse.click((place(page, start, drawn)[0] + place(page, end, drawn)[0]) / 2, place(page, 0, drawn)[1])
    drag(page, place(page, end, drawn), place(page, target, drawn))
    shot(page, "people_corrected")
    submit(page)
    answers = newcomer.studio.call("GET", f"/api/tasks/{task['id']}/annotations/")
    own = [r["value"] for r in answers[-1]["result"] if r["from_name"] == "label"]
    submitted = sorted((value["start"], value["end"]) for value in own)
    assert submitted != spans, "nothing was corrected"
    assert submitted[-1][1] == times[target]
    return {task["data"]["window_id"]: spans_of(answers[-1]["result"])}
