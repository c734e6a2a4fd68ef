"""Several people on a real Label Studio, over its API: overlap, two at once, conflict, its end, batches."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.reviews import ReviewState
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.pull import pull_reviews
from tsad.loop.review_batch import REVIEW
from tsad.loop.reviews import reviews_of

if TYPE_CHECKING:
    from conftest import Studio

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("stocked")]
SMALL = (
    "source=synthetic", "source.series=6", "source.points=1200", "windows.length=200", "detector=robust_zscore",
    "adapter=none", "gold=default", "sampling.windows=18", "threshold.default=0.99", "tracking.plots=0",
    "gold.resamples=100", "loop.iterations=2",
)  # fmt: skip


class Person:
    """A colleague who signed up by the server's invitation."""

    def __init__(self, studio: Studio) -> None:
        link = studio.call("GET", "/api/invite")["invite_url"]
        self.http = httpx.Client(base_url=studio.url, trust_env=False, timeout=60, follow_redirects=True)
        self.http.get(link)
        form = {
            "email": f"p{uuid.uuid4().hex[:8]}@example.org", "password": uuid.uuid4().hex,
            "csrfmiddlewaretoken": self.http.cookies["csrftoken"],
        }  # fmt: skip
        self.http.post(link, data=form, headers={"Referer": studio.url})
        self.id = str(self.http.get("/api/current-user/whoami").json()["id"])

    def send(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        headers = {"X-CSRFToken": self.http.cookies["csrftoken"], "Referer": str(self.http.base_url)}
        answer = self.http.request(method, path, json=body, headers=headers)
        answer.raise_for_status()
        return dict(answer.json())

    def answers(self, task: dict[str, Any], drawn: bool) -> int:
        """Submit what is proposed, or nothing; the annotation's id."""
        own = [r for p in task["predictions"] for r in p["result"]] if drawn else []
        return int(self.send("POST", f"/api/tasks/{task['id']}/annotations/", result=own, lead_time=42.0)["id"])

    def next(self, project: int) -> int | None:
        """The task that the label stream hands her."""
        answer = self.http.get(f"/api/projects/{project}/next")
        return int(answer.json()["id"]) if answer.status_code == 200 else None


@pytest.fixture
def waiting(bench: Callable[..., Workbench], studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A loop that waits for two people's answers to each of its windows."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", studio.token)
    name = f"several-{uuid.uuid4().hex[:6]}"
    one = bench(*SMALL, f"loop.name={name}", "review=label_studio", f"review.url={studio.url}", "review.overlap=1")
    assert iterate(one).waiting is not None
    return one


def tasks_of(studio: Studio, project: int) -> list[dict[str, Any]]:
    """With proposals first, the surest first."""
    asked = {"project": project, "page_size": 100, "fields": "all"}
    rows = studio.call("GET", "/api/tasks/", params=asked)["tasks"]
    return sorted(rows, key=lambda t: (not any(r["from_name"] == "label" for r in shown(t)), -t["data"]["confidence"]))


def shown(task: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for p in task["predictions"] for r in p["result"]]


def test_two_people_disagree_and_settle_it_and_a_batch_does_the_rest(
    waiting: Workbench, studio: Studio, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ann, bob, eve = Person(studio), Person(studio), Person(studio)
    project = reviews_of(waiting).reviewer._project()["id"]  # type: ignore[attr-defined]
    first, second, *rest = tasks_of(studio, project)
    assert {t["overlap"] for t in (first, second, *rest)} == {2}

    at_once = [threading.Thread(target=p.answers, args=(first, True)) for p in (ann, bob)]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    ann.answers(second, True)
    yielding = bob.answers(second, False)
    assert pull_reviews(waiting).dataset is None
    pull_reviews(waiting)  # done again it asks nobody twice
    task = studio.call("GET", f"/api/tasks/{second['id']}/")
    assert (task["overlap"], task["is_labeled"], task["data"]["state"]) == (3, False, "conflict")
    assert f"{ann.id} marks" in task["data"]["title"] and f"{bob.id} marks none" in task["data"]["title"]
    locked = [r for r in shown(task) if r["value"]["timeserieslabels"] == ["Answer 1"]]
    assert locked and all(r["readonly"] and r["from_name"] == "aside" for r in locked)
    assert eve.next(project) == second["id"], "one person more is asked"
    text = shown_by(capsys, waiting)
    assert "1 conflict" in text and "Krippendorff alpha" in text and "minutes per window" in text

    bob.send("PATCH", f"/api/annotations/{yielding}/", result=[r for r in shown(second) if r["from_name"] == "label"])
    pull_reviews(waiting)
    task = studio.call("GET", f"/api/tasks/{second['id']}/")
    assert (task["overlap"], task["is_labeled"], task["data"]["state"]) == (2, True, "")

    accepted = call("review", waiting, action="accept", above=0.0, audit=0.3, page=False).batch
    rejected = call("review", waiting, action="reject", below=1.0, page=False).batch
    audits = set(accepted.audits) - {t["data"]["window_id"] for t in (first, second)}
    for row in tasks_of(studio, project):
        if row["data"]["window_id"] in audits and not row["total_annotations"]:
            assert row["data"]["reason"] == "audit"
    again = call("review", waiting, action="reject", below=1.0, page=False)
    assert again.batch.answered == 0 and accepted.answered + rejected.answered == len(rest)
    states = {w.window: w for w in again.windows}
    assert {ReviewState(w.state) for w in states.values()} <= {ReviewState.ACCEPTED, ReviewState.CORRECTED}
    texts = {"", rejected.text, *([accepted.text] if accepted.answered else [])}
    assert {w.batch for w in states.values()} == texts
    assert len(open_loop(waiting).finished_runs(REVIEW)) == 3
    labelled = {p.person: p.judged for p in again.people}
    assert labelled == {ann.id: 2, bob.id: 2} and again.minutes == pytest.approx(0.7)

    assert pull_reviews(waiting).dataset is not None, "nothing is missing any more"


def shown_by(capsys: pytest.CaptureFixture[str], bench: Workbench) -> str:
    """What ``tsad review`` tells in 80 columns."""
    capsys.readouterr()
    call("review", bench)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    return " ".join(text.split())
