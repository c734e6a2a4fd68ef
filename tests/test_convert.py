"""Label Studio's edge: every interval survives the way to a region and back, whatever the sampling."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from review_kit import label_studio_options

from tsad.core.errors import ConfigError, ReviewError
from tsad.core.intervals import mask_to_intervals, runs_of
from tsad.core.names import markup_free, of_markup_free
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import Interval, Origin, Proposal, TimeKind
from tsad.review.label_studio import convert, template, view
from tsad.review.positions import labelled_runs_to_intervals

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND  # 2026-01-01 00:00:00 UTC
FILE = Path(__file__).parents[1] / "label_studio" / "timeseries.xml"


def made(kind: TimeKind = "time", legends: tuple[str, ...] = ("value",), kinds: tuple[str, ...] = ("spike",)) -> str:
    return template.fill(FILE.read_text(), kinds=kinds, legends=legends, time_kind=kind, name=FILE.name)


UTC, LOCAL = label_studio_options(), label_studio_options(utc_offset="+08:00")
TIME = template.read(made(), "p")
INDEX = template.read(made("index"), "p")
ORIGIN = Origin("patch", "tsad-x-patch:3", "abc")


def window(stamps: np.ndarray, kind: TimeKind = "time", channels: int = 1, values: np.ndarray | None = None) -> Window:
    stamps = np.asarray(stamps, np.int64)
    rows = np.random.default_rng(0).normal(size=(len(stamps), channels)) if values is None else values
    names = tuple(f"ch{c}" for c in range(rows.shape[1]))
    return Window(Series("P1", stamps, rows, names, kind), 0, len(stamps))


def minutes(count: int = 100) -> Window:
    return window(START + 60 * SECOND * np.arange(count))


@st.composite
def sampled(draw: st.DrawFn) -> tuple[Window, list[bool]]:
    """A window inside a longer series with gaps and jitter in ms (or an index with holes), and a mask over it."""
    count = draw(st.integers(1, 40))
    kind: TimeKind = draw(st.sampled_from(["time", "index"]))
    steps = draw(st.lists(st.sampled_from([1, 999, 1000, 1001, 60_000, 86_400_000]), min_size=count, max_size=count))
    places = np.cumsum(np.array(steps, np.int64))
    origin = draw(st.integers(-(10**12), 2 * 10**12))
    stamps = (places - places[0]) * SECOND if kind == "index" else (origin + places) * 1_000_000
    a = draw(st.integers(0, count - 1))
    b = draw(st.integers(a + 1, count))
    whole = window(stamps, kind).series
    return Window(whole, a, b), draw(st.lists(st.booleans(), min_size=b - a, max_size=b - a))


@settings(max_examples=300, deadline=None)
@given(sampled(), st.sampled_from(["+00:00", "+08:00", "-03:30", "+14:00", "-12:00"]))
def test_intervals_survive_the_way_to_regions_and_back(case: tuple[Window, list[bool]], offset: str) -> None:
    shown, mask = case
    form = INDEX if shown.series.time_kind == "index" else TIME
    truth = labelled_runs_to_intervals(shown, [(int(a), int(b), "spike") for a, b in runs_of(mask)])
    shift = convert.offset_ns(offset)
    regions = json.loads(json.dumps(convert.regions(shown, truth, form, shift)))
    assert convert.read_intervals(shown, regions, form, shift, "here") == truth
    for region in regions:
        assert "+" not in str(region["value"]["start"])


def test_a_note_goes_out_as_the_regions_text_and_is_no_part_of_an_answer() -> None:
    shown = minutes()
    noted = Interval(START + 600 * SECOND, START + 1200 * SECOND, "spike", 0.8, "level shift (71%)")
    weaker = Interval(START + 1200 * SECOND, START + 1260 * SECOND, "spike", 0.4, "drift (90%)")
    (region,) = convert.regions(shown, [noted, weaker], TIME, 0)  # touching ones of one label are one region
    assert region["meta"] == {"text": ["level shift (71%)"]} and region["score"] == 0.8
    (answer,) = convert.read_intervals(shown, [region], TIME, 0, "here")
    assert answer == Interval(noted.start, weaker.end, "spike")
    (plain,) = convert.regions(shown, [answer], TIME, 0)
    assert "meta" not in plain


def test_region_ends_are_inclusive_in_the_offset_people_see() -> None:
    shown = minutes()
    proposal = [Interval(START + 600 * SECOND, START + 1200 * SECOND, score=0.83214)]
    (region,) = convert.regions(shown, proposal, TIME, convert.offset_ns("+08:00"))
    assert region["value"] == {
        "start": "2026-01-01 08:10:00.000", "end": "2026-01-01 08:19:00.000", "instant": False,
        "timeserieslabels": ["Anomaly"],
    }
    assert region["score"] == 0.8321 and (region["from_name"], region["to_name"]) == ("label", "ts")


def answer(shown: Window, start: object, end: object, form: template.Template = TIME, **extra) -> tuple[Interval, ...]:
    value = {"start": start, "end": end, "instant": start == end, "timeserieslabels": ["Anomaly"]}
    region = {"from_name": "label", "to_name": "ts", "type": "timeserieslabels", "value": value, **extra}
    return convert.read_intervals(shown, [region], form, 0, "Annotation 5 of task 7")


def at(minute: float) -> int:
    return START + int(minute * 60) * SECOND


def test_people_draw_between_points_on_one_point_and_beyond_the_window() -> None:
    shown = minutes()
    assert answer(shown, "2026-01-01 00:10:00", "2026-01-01 00:12:00") == (Interval(at(10), at(13)),)
    assert answer(shown, "2026-01-01 00:09:00.001", "2026-01-01 00:12:59.999") == (Interval(at(10), at(13)),)
    assert answer(shown, "2026-01-01 00:10:00", "2026-01-01 00:10:00") == (Interval(at(10), at(11)),)
    assert answer(shown, "2026-01-01 00:10:40", "2026-01-01 00:10:50") == (Interval(at(11), at(12)),)
    assert answer(shown, "2026-01-01T01:30:00", "2026-01-02 00:00:00") == (Interval(at(90), at(100)),)
    indexed = window(SECOND * np.arange(50), "index")
    assert answer(indexed, 9.6, 12.2, INDEX) == (Interval(10 * SECOND, 13 * SECOND),)


def test_touching_and_overlapping_regions_of_one_kind_are_one_interval() -> None:
    shown = minutes()
    regions = convert.regions(shown, [Interval(at(1), at(5)), Interval(at(20), at(30))], TIME, 0)
    regions += convert.regions(shown, [Interval(at(5), at(8)), Interval(at(25), at(40))], TIME, 0)
    assert convert.read_intervals(shown, regions, TIME, 0, "x") == (Interval(at(1), at(8)), Interval(at(20), at(40)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"from_name": "kinds"}, "kinds.*the template has changed"),
        ({"type": "rectanglelabels"}, "rectanglelabels.*the template has changed"),
        ({"value": {"start": "2026-01-01 00:01:00", "end": "2026-01-01 00:02:00", "timeserieslabels": ["Run"]}}, "Run"),
        ({"value": {"start": "2025-01-01 00:01:00", "end": "2025-01-01 00:02:00"}}, "outside its window"),
        ({"value": {"start": 17.0, "end": 18.0}}, "cannot be read"),
        ({"value": {"start": "2026-01-01 00:01:00+00:00", "end": "2026-01-01 00:02:00+00:00"}}, "cannot be read"),
        ({"value": {}}, "cannot be read"),
        ({"value": {"start": "2026-01-01 00:12:00", "end": "2026-01-01 00:10:00"}}, "ends before it starts"),
        ({"value": {"start": "2026-01-01 00:12:00", "end": "2026-01-01 00:13:00",
                    "timeserieslabels": ["Anomaly", "spike"]}}, r"2 labels \(Anomaly, spike\)"),
    ],
)
def test_an_answer_that_does_not_fit_is_named(change: dict, said: str) -> None:
    with pytest.raises(ReviewError, match=f"Annotation 5 of task 7.*{said}"):
        answer(minutes(), "2026-01-01 00:10:00", "2026-01-01 00:12:00", **change)


def test_results_of_further_controls_are_left_alone() -> None:
    form = replace(TIME, others=frozenset({"comment"}))
    said = convert.read_intervals(
        minutes(), [{"from_name": "comment", "type": "textarea", "value": {"text": ["?"]}}], form, 0, "x"
    )
    assert said == ()


def chosen(shown: Window, proposal: tuple[Interval, ...] | None = (), **kwargs) -> Choice:
    proposals = () if proposal is None else (Proposal(proposal, ORIGIN),)
    return Choice(shown, 0.25, "mix", proposals=proposals, score=0.71, **kwargs)


def test_a_task_holds_what_people_see_and_its_prediction() -> None:
    shown = minutes()
    made = convert.task(chosen(shown, (Interval(at(10), at(20), score=0.9),)), TIME, LOCAL, "push-1")
    data = made["data"]
    assert data["window_id"] == shown.window_id and data["push"] == "push-1" and data["utc_offset"] == "+08:00"
    assert data["start"] == "2026-01-01 08:00:00" and data["end"] == "2026-01-01 09:39:00"
    assert data["title"].startswith("P1 \N{MIDDLE DOT} 2026-01-01 08:00 ")
    assert data["series"]["time"][:2] == ["2026-01-01 08:00:00.000", "2026-01-01 08:01:00.000"]
    assert list(data["series"]) == ["time", "c1"]
    (prediction,) = made["predictions"]
    assert prediction["model_version"] == "tsad-x-patch:3" and prediction["score"] == data["confidence"] == 0.9
    assert len(prediction["result"]) == 1
    json.dumps(made, allow_nan=False)


def test_gold_is_shown_without_any_opinion_and_an_empty_proposal_keeps_its_version() -> None:
    gold = convert.task(replace(chosen(minutes(), None), purpose=Purpose.GOLD), TIME, UTC, "g")
    assert gold["predictions"] == [] and gold["data"]["confidence"] is None and gold["data"]["model_version"] == ""
    empty = convert.task(chosen(minutes()), TIME, UTC, "g")
    assert empty["predictions"] == [{"model_version": "tsad-x-patch:3", "score": 0.71, "result": []}]


def test_missing_values_are_bridged_and_counted_and_the_answer_still_finds_their_points() -> None:
    values = np.arange(20.0).reshape(10, 2)
    values[0] = values[3] = values[4] = np.nan
    values[6, 0] = np.nan
    shown = window(START + 60 * SECOND * np.arange(10), values=values)
    form = template.read(made(legends=("1", "2")), "p")
    data = convert.task(chosen(shown), form, UTC, "x")["data"]
    assert data["series"]["c1"] == [2, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert data["series"]["c2"] == [3, 3, 5, 7, 9, 11, 13, 15, 17, 19]
    assert "35% missing (bridged by straight lines)" in data["title"]
    missing = (Interval(at(3), at(5)),)
    assert convert.read_intervals(shown, convert.regions(shown, missing, form, 0), form, 0, "x") == missing


def test_few_and_many_channels_fill_the_columns_of_the_project() -> None:
    form = template.read(made(legends=("1", "2", "3")), "p")
    assert form.channels == 3
    narrow = convert.task(chosen(minutes(5)), form, UTC, "x")["data"]
    assert narrow["series"]["c3"] == [0] * 5 and narrow["title"].endswith("1 = ch0, 2 = (empty), 3 = (empty)")
    values = np.random.default_rng(1).normal(size=(300, 38))
    values[250:260, [7, 30]] += 40
    values[:, 11] = np.nan
    series = window(START + 60 * SECOND * np.arange(300), values=values).series
    wide = Window(series, 200, 300)
    assert {7, 30} < set(view.channels_shown(wide, 3))
    data = convert.task(chosen(wide), form, UTC, "x")["data"]
    assert "35 more not drawn" in data["title"] and len(data["series"]) == 4


def test_an_index_goes_out_as_the_index_again() -> None:
    shown = window(SECOND * np.array([5, 6, 7, 20]), "index")
    data = convert.task(chosen(shown), INDEX, LOCAL, "x")["data"]
    assert data["series"]["time"] == [5, 6, 7, 20] and data["start"] == "5"
    assert "P1 \N{MIDDLE DOT} 5 \N{EN DASH} 20 (index)" in data["title"]
    assert 'timeFormat' not in made("index")


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ReviewError, match="finer than the millisecond"):
        convert.task(chosen(window(START + 100 * np.arange(5))), TIME, UTC, "x")
    with pytest.raises(ReviewError, match="two loops"):
        convert.task(chosen(window(SECOND * np.arange(5), "index")), TIME, UTC, "x")
    with pytest.raises(ReviewError, match="holds no value"):
        convert.task(chosen(window(SECOND * np.arange(5), values=np.full((5, 1), np.nan))), TIME, UTC, "x")
    for wrong in ("Asia/Shanghai", "8", "+8:00", "+15:00", "+01:75"):
        with pytest.raises(ConfigError, match=r"review\.utc_offset"):
            convert.offset_ns(wrong)


def test_annotations_are_read_with_who_and_when_in_the_offset_of_their_task() -> None:
    shown = minutes()
    result = convert.regions(shown, [Interval(at(10), at(20))], TIME, convert.offset_ns("-03:30"))
    found = {
        "id": 7, "data": {"utc_offset": "-03:30"},
        "annotations": [
            {"id": 1, "completed_by": 4, "was_cancelled": True, "result": [], "created_at": "2026-01-02T00:00:00Z"},
            {"id": 2, "completed_by": {"id": 5, "email": "a@b.co"}, "result": result,
             "updated_at": "2026-01-02T00:00:01.5Z"},
        ],
    }
    skipped, judged = convert.read_annotations(found, chosen(shown), TIME).annotations
    assert skipped.skipped and skipped.annotator == "4" and skipped.intervals == ()
    assert judged.annotator == "5" and judged.intervals == (Interval(at(10), at(20)),)
    assert judged.submitted_at - skipped.submitted_at == 1_500_000_000
    assert "a@b.co" not in repr(judged)


def test_a_filled_template_is_read_back_and_grows_by_kinds() -> None:
    config = made(legends=("a", "b"), kinds=("spike", "level shift"))
    form = template.read(config, "p")
    assert form.labels == ("Anomaly", "level shift", "spike") and form.channels == 2 and form.time_kind == "time"
    grown = template.read(template.with_labels(config, {"spike", "flat"}, "p"), "p")
    assert grown.labels == ("Anomaly", "level shift", "spike", "flat")
    extra = config.replace("</View>", '<Choices name="sure" toName="ts"><Choice value="no" /></Choices></View>')
    assert template.read(extra, "p").others == {"sure", "aside"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('value="$series"', 'value="$csv"', "no TimeSeries"),
        ('toName="ts"', 'toName="other"', "no TimeSeriesLabels"),
        ('timeColumn="time"', 'timeColumn="date"', "timeColumn is date"),
        (".%L", "", "timeFormat is"),
        ('column="c1"', 'column="speed"', "channels are"),
        ("</View>", "", "not well-formed"),
    ],
)
def test_a_template_changed_by_hand_is_named_with_the_remedy(old: str, new: str, said: str) -> None:
    with pytest.raises(ReviewError, match=rf"The template of project demo .*{said}.*Labeling Interface"):
        template.read(made().replace(old, new), "demo")


def test_snapped_intervals_equal_the_masks_they_came_from() -> None:
    shown = minutes(20)
    mask = np.zeros(20, bool)
    mask[[3, 4, 5, 19]] = True
    truth = mask_to_intervals(mask, shown.timestamps)
    assert convert.read_intervals(shown, convert.regions(shown, truth, TIME, 0), TIME, 0, "x") == truth


EVIL = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize("name", [EVIL, "a<b", "R&D", "R&amp;D", "&lt;b&gt;", "plain", "<script>x</script>&quot;"])
def test_no_name_is_markup_in_a_task_and_every_name_comes_back(name: str) -> None:
    assert of_markup_free(markup_free(name)) == name and "<" not in markup_free(name)
    series = Series(name, np.arange(10) * 60 * 10**9, np.zeros((10, 2)), channels=(EVIL, "b"))
    choice = chosen(Window(series, 0, 10), (Interval(0, 60 * 10**9, "spike", 0.5, note=EVIL),))
    two = template.read(made(legends=("1", "2")), "p")
    said = convert.task(choice, two, UTC, "p")
    assert "<" not in json.dumps(said)
    assert of_markup_free(said["data"]["point_id"]) == name


def test_language_models_propose_in_colours_of_their_own() -> None:
    def colour(detector: str, text: str) -> str:
        look = template.Look(detector=detector)
        config = template.fill(text, kinds=(), legends=["value"], time_kind="time", name="t", look=look)
        return config.partition('value="Anomaly"')[2].partition('background="')[2][:7]

    ours = FILE.read_text()
    colours = [colour(name, ours) for name in ("patch", "chatts", "qwen_vl")]
    assert len(set(colours)) == 3 and colours[0] == template.COLOURS[0]
    assert colour("chatts", ours.replace(template.COLOURS[0], "#123456")) == "#123456", "the user's own stays"
