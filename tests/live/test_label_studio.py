"""A real Label Studio, over its API and in a browser: what is pushed, seen, corrected and brought back."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import psutil
import pytest
from review_kit import label_studio_options

from tsad.core.errors import ReviewError
from tsad.core.reviews import Choice, Purpose, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal, TimeKind
from tsad.review.label_studio import server
from tsad.review.label_studio.options import LabelStudioOptions
from tsad.review.label_studio.reviewer import LabelStudioReviewer

if TYPE_CHECKING:
    from conftest import Studio

pytestmark = pytest.mark.live

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND  # 2026-01-01 00:00:00 UTC
STEP = 300 * SECOND
OPTIONS = label_studio_options(poll_seconds=1.0, token_env="X", utc_offset="+08:00", chunk=7, max_channels=3)


def series(name: str = "AC6403B.PV", count: int = 400, channels: int = 1, kind: TimeKind = "time") -> Series:
    rng = np.random.default_rng(len(name))
    step, start = (SECOND, 0) if kind == "index" else (STEP, START)
    stamps = start + step * np.arange(count, dtype=np.int64)
    values = 50 + np.cumsum(rng.normal(size=(count, channels)), axis=0)
    values[120:140] += 25
    return Series(name, stamps, values, tuple(f"ch{c}" for c in range(channels)), kind)


def proposed(version: str, *intervals: Interval) -> tuple[Proposal, ...]:
    return (Proposal(intervals, Origin("patch", version)),)


def choice(window: Window, spans: tuple[tuple[int, int], ...] = ((120, 140),), score: float = 0.7) -> Choice:
    ends = np.append(window.timestamps, window.span[1])
    proposal = tuple(Interval(int(ends[a]), int(ends[b]), score=0.83) for a, b in spans)
    return Choice(window, 0.5, "mix", proposals=proposed("tsad-x-patch:1", *proposal), score=score)


def queue(count: int = 20, length: int = 50) -> list[Choice]:
    whole = series("P1", count * length)
    return [
        choice(Window(whole, k * length, (k + 1) * length), ((5, 9),), score=round(k / count, 2)) for k in range(count)
    ]


@pytest.fixture
def reviewer(studio: Studio) -> LabelStudioReviewer:
    """A reviewer with a project of its own."""
    return made(studio)


def made(studio: Studio, loop: str = "", **options: Any) -> LabelStudioReviewer:
    name = loop or f"live-{uuid.uuid4().hex[:8]}"
    settings = LabelStudioOptions(**{**dict(OPTIONS), **options})
    return LabelStudioReviewer(settings, url=studio.url, token=studio.token, loop=name)


def tasks_of(studio: Studio, reviewer: LabelStudioReviewer) -> list[dict[str, Any]]:
    project = reviewer._project()["id"]
    return studio.call("GET", "/api/tasks/", params={"project": project, "page_size": 500, "fields": "all"})["tasks"]


def own_regions(task: dict[str, Any]) -> list[dict[str, Any]]:
    """What the champion proposes for a task, without what is only shown."""
    return [r for p in task["predictions"] for r in p["result"] if r["from_name"] == "label"]


def times_of(task: dict[str, Any]) -> list[Any]:
    """The times of a task's own window, without those of its context."""
    drawn, data = next(iter(task["data"]["series"].values())), task["data"]
    return [t for t in drawn if data["start"] <= str(t).split(".")[0] <= data["end"]]


def annotate(studio: Studio, task: dict[str, Any], *spans: tuple[str, str], **extra: Any) -> dict[str, Any]:
    result = [
        {"from_name": "label", "to_name": "ts", "type": "timeserieslabels",
         "value": {"start": a, "end": b, "instant": a == b, "timeserieslabels": ["Anomaly"]}}
        for a, b in spans
    ]
    return studio.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": result, **extra})


def open_task(page: Any, studio: Studio, reviewer: LabelStudioReviewer, number: int = 0) -> None:
    task = tasks_of(studio, reviewer)[number]
    page.goto(f"{studio.url}/projects/{task['project']}/data?task={task['id']}", wait_until="commit")
    page.wait_for_selector(".htx-timeseries-channel svg .brush")
    page.wait_for_timeout(500)


def place(page: Any, position: int, count: int) -> tuple[float, float]:
    """Where on the screen the n-th of ``count`` evenly spaced points lies in the first channel."""
    box = page.locator(".htx-timeseries-channel svg .new_brush rect.overlay").first.bounding_box()
    return box["x"] + box["width"] * position / (count - 1), box["y"] + box["height"] / 2


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, start[1], steps=5)
    page.mouse.move(*end, steps=5)
    page.mouse.up()
    page.wait_for_timeout(300)


def submit(page: Any, name: str = "Submit") -> None:
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method in ("POST", "PATCH")) as answer:
        page.get_by_role("button", name=name, exact=False).first.click()
    assert answer.value.ok


def test_the_preannotation_is_drawn_corrected_and_arrives_to_the_second(
    studio: Studio, reviewer: LabelStudioReviewer, page: Any, shot: Callable[[Any, str], Any]
) -> None:
    shown = choice(Window(series(), 0, 400))
    assert reviewer.push([shown]) == 1
    assert reviewer.pull([shown])[0].state is ReviewState.PENDING
    open_task(page, studio, reviewer)
    assert page.locator(".htx-timeseries-channel .brush").count() == 1
    assert page.get_by_text("0.83").count() == 1  # the region's confidence, in the outliner
    assert page.get_by_text("AC6403B.PV \N{MIDDLE DOT} 2026-01-01 08:00", exact=False).count() >= 1
    box = page.locator(".htx-timeseries-channel .brush rect.selection").first.bounding_box()
    left, right = place(page, 120, 400)[0], place(page, 139, 400)[0]
    assert box["x"] == pytest.approx(left, abs=1.5) and box["x"] + box["width"] == pytest.approx(right, abs=1.5)
    shot(page, "task_opened")
    drag(page, place(page, 139, 400), place(page, 180, 400))
    shot(page, "task_corrected")
    submit(page)
    (reviewed,) = reviewer.pull([shown])
    assert reviewed.state is ReviewState.CORRECTED
    assert [(i.start, i.end) for i in reviewed.intervals] == [(START + 120 * STEP, START + 181 * STEP)]
    assert reviewed.annotations[0].annotator.isdigit() and "@" not in repr(reviewed.annotations)
    assert reviewed.annotations[0].submitted_at > START


def test_accepted_as_shown_and_drawn_anew(studio: Studio, page: Any, shot: Callable[[Any, str], Any]) -> None:
    reviewer = made(studio)
    kept = choice(Window(series("KEEP"), 0, 400), score=0.9)
    drawn = choice(Window(series("DRAW"), 0, 400), ((120, 140), (300, 301)), score=0.1)
    reviewer.push([drawn, kept])
    open_task(page, studio, reviewer, 0)
    submit(page)
    open_task(page, studio, reviewer, 1)
    assert page.locator(".htx-timeseries-channel .brush").count() == 2  # one of them a single point, drawn as a line
    page.keyboard.press("1")  # choose the first label, Anomaly
    page.wait_for_timeout(300)
    drag(page, place(page, 200, 400), place(page, 230, 400))
    shot(page, "task_drawn")
    submit(page)
    first, second = reviewer.pull([kept, drawn])
    assert first.state is ReviewState.ACCEPTED
    assert second.state is ReviewState.CORRECTED
    assert [(i.start, i.end) for i in second.intervals] == [
        (START + a * STEP, START + b * STEP) for a, b in ((120, 140), (200, 231), (300, 301))
    ]


def test_an_index_series_shows_the_index_and_comes_back_exact(
    studio: Studio, reviewer: LabelStudioReviewer, page: Any, shot: Callable[[Any, str], Any]
) -> None:
    shown = choice(Window(series("INDEXED", kind="index"), 0, 400))
    reviewer.push([shown])
    open_task(page, studio, reviewer)
    shot(page, "task_index")
    drag(page, place(page, 120, 400), place(page, 90, 400))
    submit(page)
    (reviewed,) = reviewer.pull([shown])
    assert [(i.start, i.end) for i in reviewed.intervals] == [(90 * SECOND, 140 * SECOND)]


def test_channels_wide_narrow_and_with_missing_values_are_all_drawn(
    studio: Studio, reviewer: LabelStudioReviewer, page: Any, shot: Callable[[Any, str], Any]
) -> None:
    holes = series("HOLES", channels=3)
    holes.values[50:80, 0] = np.nan
    holes.values[200:210] = np.nan
    wide = series("WIDE", channels=38)
    queue = [choice(Window(s, 0, 400)) for s in (wide, holes, series("ONE"))]
    reviewer.push(queue)
    for number in range(3):
        open_task(page, studio, reviewer, number)
        gaps = 2 if tasks_of(studio, reviewer)[number]["data"]["point_id"] == "HOLES" else 0
        assert page.locator(".htx-timeseries-channel svg").count() == 3
        assert page.locator(".htx-timeseries-channel .brush").count() == 3 * (1 + gaps)
        shot(page, f"task_channels_{number}")


def test_html_in_a_point_s_name_is_text_in_task_and_list(
    studio: Studio, reviewer: LabelStudioReviewer, page: Any, shot: Callable[[Any, str], Any]
) -> None:
    evil = "<img src=x onerror=\"window.sprung=1\"><script>window.sprung=1</script>P1"
    shown = choice(Window(series(evil), 0, 400))
    reviewer.push([shown])
    open_task(page, studio, reviewer)
    page.get_by_text("P1", exact=False).first.wait_for()
    shot(page, "task_of_an_evil_name")
    for where in ("task", "list"):
        if where == "list":
            page.goto(reviewer.project_url, wait_until="commit")
            page.get_by_text("P1", exact=False).first.wait_for()
        assert page.evaluate("window.sprung === undefined"), where
        assert page.locator("img[src=x]").count() == 0, where
    assert reviewer.pull([shown])[0].state is ReviewState.PENDING, "it is known by its name"


def test_the_list_shows_points_and_confidence_and_not_the_raw_series(
    studio: Studio, reviewer: LabelStudioReviewer, page: Any, shot: Callable[[Any, str], Any]
) -> None:
    reviewer.push(queue(8))
    page.goto(reviewer.project_url, wait_until="commit")
    page.wait_for_selector("text=0.83")  # of the surest interval
    shot(page, "task_list")
    text = page.inner_text("body")
    assert "To do" in text and "tsad-x-patch:1" in text
    assert '"time"' not in text and '{"c1"' not in text


def test_an_annotation_posted_by_raw_http_arrives_to_the_second(
    studio: Studio, reviewer: LabelStudioReviewer
) -> None:
    shown = choice(Window(series(), 0, 400))
    reviewer.push([shown])
    task = tasks_of(studio, reviewer)[0]
    annotate(studio, task, ("2026-01-01 10:30:00", "2026-01-01 12:25:00"), ("2026-01-01 20:00:00.000",) * 2)
    (reviewed,) = reviewer.pull([shown])
    minute = 60 * SECOND
    assert [(i.start, i.end) for i in reviewed.intervals] == [
        (START + 150 * minute, START + 270 * minute), (START + 720 * minute, START + 725 * minute)
    ]


def test_pushing_again_makes_no_second_task_and_finishes_what_was_begun(
    studio: Studio, reviewer: LabelStudioReviewer
) -> None:
    choices = queue(20)
    assert reviewer.push(choices[:9]) == 9  # as if killed after a part
    assert reviewer.push(choices) == 11
    assert reviewer.push(choices) == 0
    assert made(studio, reviewer.title.removeprefix("tsad-")).push(choices[::-1]) == 0
    tasks = tasks_of(studio, reviewer)
    assert len(tasks) == 20 and {t["data"]["window_id"] for t in tasks} == {c.window.window_id for c in choices}
    assert all(len(t["predictions"]) == 1 for t in tasks)
    scores = [t["data"]["confidence"] for t in tasks[9:]]
    assert scores == sorted(scores, reverse=True)


def test_doubles_of_a_killed_import_are_reduced_to_the_answered_one(
    studio: Studio, reviewer: LabelStudioReviewer
) -> None:
    choices = queue(3)
    reviewer.push(choices)
    tasks = tasks_of(studio, reviewer)
    project = tasks[0]["project"]
    again = [{"data": t["data"]} for t in tasks[:2]]
    studio.call("POST", f"/api/projects/{project}/import", json=again)
    double = tasks_of(studio, reviewer)[3]
    annotate(studio, double)
    assert reviewer.push(choices) == 0
    left = tasks_of(studio, reviewer)
    assert len(left) == 3 and double["id"] in {t["id"] for t in left}


def test_a_new_model_version_replaces_what_waits_and_leaves_what_is_answered(
    studio: Studio, reviewer: LabelStudioReviewer
) -> None:
    choices = queue(4)
    reviewer.push(choices)
    answered = tasks_of(studio, reviewer)[0]
    annotate(studio, answered)
    newer = [replace(c, proposals=proposed("tsad-x-patch:2")) for c in choices]
    assert reviewer.push(newer) == 0
    for task in tasks_of(studio, reviewer):
        versions = [p["model_version"] for p in task["predictions"]]
        assert versions == (["tsad-x-patch:1"] if task["id"] == answered["id"] else ["tsad-x-patch:2"])
        assert task["data"]["model_version"] == versions[0]
    assert reviewer._project()["model_version"] == "tsad-x-patch:2"


def test_gold_windows_go_out_without_a_proposal_and_skips_are_skipped(
    studio: Studio, reviewer: LabelStudioReviewer
) -> None:
    gold = [replace(c, purpose=Purpose.GOLD, proposals=()) for c in queue(2)]
    reviewer.push(gold)
    first, second = tasks_of(studio, reviewer)
    assert own_regions(first) == [] and first["data"]["confidence"] is None
    assert [r["from_name"] for p in first["predictions"] for r in p["result"]] == ["aside"]  # its context
    annotate(studio, first)
    annotate(studio, second, was_cancelled=True)
    by_id = {r.window.window_id: r.state for r in reviewer.pull(gold)}
    assert by_id[first["data"]["window_id"]] is ReviewState.ANNOTATED
    assert by_id[second["data"]["window_id"]] is ReviewState.SKIPPED
    assert reviewer.progress(gold).answered == 2


def test_a_wrong_push_is_withdrawn_but_not_what_people_have_begun(
    studio: Studio, reviewer: LabelStudioReviewer
) -> None:
    choices = queue(6)
    reviewer.push(choices[:4])
    other = [replace(c, proposals=proposed("tsad-x-patch:9", *(c.proposal or ()))) for c in choices[4:]]
    reviewer.push(other)
    tasks = tasks_of(studio, reviewer)
    annotate(studio, tasks[0])
    studio.call("POST", f"/api/tasks/{tasks[1]['id']}/drafts", json={"result": [], "lead_time": 1})
    assert reviewer.withdraw(model_version="tsad-x-patch:1") == 2
    assert {t["id"] for t in tasks_of(studio, reviewer)} == {t["id"] for t in (*tasks[:2], *tasks[4:])}
    assert reviewer.withdraw(other) == 2
    assert reviewer.withdraw(push_id="nothing like it") == 0
    assert len(tasks_of(studio, reviewer)) == 2


def test_a_wrong_token_and_a_dead_server_are_one_clear_line(studio: Studio) -> None:
    wrong = LabelStudioReviewer(OPTIONS, url=studio.url, token="f" * 40, loop="whatever")
    with pytest.raises(ReviewError, match=r"refused the token.*401.*review\.token_env") as caught:
        wrong.push(queue(1))
    assert "f" * 40 not in str(caught.value)
    dead = LabelStudioReviewer(OPTIONS, url="http://127.0.0.1:9", token="f" * 40, loop="whatever")
    with pytest.raises(ReviewError, match=r"cannot be reached.*tsad studio"):
        dead.pull(queue(1))


def test_a_deleted_project_and_deleted_tasks_are_named_and_pushed_again(
    studio: Studio, reviewer: LabelStudioReviewer
) -> None:
    choices = queue(3)
    reviewer.push(choices)
    reviewer.pull(choices)
    task = tasks_of(studio, reviewer)[0]
    studio.call("DELETE", f"/api/tasks/{task['id']}/")
    with pytest.raises(ReviewError, match=r"1 of 3 tasks are gone.*tsad push"):
        reviewer.pull(choices)
    assert reviewer.push(choices) == 1
    assert len(reviewer.pull(choices)) == 3
    studio.call("DELETE", f"/api/projects/{task['project']}/")
    with pytest.raises(ReviewError, match=r"no project.*tsad push"):
        reviewer.pull(choices)
    assert reviewer.push(choices) == 3


def test_a_template_changed_by_hand_is_named(studio: Studio, reviewer: LabelStudioReviewer) -> None:
    choices = queue(2)
    reviewer.push(choices)
    task = tasks_of(studio, reviewer)[0]
    path = f"/api/projects/{task['project']}/"
    good = studio.call("GET", path)["label_config"]
    studio.call("PATCH", path, json={"label_config": good.replace('column="c1"', 'column="speed"')})
    with pytest.raises(ReviewError, match=r"template of project .* has changed.*Labeling Interface"):
        reviewer.pull(choices)
    renamed = good.replace('name="label"', 'name="kind"')
    studio.call("PATCH", path, json={"label_config": renamed})
    start = task["data"]["start"]
    region = {"from_name": "kind", "to_name": "ts", "type": "timeserieslabels",
              "value": {"start": start, "end": start, "timeserieslabels": ["Anomaly"]}}
    studio.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": [region]})
    # Another name alone is no harm: names are read from the config. (Once answered, Label Studio refuses such changes.)
    states = {r.window.window_id: len(r.intervals) for r in reviewer.pull(choices)}
    assert states[task["data"]["window_id"]] == 1


def test_a_new_kind_is_added_to_the_template_and_people_s_changes_stay(
    studio: Studio, reviewer: LabelStudioReviewer
) -> None:
    first, second = queue(2)
    reviewer.push([first])
    project = reviewer._project()
    inside, _, after = project["label_config"].rpartition("</View>")
    extra = f'{inside}<TextArea name="comment" toName="ts" perRegion="false"/></View>{after}'
    studio.call("PATCH", f"/api/projects/{project['id']}/", json={"label_config": extra})
    leak = tuple(Interval(i.start, i.end, "leak", i.score) for i in second.proposal or ())
    assert reviewer.push([replace(second, proposals=proposed("tsad-x-patch:1", *leak))]) == 1
    config = reviewer._project()["label_config"]
    assert 'value="leak"' in config and "comment" in config


def signed_up(studio: Studio) -> int:
    """Status of an attempt to make oneself a user without an invitation."""
    with httpx.Client(base_url=studio.url, trust_env=False) as stranger:
        stranger.get("/user/signup/")
        form = {"email": "mallory@example.org", "password": "Mallory-12345", "how_find_us": "",
                "csrfmiddlewaretoken": stranger.cookies["csrftoken"]}
        return stranger.post("/user/signup/", data=form).status_code


def test_the_server_is_private_and_phones_nobody(studio: Studio) -> None:
    assert server.credentials_file(studio.home).stat().st_mode & 0o077 == 0
    assert server.start(studio.home) == studio.url  # running already: no second one
    state = server.status(studio.home)
    assert state is not None
    process = psutil.Process(state["pid"])
    assert studio.token not in " ".join(process.cmdline())
    listening = {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    remote = {c.raddr.ip for c in process.net_connections() if c.raddr}
    assert remote <= {"127.0.0.1"}
    # It did want to: the tips it fetches from GitHub with every page cannot be switched off. Nothing else may turn up.
    log = (server.folder(studio.home) / "server.log").read_text(errors="replace")
    refused = set(re.findall(r"refused to leave this machine for (\S+)", log))
    assert refused <= {"raw.githubusercontent.com"}
    assert "embedded, running at" in server.describe(OPTIONS, studio.home)
    assert signed_up(studio) == 403
