"""What people see around the drawing, in a real Label Studio: tabs with thumbnails, pictures, instruction, one key."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from review_kit import label_studio_options

from tsad.core.overview import overview_of
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal
from tsad.review.label_studio import instruction, tabs
from tsad.review.label_studio.reviewer import LabelStudioReviewer

if TYPE_CHECKING:
    from conftest import Studio

pytestmark = pytest.mark.live

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND  # 2026-01-01 00:00:00 UTC
STEP = 300 * SECOND
# The editor keeps its picture as a blob: it is known by its width.
OVERVIEW_DRAWN = "() => [...document.images].some(img => img.complete && img.naturalWidth === 1200)"
DRAWN = "img => img.complete && img.naturalWidth > 0"


def queue(count: int = 4) -> list[Choice]:
    """Windows over a daily cycle with a gap; the last one is blind."""
    at = np.arange(400 * (count + 2))
    values = 50 + 5 * np.sin(2 * np.pi * at / 288) + np.random.default_rng(0).normal(size=len(at)) * 0.3
    values[500:560] = np.nan
    series = Series("AC6403B.PV", START + STEP * at.astype(np.int64), values[:, None])
    whole, chosen = overview_of(series), []
    for k in range(count):
        shown, blind = Window(series, 400 * k, 400 * k + 400), k == count - 1
        proposal = Interval(int(shown.timestamps[120]), int(shown.timestamps[140]), score=0.83)
        chosen.append(Choice(
            shown, 0.5, "gold:1" if blind else ("low_confidence", "top_score", "random")[k % 3],
            Purpose.GOLD if blind else Purpose.TRAIN,
            () if blind else (Proposal((proposal,), Origin("patch", "tsad-x-patch:1")),), 0.9 - k / 10, 2, whole,
        ))  # fmt: skip
    return chosen


def made(studio: Studio, loop: str = "", **options: Any) -> LabelStudioReviewer:
    settings = label_studio_options(token_env="X", utc_offset="+08:00", **options)
    name = loop or f"words-{uuid.uuid4().hex[:8]}"
    return LabelStudioReviewer(settings, url=studio.url, token=studio.token, loop=name)


def answered(studio: Studio, project: int) -> list[tuple[int, bool]]:
    """(how many annotations, whether skipped) of every task."""
    params = {"project": project, "fields": "all", "query": '{"ordering": ["tasks:id"]}'}
    tasks = studio.call("GET", "/api/tasks/", params=params)["tasks"]
    return [(len(t["annotations"]), any(a["was_cancelled"] for a in t["annotations"])) for t in tasks]


def test_tabs_thumbnails_the_whole_series_and_the_instruction(
    studio: Studio, page: Any, shot: Callable[[Any, str], Any]
) -> None:
    reviewer = made(studio)
    reviewer.push(queue())
    page.goto(reviewer.project_url, wait_until="commit")
    thumbnails = page.locator("img[src^='data:image/svg+xml']")
    thumbnails.nth(3).wait_for()
    assert all(thumbnails.nth(k).evaluate(DRAWN) for k in range(4))
    text = page.inner_text("body")
    for expected in ("To do", "Unsure", "Conflicts", "Blind", "Done", "Skipped", "1 d 9 h 20 min", "least sure"):
        assert expected in text
    assert '"time"' not in text and "data:image" not in text and "low_confidence" not in text
    shot(page, "words_tabs")
    page.get_by_text("Blind", exact=True).first.click()
    page.get_by_text("blind: scores the model").first.wait_for()
    page.get_by_text("top score").first.wait_for(state="detached")
    page.get_by_text("blind: scores the model").first.click()
    page.wait_for_selector(".htx-timeseries-channel svg")
    page.wait_for_function(OVERVIEW_DRAWN)
    assert page.get_by_text("0.83").count() == 0, "no proposal, and none's confidence"
    assert "(UTC+08:00)" in page.inner_text("body")
    shot(page, "words_blind")
    page.get_by_role("button", name="Instructions").click()
    page.get_by_text("The editor's own axis counts twelve hours").wait_for()
    page.wait_for_timeout(500)
    shot(page, "words_instruction")


def test_one_key_submits_and_opens_the_next_in_chinese(
    studio: Studio, page: Any, shot: Callable[[Any, str], Any]
) -> None:
    reviewer = made(studio, language="zh", submit_key="space")
    try:
        reviewer.push(queue())
        project = reviewer._project()["id"]
        page.goto(f"{reviewer.project_url}?labeling=1", wait_until="commit")
        page.get_by_text("要做什么").wait_for()  # the instruction comes first, by itself
        page.wait_for_timeout(500)  # it fades in
        shot(page, "words_instruction_zh")
        page.keyboard.press("Escape")
        page.get_by_text("要做什么").wait_for(state="detached")
        page.wait_for_selector(".htx-timeseries-channel svg .brush")
        assert "为何出现：" in page.inner_text("body")
        shot(page, "words_task_zh")
        for key in ("Space", "Control+Space"):
            with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST"):
                page.keyboard.press(key)
            page.wait_for_selector(".htx-timeseries-channel svg")
            page.wait_for_timeout(500)
        assert sorted(answered(studio, project))[2:] == [(1, False), (1, True)]
    finally:  # the key belongs to the account, which other tests use
        studio.call("PATCH", "/api/current-user/hotkeys/", json={"custom_hotkeys": {}})


def test_the_server_keeps_marks_as_written_and_the_page_drops_those_of_changed_tabs(studio: Studio, page: Any) -> None:
    reviewer, choices = made(studio), queue()
    reviewer.push(choices)
    project = reviewer._project()["id"]
    views = reviewer.client.views(project)
    assert tabs.changes(views, "en") == [] and len(views) == len(tabs.TABS)
    assert instruction.is_ours(reviewer._project()["expert_instruction"])
    page.goto(reviewer.project_url, wait_until="commit")
    page.get_by_text("AC6403B.PV").first.wait_for()
    with page.expect_response(lambda r: "/api/dm/views/" in r.url and r.request.method == "PATCH"):
        page.locator("button:has-text('priority') + button").first.click()  # sort the other way round
    changed = {v["id"] for v in reviewer.client.views(project) if tabs.MARK not in v["data"]}
    assert len(changed) == 1
    reviewer.push(choices)
    assert {v["id"] for v in reviewer.client.views(project) if tabs.MARK not in v["data"]} == changed
