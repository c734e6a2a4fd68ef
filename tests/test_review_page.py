"""What a task shows beside the champion's intervals (context, gaps, other detectors), and that none is an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from review_kit import label_studio_options

from tsad.core.errors import ConfigError
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import Origin, Proposal
from tsad.files.locate import shipped
from tsad.review.label_studio import convert, template
from tsad.review.label_studio.kinds import read_kinds
from tsad.review.label_studio.layers import Layer, layers_of
from tsad.review.label_studio.view import MOST_GAPS, view_of
from tsad.review.positions import labelled_runs_to_intervals

SECOND = 1_000_000_000
START = 1_767_225_600 * SECOND  # 2026-01-01 00:00:00 UTC
FOLDER = shipped("label_studio")
KINDS = read_kinds(FOLDER / "kinds.yaml")
OPTIONS = label_studio_options(utc_offset="+08:00")
CHAMPION, OTHER, BEFORE = Origin("patch", "tsad-x-patch:3"), Origin("chatts", "chatts:base"), Origin("patch", "x:2")


def filled(legends: tuple[str, ...] = ("value",), **look: object) -> str:
    text = (FOLDER / "timeseries.xml").read_text()
    wanted = template.Look(**{"kinds": KINDS, "layers": ("chatts base", "patch 2"), **look})  # type: ignore[arg-type]
    return template.fill(text, kinds=(), legends=legends, time_kind="time", name="timeseries.xml", look=wanted)


FORM = template.read(filled(), "p")
OLD = template.read(  # as tsad made it before there was anything aside
    '<View><Header value="$title"/>'
    '<TimeSeriesLabels name="label" toName="ts"><Label value="Anomaly"/></TimeSeriesLabels>'
    '<TimeSeries name="ts" value="$series" valueType="json" timeColumn="time" timeFormat="%Y-%m-%d %H:%M:%S.%L">'
    '<Channel column="c1" legend="value"/></TimeSeries></View>', "old",
)  # fmt: skip


def series(length: int = 1000, channels: int = 1) -> Series:
    values = np.sin(np.arange(length)[:, None] / 20 + np.arange(channels)) + np.arange(channels)
    names = tuple(f"ch{c}" for c in range(channels))
    return Series("P1", START + 60 * SECOND * np.arange(length, dtype=np.int64), values, names)


def choice(window: Window, *proposals: tuple[Origin, tuple[tuple[int, int, float], ...]], **changes: object) -> Choice:
    made = [
        Proposal(tuple(replace(i, score=s) for (a, b, s) in own
                       for i in labelled_runs_to_intervals(window, [(a, b, "Anomaly")])), origin)
        for origin, own in proposals
    ]  # fmt: skip
    return replace(Choice(window, 0.5, "mix", proposals=tuple(made), score=0.3), **changes)  # type: ignore[arg-type]


def regions(task: dict, control: str) -> list[tuple[str, str, str]]:
    return [
        (r["value"]["timeserieslabels"][0], r["value"]["start"][11:16], r["value"]["end"][11:16])
        for r in task["predictions"][0]["result"] if r["from_name"] == control
    ]  # fmt: skip


def test_a_window_is_drawn_with_its_surroundings_which_are_locked() -> None:
    window = Window(series(), 100, 200)
    made = convert.task(choice(window, (CHAMPION, ((10, 20, 0.9),))), FORM, OPTIONS, "p")
    assert len(made["data"]["series"]["time"]) == 300
    assert made["data"]["start"] == "2026-01-01 09:40:00"  # the window's own, and 08:00 is the first that is drawn
    assert regions(made, "label") == [("Anomaly", "09:50", "09:59")]
    assert regions(made, "aside") == [("Context", "08:00", "09:39"), ("Context", "11:20", "12:59")]
    locked = [r for r in made["predictions"][0]["result"] if r["from_name"] == "aside"]
    assert all(r["readonly"] is True for r in locked) and len({r["id"] for r in made["predictions"][0]["result"]}) == 3
    json.dumps(made, allow_nan=False)
    at_the_edge = convert.task(choice(Window(series(), 0, 100), (CHAMPION, ())), FORM, OPTIONS, "p")
    assert regions(at_the_edge, "aside") == [("Context", "09:40", "11:19")]
    alone = convert.task(choice(window, (CHAMPION, ())), FORM, label_studio_options(context=0.0), "p")
    assert regions(alone, "aside") == [] and len(alone["data"]["series"]["time"]) == 100


def test_gold_windows_show_their_surroundings_and_nobody_s_opinion() -> None:
    blind = choice(Window(series(), 100, 200), purpose=Purpose.GOLD)
    made = convert.task(blind, FORM, OPTIONS, "p", "tsad-x-patch:3")
    assert regions(made, "label") == [] and [r[0] for r in regions(made, "aside")] == ["Context", "Context"]
    assert made["predictions"][0]["model_version"] == "tsad-x-patch:3" and "score" not in made["predictions"][0]
    assert made["data"]["model_version"] == "" and made["data"]["confidence"] is None


def test_a_project_of_an_older_tsad_shows_windows_alone_as_before() -> None:
    window = Window(series(), 100, 200)
    made = convert.task(choice(window, (CHAMPION, ((10, 20, 0.9),)), (OTHER, ((40, 50, 0.8),))), OLD, OPTIONS, "p")
    assert [r["from_name"] for r in made["predictions"][0]["result"]] == ["label"]
    assert len(made["data"]["series"]["time"]) == 100 and list(made["data"]["series"]) == ["time", "c1"]
    assert convert.task(choice(window, purpose=Purpose.GOLD), OLD, OPTIONS, "p")["predictions"] == []


def test_gaps_are_marked_where_the_editor_draws_a_straight_line() -> None:
    whole = series(channels=2)
    whole.values[120:130] = np.nan
    whole.values[150:160, 1] = np.nan
    keep = np.r_[0:180, 190:1000]
    torn = replace(whole, timestamps=whole.timestamps[keep], values=whole.values[keep])
    form = template.read(filled(("1", "2")), "p")
    made = convert.task(choice(Window(torn, 100, 200), (CHAMPION, ())), form, OPTIONS, "p")
    marked = [r for r in made["predictions"][0]["result"] if r["value"]["timeserieslabels"] == ["No data"]]
    assert [(r["value"]["start"][11:16], r["value"]["end"][11:16]) for r in marked] == [
        ("09:59", "10:10"), ("10:29", "10:40"), ("10:59", "11:10"),
    ]  # fmt: skip
    assert [r.get("meta", {}).get("text") for r in marked] == [None, ["ch1"], None]
    drawn = np.array(made["data"]["series"]["c1"])
    assert np.isfinite(drawn).all() and np.allclose(np.diff(drawn[119:131]), np.diff(drawn[119:131])[0])


def test_of_very_many_gaps_the_longest_are_marked() -> None:
    whole = series(2000)
    whole.values[::7] = np.nan
    whole.values[500:540] = np.nan
    view = view_of(Window(whole, 0, 2000), 1)
    assert len(view.gaps) == MOST_GAPS and any(g.before == 498 or g.before == 499 for g in view.gaps)


@pytest.mark.parametrize("channels", [1, 6])
def test_long_windows_are_thinned_out_and_every_edge_comes_back_exactly(channels: int) -> None:
    whole = series(300_000, channels)
    whole.values[:] += np.random.default_rng(0).normal(scale=0.1, size=whole.values.shape)
    whole.values[150_123, 0] += 50.0
    window = Window(whole, 100_000, 200_000)
    form = template.read(filled(tuple(f"ch{c}" for c in range(channels))), "p")
    runs = [(17, 18, 0.9), (5_003, 5_004, 0.9), (49_999, 61_234, 0.9), (99_990, 100_000, 0.9)]
    asked = choice(window, (CHAMPION, tuple(runs)), (OTHER, ((70_001, 70_007, 0.4),)))
    made = convert.task(asked, form, OPTIONS, "p")
    shown = made["data"]["series"]["time"]
    assert 6_000 < len(shown) <= 10_000 + 20 and shown == sorted(set(shown))
    assert max(made["data"]["series"]["c1"]) > 40  # M4 keeps what sticks out
    said = convert.read_intervals(window, made["predictions"][0]["result"], form, convert.offset_ns("+08:00"), "x")
    assert said == tuple(replace(i, score=1.0) for i in asked.proposal or ())
    edges = {r["value"][k] for r in made["predictions"][0]["result"] for k in ("start", "end")}
    assert edges <= set(shown)  # people find a point at every edge
    first, last = ends_of(window)
    assert {first, last} <= set(shown)
    assert sum(first <= t <= last for t in shown) >= 2_800  # the window has about half of the points


def ends_of(window: Window) -> list[str]:
    times = convert.shown_all(convert.axis(window, convert.offset_ns("+08:00")), "time")
    return [str(times[0]), str(times[-1])]


def test_what_others_propose_is_shown_once_and_is_no_answer() -> None:
    window = Window(series(), 100, 200)
    asked = choice(
        window, (CHAMPION, ((10, 20, 0.5), (60, 61, 0.83))), (OTHER, ((10, 20, 0.7), (30, 40, 0.6))),
        (BEFORE, ((10, 20, 0.2), (30, 40, 0.1), (80, 90, 0.4))),
    )  # fmt: skip
    made = convert.task(asked, FORM, OPTIONS, "p")
    assert regions(made, "aside")[2:] == [("chatts base", "10:10", "10:19"), ("patch 2", "11:00", "11:09")]
    notes = [r["meta"]["text"][0] for r in made["predictions"][0]["result"] if "meta" in r]
    assert notes == ["= chatts base 0.70; = patch 2 0.20", "chatts:base; = patch 2 0.10", "x:2"]
    assert made["data"]["confidence"] == made["predictions"][0]["score"] == 0.83  # the surest of the champion's
    result = made["predictions"][0]["result"]
    for answer, expected in (
        (result, asked.proposal),  # accepted as it stands, with all that is locked
        ([r for r in result if r["from_name"] == "aside"], ()),  # the champion's deleted
        (result[1:], asked.proposal[1:] if asked.proposal else ()),  # one of them deleted
    ):
        said = convert.read_intervals(window, answer, FORM, convert.offset_ns("+08:00"), "x")
        assert said == tuple(replace(i, score=1.0) for i in expected or ())


def test_answers_of_people_are_layers_too() -> None:
    window = Window(series(), 100, 200)
    view = view_of(window, 1)
    layers = [Layer("person 4", labelled_runs_to_intervals(window, [(10, 20, "spike")]), "2026-01-02"), Layer("5", ())]
    (region,) = convert.aside_regions(view, layers, FORM, 0)
    assert region["from_name"] == "aside" and region["value"]["timeserieslabels"] == ["person 4"]
    assert region["meta"] == {"text": ["spike; 2026-01-02"]} and region["readonly"]
    assert convert.aside_regions(view, layers, OLD, 0) == []


def test_a_kind_named_by_one_detector_alone_is_told_at_the_shared_region() -> None:
    window = Window(series(), 100, 200)
    asked = choice(window, (CHAMPION, ((10, 20, 0.5),)), (OTHER, ((10, 20, 0.7),)))
    named = replace(asked.proposals[1], intervals=tuple(replace(i, label="dip") for i in asked.proposals[1].intervals))
    made = convert.task(replace(asked, proposals=(asked.proposals[0], named)), FORM, OPTIONS, "p")
    assert made["predictions"][0]["result"][0]["meta"]["text"] == ["= chatts base 0.70 dip"]
    assert [layer.intervals for layer in layers_of(replace(asked, proposals=(asked.proposals[0], named)))] == [()]


# --- kinds and languages -----------------------------------------------------------------------------------


def test_the_kinds_file_makes_the_labels_in_either_language() -> None:
    assert FORM.labels == tuple(k.name for k in KINDS) and FORM.labels[0] == "Anomaly" and len(FORM.labels) == 10
    assert FORM.layers == ("Context", "No data", "chatts base", "patch 2") and FORM.aside == "aside"
    chinese = filled(language="zh")
    assert template.read(chinese, "p") == FORM  # answers are called the same in every language
    assert 'value="尖峰"' in chinese and 'alias="spike"' in chinese and 'value="上下文"' in chinese
    more = template.with_labels(chinese, {"spike", "shape edit"}, "p", ("chatts base", "qwen_vl 4"))
    grown = template.read(more, "p")
    assert grown.labels == (*FORM.labels, "shape edit") and grown.layers == (*FORM.layers, "qwen_vl 4")
    assert template.DETECTOR_COLOURS["qwen_vl"] in template.with_labels(chinese, (), "p", ("qwen_vl 4",))


def test_a_template_s_own_labels_stay_as_they_were_written() -> None:
    text = (FOLDER / "timeseries.xml").read_text().replace(
        '<Label value="Anomaly" background="#d62728"/>',
        '<Label value="Störung" alias="Anomaly" background="#123456" hotkey="s"/>',
    )  # fmt: skip
    config = template.fill(text, kinds=(), legends=["v"], time_kind="time", name="t", look=template.Look(KINDS))
    assert '<Label value="Störung" alias="Anomaly" background="#123456" hotkey="s" />' in config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "cannot be read"),
        ("", "no list of kinds"),
        ("spike: 1", "no list of kinds"),
        ("- spike", "is no kind"),
        ("- {colour: '#123456'}", "is no kind"),
        ("- {name: a, colour: '#123456', key: b}", "is no kind"),
        ("- {name: a}", "colour ''"),
        ("- {name: a, colour: red}", "colour 'red'"),
        ("- {name: a, colour: '#123456'}\n- {name: a, colour: '#123456'}", "name a twice"),
        ("- {name: a, colour: '#123456', hotkey: 1}\n- {name: b, colour: '#123456', hotkey: 1}", "hotkey 1 twice"),
    ],
)
def test_a_kinds_file_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "kinds.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"review\.kinds=.*{said}"):
        read_kinds(path)


def test_anomaly_comes_first_whatever_a_kinds_file_says(tmp_path: Path) -> None:
    path = tmp_path / "kinds.yaml"
    path.write_text("- {name: leak, colour: '#123456'}\n- {name: Anomaly, colour: '#654321', zh: 异常}\n")
    assert [k.name for k in read_kinds(path)] == ["Anomaly", "leak"]
    path.write_text("- {name: leak, colour: '#123456'}\n")
    assert [k.name for k in read_kinds(path)] == ["Anomaly", "leak"]
