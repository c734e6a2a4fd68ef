"""Two people in two browsers label one queue, disagree, settle it, and the next iteration trains on the result."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import PATIENCE_MS
from second_studio import until
from test_people import Newcomer, project_in

from tsad.training.datasets import load

if TYPE_CHECKING:
    from conftest import Studio

pytestmark = pytest.mark.live


class Person:
    """Somebody with an account and a browser session of her own."""

    def __init__(self, browser: Any, studio: Studio) -> None:
        self.context = browser.new_context(viewport={"width": 1500, "height": 1000})
        self.context.set_default_timeout(PATIENCE_MS)
        self.page, self.studio = self.context.new_page(), studio
        self.keys = 0

    def log_in(self) -> None:
        self.page.goto(f"{self.studio.url}/user/login/", wait_until="domcontentloaded")
        self._enter(self.studio.credentials.user, self.studio.credentials.password)

    def sign_up(self) -> None:
        """By the link that whoever runs the server sends her."""
        link = self.studio.call("GET", "/api/invite")["invite_url"]
        path = link if link.startswith("/") else "/" + link.split("/", 3)[3]
        self.page.goto(self.studio.url + path, wait_until="domcontentloaded")
        self._enter(f"ann-{uuid.uuid4().hex[:6]}@localhost.localdomain", uuid.uuid4().hex)

    def _enter(self, mail: str, password: str) -> None:
        self.page.fill("input[name=email]", mail)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]", no_wait_after=True)
        self.page.wait_for_url(lambda url: "/user/" not in url, wait_until="commit")

    @property
    def number(self) -> int:
        """Her id, as her own session says it."""
        return int(json.loads(self.page.request.get(f"{self.studio.url}/api/current-user/whoami").text())["id"])

    def open(self, project: int, task: int) -> None:
        """One task out of the list."""
        self.page.goto(f"{self.studio.url}/projects/{project}/data?task={task}", wait_until="domcontentloaded")
        self._drawn()

    def label_all(self, project: int, tasks: int, *, first_is_normal: bool = False) -> list[int]:
        """One task after the other as the server hands them out, by keys alone; the tasks in this order.

        Args:
            first_is_normal: delete what is proposed of the first one, where others submit it as it is shown.
        """
        self.page.goto(f"{self.studio.url}/projects/{project}/data?labeling=1", wait_until="domcontentloaded")
        self._drawn()
        self.page.keyboard.press("Escape")  # the instruction, which opens first
        self.page.wait_for_timeout(800)
        answered = []
        for number in range(tasks):
            self._drawn()
            if first_is_normal and number == 0:
                self.delete_regions()
            answered.append(self.submit())
        self.page.get_by_text("No More Tasks Left in Queue").wait_for()
        return answered

    def submit(self) -> int:
        """By one key, which goes on to the next task; the number of the one that was answered."""
        with self.page.expect_response(
            lambda r: "/annotations" in r.url and r.request.method in ("POST", "PATCH")
        ) as answer:
            self.press("Control+Enter")
        assert answer.value.ok, answer.value.text()
        self.page.wait_for_timeout(1500)
        return int(answer.value.json()["task"])

    def _drawn(self) -> None:
        self.page.wait_for_selector(".htx-timeseries-channel svg .new_brush rect.overlay")
        self.page.wait_for_timeout(1500)

    def delete_regions(self) -> None:
        """Each of hers: chosen in the list of regions, deleted by a key; locked ones stay."""
        for _ in range(self.page.get_by_text("Anomaly", exact=True).count() - 1):  # one is the label
            self.page.get_by_text("Anomaly", exact=True).last.click()
            self.press("Backspace")
        self.page.wait_for_timeout(500)

    def own_answer(self) -> None:
        """Of several answers of a task the one that may be changed."""
        own = self.page.locator(".lsf-annotation-button").filter(has_text="tsad@")
        if own.count():
            own.first.click()
            self.page.wait_for_timeout(800)

    def press(self, keys: str) -> None:
        self.keys += 1
        self.page.keyboard.press(keys)
        self.page.wait_for_timeout(300)


@pytest.fixture
def two(browser: Any, studio: Studio) -> Iterator[tuple[Person, Person]]:
    first, second = Person(browser, studio), Person(browser, studio)
    first.log_in()
    second.sign_up()
    yield first, second
    for person in (first, second):
        person.context.close()


@pytest.mark.timeout(1200)
def test_two_people_disagree_settle_it_and_the_iteration_trains_on_it(
    tmp_path: Path, studio: Studio, two: tuple[Person, Person], shot: Callable[[Any, str], Any]
) -> None:
    newcomer, (first, second) = Newcomer(tmp_path, studio), two
    assert first.number != second.number
    for number in range(5):
        newcomer.csv(f"U1.TI{number}", number)
    said = newcomer.tsad("iterate", *newcomer.settings, "loop.iterations=2", "review.overlap=1.0",
                         "sampling.windows=3", "gold.windows=2", "gold.strata=1")  # fmt: skip
    project = project_in(said)
    tasks = {t["id"]: t for t in newcomer.tasks(project)}
    assert len(tasks) == 5 and all(t["overlap"] == 2 for t in tasks.values())
    assert set(first.label_all(project, 5)) == set(tasks)
    answered = second.label_all(project, 5, first_is_normal=True)
    assert set(answered) == set(tasks)
    assert first.keys == 5 and second.keys <= 8, "a key per window, and one per region to delete"
    disputed = tasks[answered[0]]
    waiting = newcomer.tsad("iterate")
    assert "1 conflict" in waiting and "waits for reviews" in waiting, waiting

    watcher = newcomer.start("watch", f"loop.name={newcomer.name}", "watch.poll_seconds=3600", "watch.webhook=true",
                             "watch.port=0")  # fmt: skip
    until(120, lambda: studio.call("GET", "/api/webhooks/", params={"project": project}))
    first.open(project, disputed["id"])
    shot(first.page, "conflict")
    shown = next(t for t in newcomer.tasks(project) if t["id"] == disputed["id"])
    aside = [r for p in shown["predictions"] for r in p["result"] if r["from_name"] == "aside"]
    names = {r["value"]["timeserieslabels"][0] for r in aside}
    assert names - {"Context", "No data"}, f"the answers lie beside the proposal: {names}"
    first.own_answer()
    first.delete_regions()
    assert first.submit() == disputed["id"]

    until(300, lambda: newcomer.loop().iterations()[-1].number == 2)  # no hand on the keyboard
    until(300, lambda: newcomer.loop().iterations()[-1].finished("PUSH") is not None)  # REVIEWING begins before it
    fresh = [t for t in newcomer.tasks(project) if t["id"] not in tasks]
    assert fresh and all(t["data"]["confidence"] is not None for t in fresh)
    champion = newcomer.loop().registry("robust_zscore").alias("champion")
    assert {t["data"]["model_version"] for t in fresh} == {champion.label}
    first.open(project, fresh[0]["id"])
    shot(first.page, "next_iteration")
    watcher.terminate()
    assert watcher.wait(60) == 0
    iteration = newcomer.loop().iterations()[0]
    assert iteration.state == "COMPLETED"
    kept = [load(newcomer.loop().fetch_dataset(r.digest, tmp_path / r.digest)) for r in newcomer.loop().datasets()]
    windows = {r.window.window_id: r for version in kept for r in version.windows}
    assert set(windows) == {t["data"]["window_id"] for t in tasks.values()}
    settled = windows[disputed["data"]["window_id"]]
    assert settled.intervals == () and len({a.annotator for a in settled.annotations}) == 2
