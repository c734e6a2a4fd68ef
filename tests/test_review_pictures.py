"""Pictures that travel with a task: well-formed SVG, the window where it lies, gaps broken, nothing of a blind one."""

from __future__ import annotations

import base64
import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from review_kit import label_studio_options

from tsad.core.overview import overview_of
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import NS_PER_SECOND, Interval, Origin, Proposal
from tsad.plots import little, svg
from tsad.plots.canvas import ORANGE, VERMILION
from tsad.plots.ticks import ticks
from tsad.review.label_studio import pictures
from tsad.review.label_studio.clock import offset_ns
from tsad.review.label_studio.template import Template
from tsad.review.label_studio.view import view_of

START = 1_767_225_600 * NS_PER_SECOND  # 2026-01-01 00:00:00 UTC
STEP = 300 * NS_PER_SECOND
OPTIONS = label_studio_options(utc_offset="+08:00")
FORM = Template("label", "ts", "time", 1, ("Anomaly",), frozenset(), overview=True)
SPACE = "{http://www.w3.org/2000/svg}"


def series(count: int = 3000, channels: int = 1, name: str = "P1") -> Series:
    values = 50 + np.cumsum(np.random.default_rng(0).normal(size=(count, channels)), axis=0)
    names = ("value",) if channels == 1 else tuple(f"ch{c}" for c in range(channels))
    return Series(name, START + STEP * np.arange(count, dtype=np.int64), values, names)


def choice(whole: Series, start: int = 1000, stop: int = 1400, **changes: Any) -> Choice:
    shown = Window(whole, start, stop)
    proposal = Interval(int(shown.timestamps[0]) + 100 * STEP, int(shown.timestamps[0]) + 200 * STEP)
    proposals = (Proposal((proposal,), Origin("p", "p:1")),)
    return replace(Choice(shown, 0.5, "mix", proposals=proposals, overview=overview_of(whole)), **changes)


def overview(given: Choice, channels: int = 1, options: Any = OPTIONS) -> ET.Element:
    return ET.fromstring(pictures.overview_picture(given, view_of(given.window, channels), options))


def thumbnail(given: Choice) -> ET.Element:
    return ET.fromstring(pictures.thumbnail(given, view_of(given.window, 3)))


def boxes(root: ET.Element, colour: str) -> list[tuple[int, int]]:
    found = [e for e in root.iter(f"{SPACE}rect") if e.get("fill") == colour and e.get("fill-opacity") == "0.45"]
    return [(int(e.get("x", "")), int(e.get("width", ""))) for e in found]


def words(root: ET.Element) -> str:
    return "\n".join(str(e.text) for e in root.iter(f"{SPACE}text"))


def strokes(root: ET.Element) -> list[str]:
    return [e.get("d", "") for e in root.iter(f"{SPACE}path")]


def test_the_overview_marks_the_window_where_it_lies_in_the_whole_series() -> None:
    root = overview(choice(series()))
    ((left, width),) = boxes(root, ORANGE)
    room = little.RIGHT - little.LEFT
    assert left == pytest.approx(little.LEFT + room * 1000 / 3000, abs=1)
    assert width == pytest.approx(room * 0.4 / 3, abs=1)
    text = words(root)
    assert "whole series" in text and "3,000 points" in text and "every 5 min" in text
    assert "2026-01-01 08:00 \N{EN DASH} 2026-01-11 17:55 (UTC+08:00)" in text
    assert "missing" not in text


def test_a_short_window_of_a_long_series_is_still_seen() -> None:
    ((_, width),) = boxes(overview(choice(series(100_000), 99_990, 100_000, proposals=())), ORANGE)
    assert width == little.LEAST_MARK


def test_gaps_break_the_line_and_single_missing_values_do_not() -> None:
    whole = series()
    whole.values[500:900] = np.nan
    whole.values[2000] = np.nan
    (path,) = strokes(overview(choice(whole)))
    assert path.count("M") == 2
    stamps = np.where(np.arange(3000) < 2000, whole.timestamps, whole.timestamps + 500 * STEP)
    late = Series("P1", stamps, series().values)
    (path,) = strokes(overview(choice(late)))
    assert path.count("M") == 2, "a gap in time breaks it, too"
    assert "13.4% missing" in words(overview(choice(whole)))


def test_without_the_whole_series_the_surroundings_are_shown_and_called_so() -> None:
    text = words(overview(choice(series(), overview=None)))
    assert "around the window" in text and "whole series" not in text


def test_channels_have_a_panel_each_with_their_names() -> None:
    whole = series(channels=6)
    whole.values[:, 2] = np.nan
    root = overview(choice(whole), 6)
    assert len(strokes(root)) == 5 and "2 ch1" in words(root)
    assert "整条序列" in words(overview(choice(whole), 6, label_studio_options(language="zh")))


def test_a_thumbnail_shows_what_is_proposed_and_of_a_blind_window_nothing() -> None:
    shown = choice(series())
    ((left, width),) = boxes(thumbnail(shown), VERMILION)
    assert (left, width) == (60, 60), "points 100 to 200 of 400, in 240 columns"
    blind = replace(shown, purpose=Purpose.GOLD)  # even where it carried some
    assert boxes(thumbnail(blind), VERMILION) == []


def test_pictures_go_out_where_asked_for_and_the_template_shows_them() -> None:
    shown = choice(series())
    view = view_of(shown.window, 1)
    made = pictures.pictures_of(shown, view, FORM, OPTIONS)
    assert set(made) == {"overview", "thumbnail"}
    kind, text = made["overview"].split(",")
    assert kind == "data:image/svg+xml;base64" and ET.fromstring(base64.b64decode(text)).tag == f"{SPACE}svg"
    assert sum(map(len, made.values())) < 15_000
    without = label_studio_options(pictures=False)
    assert set(pictures.pictures_of(shown, view, FORM, without)) == {"overview"}, "the template cannot be shown without"
    assert pictures.pictures_of(shown, view, replace(FORM, overview=False), without) == {}


def test_names_that_are_no_xml_are_drawn_as_text() -> None:
    whole = replace(series(), channels=("<script>\x00&'\"\x1b]",))
    assert "<script>&'\"]" in words(overview(choice(whole)))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(float, st.tuples(st.integers(1, 60), st.integers(1, 3)),
               elements=st.floats(allow_nan=True, allow_infinity=False) | st.just(3.0)),
    st.integers(0, 3),
)  # fmt: skip
def test_any_series_is_drawn_inside_the_picture(values: np.ndarray, seed: int) -> None:
    steps = np.random.default_rng(seed).integers(1, 10**12, len(values))
    names = tuple(f"c{k}" for k in range(values.shape[1]))
    whole = Series("X", np.cumsum(steps).astype(np.int64), values, names)
    given = Choice(Window(whole, 0, len(values)), 1.0, "mix", overview=overview_of(whole))
    for root in (overview(given, 3), thumbnail(given)):
        height = int(root.get("height", ""))
        for path in strokes(root):
            x = y = 0
            for mark, first, second in re.findall(r"([Mlhv])(-?\d+)(?: (-?\d+))?", path):
                if mark == "M":
                    x, y = int(first), int(second)
                elif mark == "l":
                    x, y = x + int(first), y + int(second)
                else:
                    x, y = (x + int(first), y) if mark == "h" else (x, y + int(first))
                assert 0 <= x <= little.WIDTH and 0 <= y <= height


def test_a_trace_touches_the_lowest_and_the_highest_row_of_every_column() -> None:
    high, low = np.array([3, 1, 0, 5]), np.array([9, 4, 0, 8])
    path = svg.trace(np.arange(4), high, low, np.array([True, True, False, True]))
    assert path == "M0 3h1h-1l0 0v6l1 -5v-3M3 8h1h-1l0 0v-3"


@pytest.mark.parametrize(
    ("span", "offset", "texts"),
    [
        (3_600, "+08:00", ["01-01 08:00", "08:10", "08:20"]),
        (86_400, "+08:00", ["2026-01-01 12:00", "18:00", "01-02 00:00"]),
        (40 * 86_400, "+08:00", ["2026-01-08", "01-15"]),
        (900 * 86_400, "+00:00", ["2026-01", "2026-07"]),
        (9000 * 86_400, "+00:00", ["2030", "2035"]),
    ],
)
def test_ticks_are_round_moments_of_24_hours_in_the_offset(span: int, offset: str, texts: list[str]) -> None:
    end = START + span * NS_PER_SECOND
    marks = ticks(START, end, "time", offset_ns(offset), 6)
    assert len(marks) <= 7 and all(START <= mark.at < end for mark in marks)
    shown = [mark.text for mark in marks]
    assert all(any(text in own for own in shown) for text in texts), shown
    assert not any("PM" in text or "AM" in text for text in shown)


def test_ticks_of_an_index_count_rows() -> None:
    marks = ticks(0, 9_700 * NS_PER_SECOND, "index", 0, 10)
    assert [mark.text for mark in marks] == [str(k) for k in range(0, 9_700, 1000)]


def test_no_time_is_written_over_another() -> None:
    """The first one bears the date, and the next mark may be nearer than it is long."""
    whole = series(600)
    whole = replace(whole, timestamps=START + 60 * NS_PER_SECOND * np.arange(600, dtype=np.int64))
    root = overview(choice(whole, 100, 200, proposals=()))
    row = max(int(e.get("y", "")) for e in root.iter(f"{SPACE}text"))
    texts = [(int(e.get("x", "")), str(e.text)) for e in root.iter(f"{SPACE}text") if int(e.get("y", "")) == row]
    assert len(texts) > 3 and len(texts[0][1]) > 10
    assert all(x + 7 * len(text) < after for (x, text), (after, _) in itertools.pairwise(texts)), texts
