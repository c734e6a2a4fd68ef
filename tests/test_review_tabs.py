"""Tabs, instruction and hotkey of a Label Studio project: made by us, and people's own changes respected."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from review_kit import label_studio_options
from test_review_label_studio import FakeServer, choices, reviewer

from tsad.core.errors import ConfigError
from tsad.core.reviews import Purpose
from tsad.review.label_studio import instruction, tabs, template
from tsad.review.label_studio.words import REASONS

TITLES = ["To do", "Unsure", "Conflicts", "Blind", "Done", "Skipped"]


def made(language: str = "en") -> list[dict[str, Any]]:
    found = [{"id": k, "data": change.view} for k, change in enumerate(tabs.changes([], language), 1)]
    return json.loads(json.dumps(found))


def titles(found: list[tabs.Change]) -> list[str]:
    return [change.view["title"] for change in found]


# ---- tabs


def test_a_new_project_gets_six_tabs_and_then_no_more() -> None:
    present = made()
    assert [view["data"]["title"] for view in present] == TITLES
    assert tabs.changes(present, "en") == []


def test_no_tab_of_open_windows_shows_done_ones_and_administrative_columns_are_hidden() -> None:
    for view in made():
        data, columns = view["data"], {item["filter"] for item in view["data"]["filters"]["items"]}
        hidden = set(data["hiddenColumns"]["explore"])
        assert {"tasks:data.series", "tasks:data.overview", "tasks:data.window_id"} <= hidden
        assert not hidden & {f"tasks:data.{key}" for key in tabs.SHOWN}
        assert data["columnsDisplayType"]["tasks:data.thumbnail"] == "Image"
        if data["title"] in ("To do", "Unsure", "Blind"):
            assert "filter:tasks:completed_at" in columns and data["ordering"] == ["-tasks:data.priority"]


def test_one_s_own_change_is_respected_and_ours_of_an_older_version_is_replaced() -> None:
    present = made()
    del present[0]["data"][tabs.MARK]  # as Label Studio's page saves a tab that somebody has changed
    present[0]["data"]["ordering"] = ["tasks:id"]
    present[3]["data"][tabs.MARK]["digest"] = "older"
    (change,) = tabs.changes(present, "en")
    assert (change.number, change.view["title"]) == (4, "Blind")


def test_a_tab_that_somebody_made_under_our_title_is_theirs_in_any_language() -> None:
    own = {"id": 9, "data": {"title": "Done", "filters": {}}}
    assert "Done" not in titles(tabs.changes([own], "en"))
    assert "已完成" not in titles(tabs.changes([own], "zh"))


def test_another_language_renames_ours() -> None:
    found = tabs.changes(made(), "zh")
    assert [change.number for change in found] == [1, 2, 3, 4, 5, 6]
    assert titles(found)[:2] == ["待标注", "没把握"]


def test_the_one_tab_of_before_becomes_to_do_unless_somebody_has_changed_it() -> None:
    former = {"id": 5, "data": {"title": "Review queue", "ordering": ["tasks:id"], "filters": {}}}
    assert tabs.changes([former], "en")[0].number == 5
    touched = copy.deepcopy(former)
    touched["data"]["gridWidth"] = 4  # the page's own key: somebody has saved it there
    assert {change.number for change in tabs.changes([touched], "en")} == {None}


def test_filters_know_the_strategies_whatever_the_language() -> None:
    unsure = next(tab for tab in tabs.TABS if tab.name == "unsure")
    pattern = next(value for column, _, _, value in unsure.filters if column == "data.strategy")
    assert {"low_confidence", "disputed"} < set(REASONS) and "low_confidence" in pattern and "disputed" in pattern


def test_later_iterations_come_first_and_each_queue_in_its_own_order() -> None:
    order = [tabs.priority(3, 0), tabs.priority(3, 1), tabs.priority(2, 0), tabs.priority(2, 10_000)]
    assert order == sorted(order, reverse=True)


def test_a_push_makes_tabs_priorities_and_columns_in_their_order() -> None:
    fake, queue = FakeServer(), [replace(c, iteration=2) for c in choices(4)]
    queue[0] = replace(queue[0], purpose=Purpose.GOLD, proposals=())
    reviewer(fake).push(queue)
    assert [data["title"] for data in fake.tabs.values()] == TITLES
    ranks = [row["data"]["priority"] for row in fake.rows]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] == 2_000_000
    assert tuple(fake.rows[0]["data"])[: len(tabs.SHOWN)] == tabs.SHOWN
    written = copy.deepcopy(fake.tabs)
    reviewer(fake).push(queue)
    assert fake.tabs == written


# ---- instruction


def form(**changes: Any) -> template.Template:
    keys = {"Anomaly": "1", "spike": "s"}
    made = template.Template("label", "ts", "time", 1, tuple(keys), frozenset(), hotkeys=keys)
    return replace(made, **changes)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_ours_is_filled_in_and_known_again_as_the_server_writes_it(language: str) -> None:
    html = instruction.instruction(label_studio_options(language=language, utc_offset="+05:30"), form())
    assert "<b>spike</b> (<code>s</code>)" in html and "UTC+05:30" in html and "<code>ctrl+enter</code>" in html
    assert "{" not in html.replace(html[html.index("<style>") : html.index("</style>")], "")
    assert ("03 PM" in html) and REASONS["gold"][language] in html
    served = html.replace("&quot;", '"').replace("&#x27;", "'")  # its cleaning writes entities its own way
    assert instruction.is_ours(html) and instruction.is_ours(served)
    assert not instruction.is_ours(html.replace("spike", "Spitze")) and not instruction.is_ours("<p>Be careful.</p>")


def test_an_index_has_no_clock_and_markup_in_a_kind_is_text() -> None:
    html = instruction.instruction(label_studio_options(), form(time_kind="index", hotkeys={"<img src=x>": ""}))
    assert "positions in the series" in html and "UTC" not in html
    assert "<img" not in html and "&lt;img src=x&gt;" in html


def test_markdown_becomes_html() -> None:
    text = "# Head\nFirst\nline.\n\n- **one**\n  goes on\n- `two`\n\n中文第一行，\n第二行。 {unknown} a < b"
    assert instruction.as_html(text) == (
        "<h2>Head</h2>\n<p>First line.</p>\n<ul><li><b>one</b> goes on</li><li><code>two</code></li></ul>\n"
        "<p>中文第一行，第二行。 {unknown} a &lt; b</p>"
    )


def test_a_file_of_one_s_own_and_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.md").write_text("Look at {zone}: {kinds}")
    assert "<p>Look at of 24 hours" in instruction.instruction(label_studio_options(instruction="mine.md"), form())
    with pytest.raises(ConfigError, match=r"review\.instruction=none\.md is no file.*instruction_en\.md"):
        instruction.instruction(label_studio_options(instruction="none.md"), form())
    (tmp_path / "mine.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"mine\.md cannot be read.*UTF-8"):
        instruction.instruction(label_studio_options(instruction="mine.md"), form())


def test_a_push_instructs_once_and_leaves_people_s_own_words() -> None:
    fake = FakeServer()
    reviewer(fake).push(choices(2))
    assert fake.project is not None and fake.project["show_instruction"] is True
    assert instruction.is_ours(fake.project["expert_instruction"])
    fake.project["show_instruction"] = False
    reviewer(fake, language="zh").push(choices(3))
    assert "要做什么" in fake.project["expert_instruction"] and fake.project["show_instruction"] is False
    fake.project["expert_instruction"] = "<p>Ours.</p>"
    reviewer(fake).push(choices(4))
    assert fake.project["expert_instruction"] == "<p>Ours.</p>"
    silent = FakeServer()
    reviewer(silent, instruction="").push(choices(2))
    assert silent.project is not None and "expert_instruction" not in silent.project and silent.keys == {}


def test_the_key_that_submits_is_set_and_named() -> None:
    fake = FakeServer()
    reviewer(fake, submit_key="space").push(choices(2))
    assert fake.keys == {instruction.SUBMIT_ACTION: "space"} and fake.project is not None
    assert "<code>space</code>" in fake.project["expert_instruction"]


# ---- the template


def test_kinds_without_a_key_get_the_next_free_one() -> None:
    labels = '<Label value="Anomaly"/><Label value="spike" hotkey="2"/><Label value="dip"/><Label value="drift"/>'
    text = (Path(__file__).parents[1] / "label_studio" / "timeseries.xml").read_text()
    config = text.replace('<Label value="Anomaly" background="#d62728"/>', labels)
    filled = template.fill(config, kinds=(), legends=["v"], time_kind="time", name="t")
    own = template.read(filled, "p")
    assert own.hotkeys == {"Anomaly": "1", "spike": "2", "dip": "3", "drift": "4"}
    assert own.overview and not template.read(template.without_overview(filled), "p").overview


def test_without_pictures_the_template_asks_for_none() -> None:
    fake = FakeServer()
    reviewer(fake, pictures=False).push(choices(2))
    assert fake.project is not None and "$overview" not in fake.project["label_config"]
    assert not {"overview", "thumbnail"} & set(fake.rows[0]["data"])
    fake = FakeServer()
    reviewer(fake).push(choices(2))
    assert fake.project is not None and "$overview" in fake.project["label_config"]
    assert {"overview", "thumbnail"} <= set(fake.rows[0]["data"])
