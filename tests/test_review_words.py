"""What a task says in words: 24-hour times, why it is shown, English and Chinese, nothing that tells on a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_kit import label_studio_options

from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal
from tsad.review.label_studio.clock import offset_ns
from tsad.review.label_studio.moments import from_to, length, moment
from tsad.review.label_studio.template import Template
from tsad.review.label_studio.view import view_of
from tsad.review.label_studio.words import REASONS, share, words_of

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND  # 2026-01-01 00:00:00 UTC
EAST = label_studio_options(utc_offset="+08:00")


def form(channels: int = 1, kind: Any = "time") -> Template:
    return Template("label", "ts", kind, channels, ("Anomaly",), frozenset())


def window(channels: tuple[str, ...] = ("value",), kind: Any = "time", count: int = 400, step: int = 300) -> Window:
    start = 0 if kind == "index" else START
    stamps = start + SECOND * (1 if kind == "index" else step) * np.arange(count, dtype=np.int64)
    values = np.random.default_rng(0).normal(size=(count, len(channels)))
    return Window(Series("AC6403B.PV", stamps, values, channels, kind), 0, count)


def choice(shown: Window, strategy: str = "low_confidence", **changes: Any) -> Choice:
    proposal = Proposal((Interval(int(shown.timestamps[3]), int(shown.timestamps[9])),), Origin("patch", "x-patch:3"))
    return Choice(shown, 0.5, strategy, proposals=(proposal,), iteration=2, **changes)


def said(given: Choice, options: Any = EAST, channels: int = 1) -> dict[str, Any]:
    series = given.window.series
    return words_of(given, view_of(given.window, channels), form(channels, series.time_kind), options)


def test_the_title_says_point_when_step_model_and_why() -> None:
    assert said(choice(window()))["title"] == (
        "AC6403B.PV · 2026-01-01 08:00 \N{EN DASH} 2026-01-02 17:15 (UTC+08:00) · 400 points · "
        "every 5 min · iteration 2 · x-patch:3 · shown because: least sure"
    ).replace("·", "\N{MIDDLE DOT}")


def test_afternoons_count_on_to_24_hours_and_years_are_named() -> None:
    words = said(choice(window(count=200, step=60)), label_studio_options(utc_offset="+13:30"))
    assert "2026-01-01 13:30 \N{EN DASH} 16:49 (UTC+13:30)" in words["title"]
    assert words["duration"] == "3 h 20 min"


def test_columns_are_figures_and_filters_stay_the_same_in_chinese() -> None:
    english, chinese = (said(choice(window()), label_studio_options(language=name)) for name in ("en", "zh"))
    assert english["reason"] == "least sure" and chinese["reason"] == "模型最没把握"
    assert "第 2 轮" in chinese["title"] and "为何出现：模型最没把握" in chinese["title"]
    for key, value in {"strategy": "low_confidence", "proposals": 1, "iteration": 2}.items():
        assert english[key] == chinese[key] == value


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_blind_window_tells_nothing_of_what_the_model_thinks(language: str) -> None:
    blind = choice(window(), "gold:3", purpose=Purpose.GOLD, score=0.97)
    words = said(blind, label_studio_options(language=language))
    assert words["proposals"] is None and words["strategy"] == "gold"
    assert words["reason"] == REASONS["gold"][language]
    text = repr(words)
    assert "x-patch" not in text and "0.97" not in text and "gold:" not in text


def test_a_strategy_of_one_s_own_goes_by_its_name_and_markup_stays_text() -> None:
    assert said(choice(window(), "mine"))["reason"] == "mine"
    words = said(choice(window(("<b>T</b>",)), "<img src=x>"))
    assert "<" not in words["title"] and words["reason"] == "&lt;img src=x&gt;"
    assert all(set(texts) == {"en", "zh"} for texts in REASONS.values())


def test_channels_are_named_with_their_units_and_numbered_where_there_are_several() -> None:
    assert said(choice(window(("Temperature [°C]",))))["title"].endswith("channels: Temperature [°C]")
    assert "channels" not in said(choice(window()))["title"]
    both = said(choice(window(("flow m3/h", "p kPa"))), channels=3)["title"]
    assert both.endswith("channels: 1 = flow m3/h, 2 = p kPa, 3 = (empty)")
    many = said(choice(window(tuple(f"c{k}" for k in range(9)))), channels=2)["title"]
    assert many.endswith("; 7 more not drawn")


def test_missing_values_are_a_share_and_never_rounded_away() -> None:
    shown = window()
    shown.values[:6] = np.nan
    assert "1.5% missing (bridged by straight lines)" in said(choice(shown))["title"]
    assert [share(part) for part in (1e-6, 0.5, 1 - 1e-6, 1.0)] == ["<0.1%", "50%", ">99.9%", "100%"]


def test_an_index_is_counted_in_points() -> None:
    words = said(choice(window(kind="index")))
    assert words["duration"] == "400 points" and "0 \N{EN DASH} 399 (index)" in words["title"]
    assert "every" not in words["title"] and "UTC" not in words["title"]


def test_old_queues_name_no_iteration() -> None:
    words = said(replace(choice(window()), iteration=0))
    assert words["iteration"] is None and "iteration" not in words["title"]


@given(st.integers(-(10**18), 4 * 10**18), st.integers(-14, 14))
def test_a_moment_is_read_back_in_its_offset(stamp: int, hours: int) -> None:
    offset = hours * 3_600 * SECOND
    text = moment(stamp, "time", offset)
    assert int(np.datetime64(text.replace(" ", "T"), "ns").astype(np.int64)) - offset == stamp


def test_lengths_and_stretches() -> None:
    day = 86_400 * SECOND
    assert [length(n) for n in (day, day + 3_600 * SECOND * 9, 90 * SECOND, 250_000_000, 100 * day + 61 * SECOND)] == [
        "1 d", "1 d 9 h", "1 min 30 s", "250 ms", "100 d 1 min 1 s",
    ]  # fmt: skip
    assert from_to(START, START + 30 * SECOND, "time", offset_ns("-03:30")) == (
        "2025-12-31 20:30 \N{EN DASH} 20:30:30"
    )
