"""What is shown beside a window in the real editor: locked, drawn over, and never an answer; verdicts and reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from test_label_studio import START, STEP, choice, drag, made, open_task, own_regions, place, series, submit, tasks_of

from tsad.core.reviews import Choice, Purpose, ReviewState
from tsad.core.series import Window
from tsad.core.types import Interval, Origin, Proposal
from tsad.files.locate import shipped

if TYPE_CHECKING:
    from conftest import Studio

pytestmark = pytest.mark.live

POINTS = 300  # drawn: a window of 100 with as many on either side


def several(name: str) -> Choice:
    """A window with a gap that the champion, a language model and the version before have opinions about."""
    whole = series(name)
    whole.values[150:156] = np.nan
    shown = choice(Window(whole, 100, 200), ((20, 40),))
    first = (shown.proposal or ())[0]
    other = Interval(first.start + 40 * STEP, first.end + 40 * STEP, "level shift", 0.4, "the level moves")
    longer = Interval(first.start + 5 * STEP, first.end + 9 * STEP, score=0.6)
    further = (
        Proposal((replace(first, score=0.71), other), Origin("chatts", "chatts:base")),
        Proposal((longer,), Origin("patch", "tsad-x-patch:2")),
    )
    return replace(shown, proposals=(*shown.proposals, *further))


def spans(reviewed: Any) -> list[tuple[int, int]]:
    return [((i.start - START) // STEP - 100, (i.end - START) // STEP - 100) for i in reviewed.intervals]


@pytest.mark.timeout(600)
def test_what_is_only_shown_is_locked_and_never_an_answer(
    studio: Studio, page: Any, shot: Callable[[Any, str], Any]
) -> None:
    reviewer = made(studio, verdict=True)
    accepted, corrected, deleted = (several(name) for name in ("P1.ACC", "P1.COR", "P1.DEL"))
    blind = replace(choice(Window(series("BLIND"), 100, 200), ()), purpose=Purpose.GOLD, proposals=())
    asked = [accepted, corrected, deleted, blind]
    reviewer.push(asked)
    number = {t["data"]["point_id"]: k for k, t in enumerate(tasks_of(studio, reviewer))}
    form = {r["value"]["timeserieslabels"][0] for t in tasks_of(studio, reviewer)
            for p in t["predictions"] for r in p["result"] if r["from_name"] == "aside"}
    assert form == {"Context", "No data", "chatts base", "patch 2"}

    open_task(page, studio, reviewer, number["P1.ACC"])
    assert page.locator(".htx-timeseries-channel .brush").count() == 6  # one to answer, five to see
    assert page.locator(".htx-timeseries-channel .brush .handle").count() == 2  # only the first can be moved
    assert page.locator("text=chatts base >> visible=true").count() == 1  # in the list of regions; nobody can choose it
    shot(page, "page_three_detectors")
    submit(page)

    open_task(page, studio, reviewer, number["P1.COR"])
    page.keyboard.press("4")  # level shift
    page.wait_for_timeout(300)
    drag(page, place(page, 90, POINTS), place(page, 109, POINTS))  # from the context into the window
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    drag(page, place(page, 162, POINTS), place(page, 170, POINTS))  # over what chatts proposes
    page.get_by_text("corrected").first.click()
    page.get_by_placeholder("Why? (if you like)").fill("a pump was off")
    shot(page, "page_corrected")
    submit(page)

    open_task(page, studio, reviewer, number["P1.DEL"])
    middle = place(page, 130, POINTS)
    page.mouse.click(*middle)
    page.wait_for_timeout(300)
    page.keyboard.press("Backspace")
    page.wait_for_timeout(300)
    assert page.locator(".htx-timeseries-channel .brush").count() == 5
    submit(page)

    open_task(page, studio, reviewer, number["BLIND"])
    assert page.locator(".htx-timeseries-channel .brush").count() == 2  # its context
    shot(page, "page_blind")
    submit(page)

    states = reviewer.pull(asked)
    assert [r.problem for r in states] == [""] * 4
    assert [r.state for r in states] == [
        ReviewState.ACCEPTED, ReviewState.CORRECTED, ReviewState.CORRECTED, ReviewState.ANNOTATED,
    ]  # fmt: skip
    assert spans(states[0]) == [(20, 40)] and spans(states[2]) == [] == spans(states[3])
    (first, second, third) = states[1].intervals
    assert spans(states[1]) == [(0, 10), (20, 40), (62, 71)] and first.label == "level shift"
    assert {second.label, third.label} == {"Anomaly"}
    (told,) = states[1].annotations
    assert (told.verdict, told.note) == ("corrected", "a pump was off")


def test_an_answer_that_cannot_be_read_is_told_and_stops_nobody(studio: Studio) -> None:
    reviewer = made(studio)
    asked = [several("A"), several("B"), several("C")]
    reviewer.push(asked)
    tasks = {t["data"]["point_id"]: t for t in tasks_of(studio, reviewer)}

    def answer(name: str, **value: Any) -> None:
        (proposed,) = own_regions(tasks[name])
        region = {**proposed, "value": {**proposed["value"], **value}}
        studio.call("POST", f"/api/tasks/{tasks[name]['id']}/annotations/", json={"result": [region]})

    times = next(iter(tasks["A"]["data"]["series"].values()))
    answer("A")
    answer("B", start=times[10], end=times[20])  # in the context
    answer("C", start=times[130], end=times[120])
    states = reviewer.pull(asked)
    assert [r.state for r in states] == [ReviewState.ACCEPTED, ReviewState.PENDING, ReviewState.PENDING]
    assert "outside its window" in states[1].problem and "ends before it starts" in states[2].problem


def test_a_project_of_an_older_tsad_goes_on(studio: Studio, page: Any, tmp_path: Path) -> None:
    text = (shipped("label_studio") / "timeseries.xml").read_text()
    start = text.index('<View style="display:none">')
    old = tmp_path / "old.xml"
    old.write_text(text[:start] + text[text.index("</View>", start) + len("</View>") :])
    first, second = several("FIRST"), several("SECOND")
    begun = made(studio, template=str(old), kinds="")
    assert begun.push([first]) == 1
    reviewer = made(studio, begun.title.removeprefix("tsad-"))  # today's options and template
    assert reviewer.push([first, second]) == 1
    assert 'name="aside"' not in reviewer._project()["label_config"]
    open_task(page, studio, reviewer)
    assert page.locator(".htx-timeseries-channel .brush").count() == 1
    submit(page)
    assert [r.state for r in reviewer.pull([first, second])] == [ReviewState.ACCEPTED, ReviewState.PENDING]
