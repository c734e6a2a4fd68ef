"""What a task shows beside the champion's intervals (context, gaps, other detectors), and that none is an answer."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from review_kit import label_studio_options

from tsad.core.context import Context
from tsad.core.errors import ConfigError, ReviewError
from tsad.core.reviews import Annotation, Choice, DatasetVersion, Purpose, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Origin, Proposal
from tsad.files.locate import shipped
from tsad.loop import pull
from tsad.review.label_studio import convert, fitting, template
from tsad.review.label_studio.exports import read_export, to_label_studio
from tsad.review.label_studio.kinds import read_kinds
from tsad.review.label_studio.layers import Layer, layers_of
from tsad.review.label_studio.scale import common_ranges, extents
from tsad.review.label_studio.view import MOST_GAPS, view_of
from tsad.review.positions import labelled_runs_to_intervals
from tsad.steps.export import _write_csv
from tsad.training.records import window_of, window_record

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


def test_a_member_of_a_committee_that_agrees_is_named_by_the_votes_alone() -> None:
    asked = choice(Window(series(), 100, 200), (CHAMPION, ((10, 20, 0.5),)), (OTHER, ((10, 20, 0.7), (40, 50, 0.2))))
    (voted,) = (replace(i, note="patch 50%, chatts 70%") for i in asked.proposals[0].intervals)
    own = replace(asked.proposals[0], intervals=(voted,))
    member = replace(asked.proposals[1], origin=replace(own.origin, detector="chatts"))
    made = convert.task(replace(asked, proposals=(own, member)), FORM, OPTIONS, "p")
    assert made["predictions"][0]["result"][0]["meta"]["text"] == ["patch 50%, chatts 70%"]
    (layer,) = layers_of(replace(asked, proposals=(own, member)))
    assert len(layer.intervals) == 1, "what it says beside is drawn all the same"


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


# --- what comes back ------------------------------------------------------------------------------------------


ASKED = template.read(filled(verdict=True), "p")


def region(start: str, end: str, *labels: str, control: str = "label", **value: object) -> dict:
    times = {"start": f"2026-01-01 {start}:00", "end": f"2026-01-01 {end}:00"}
    return {
        "from_name": control, "to_name": "ts", "type": "timeserieslabels",
        "value": {**times, "timeserieslabels": list(labels or ("Anomaly",)), **value},
    }  # fmt: skip


def chosen(control: str, **value: object) -> dict:
    kind = "choices" if "choices" in value else "textarea"
    return {"from_name": control, "to_name": "ts", "type": kind, "value": value}


def read(*answers: tuple[int, str, list[dict]], asked: Choice | None = None, form: template.Template = ASKED) -> object:
    found = {
        "id": 7, "data": {"utc_offset": "+08:00"},
        "annotations": [
            {"id": k, "completed_by": who, "result": result, "updated_at": f"2026-02-01T0{k}:00:00Z", "lead_time": 3.5}
            for k, (who, _, result) in enumerate(answers, 1)
        ],
    }  # fmt: skip
    return convert.read_annotations(found, asked or WAITING, form)


WAITING = choice(Window(series(), 100, 200), (CHAMPION, ((10, 20, 0.9),)))
PROPOSED = region("09:50", "09:59")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([region("09:50", "09:59", "Run")], "label Run"),
        ([region("09:59", "09:50")], "ends before it starts"),
        ([region("01:00", "02:00")], "outside its window .* where only the context is shown"),
        ([region("08:10", "08:20")], "outside its window .* where only the context is shown"),
        ([region("09:50", "09:59", "spike", "dip")], r"2 labels \(spike, dip\)"),
        ([region("09:50", "09:59", control="boxes")], "control boxes"),
        ([region("noon", "09:59")], "cannot be read"),
        ([PROPOSED, chosen("verdict", choices=["corrected"])], "'corrected', but its intervals are those proposed"),
        ([chosen("verdict", choices=["as proposed"])], "'as proposed', but its intervals are not those proposed"),
    ],
)
def test_an_answer_that_cannot_be_read_stops_nobody_else_s(result: list[dict], said: str) -> None:
    own = read((4, "", result), (5, "", [PROPOSED]))
    assert [a.annotator for a in own.annotations] == ["5"] and own.annotations[0].intervals
    (problem,) = own.problems
    assert problem.startswith("Annotation 1 of task 7 (P1) ") and problem.count(". ") == 1
    assert re.search(said, problem), problem


def test_who_answers_again_has_no_problem_any_more_and_who_spoils_an_answer_has_one() -> None:
    broken = [region("09:59", "09:50")]
    assert read((4, "", broken), (4, "", [PROPOSED])).problems == ()
    spoiled = read((4, "", [PROPOSED]), (4, "", broken))
    assert len(spoiled.problems) == 1 and len(spoiled.annotations) == 1


def test_a_region_that_reaches_into_the_context_is_clipped_and_an_instant_one_is_a_point() -> None:
    own = read((4, "", [region("08:30", "09:44"), region("11:10", "12:30"), region("10:00", "10:00", instant=True)]))
    window = WAITING.window
    assert own.annotations[0].intervals == labelled_runs_to_intervals(
        window, [(0, 5, "Anomaly"), (20, 21, "Anomaly"), (90, 100, "Anomaly")]
    )


def test_a_pull_tells_of_each_answer_that_cannot_be_read_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = replace(ReviewedWindow(WAITING, (), ReviewState.PENDING), problem="Annotation 1 of task 7 (P1) ...")
    looks = iter([[broken], [broken], [ReviewedWindow(WAITING, (), ReviewState.ACCEPTED)]])
    reviewer = SimpleNamespace(pull=lambda choices: next(looks), settle=lambda reviewed: None)
    bench = SimpleNamespace(
        context=Context(), make_reviewer=lambda: reviewer,
        review=SimpleNamespace(min_reviewed=0, wait=True, poll_seconds=0.01),
    )  # fmt: skip
    monkeypatch.setattr(pull, "record_of", lambda *_: None)
    monkeypatch.setattr(pull, "queue_with_reading", lambda *_: ([WAITING], None))
    with caplog.at_level(logging.WARNING, "tsad"):
        answers = pull._answers(SimpleNamespace(bench=bench, iteration=None))  # type: ignore[arg-type]
    assert answers is not None and caplog.messages == ["Annotation 1 of task 7 (P1) ..."]


def test_verdict_and_reason_come_back_and_cannot_tell_is_a_skip() -> None:
    why = chosen("reason", text=["the pump was off", " "])
    (agreed,) = read((4, "", [PROPOSED, chosen("verdict", choices=["as proposed"]), why])).annotations
    assert (agreed.verdict, agreed.note, agreed.skipped) == ("as proposed", "the pump was off", False)
    (corrected,) = read((4, "", [chosen("verdict", choices=["corrected"])])).annotations
    assert corrected.verdict == "corrected" and corrected.intervals == ()
    (unsure,) = read((4, "", [PROPOSED, chosen("verdict", choices=["cannot tell"]), why])).annotations
    assert unsure.skipped and unsure.intervals == () and unsure.note == "the pump was off"
    blind = replace(WAITING, proposals=(), purpose=Purpose.GOLD)
    (judged,) = read((4, "", [PROPOSED, chosen("verdict", choices=["corrected"])]), asked=blind).annotations
    assert judged.intervals  # nothing was proposed that it could contradict
    unasked = read((4, "", [PROPOSED, chosen("verdict", choices=["corrected"])]), form=FORM)
    assert unasked.problems and "control verdict" in unasked.problems[0]


def test_verdict_and_reason_are_asked_for_where_they_are_wanted() -> None:
    assert (FORM.verdict, FORM.reason) == ("", "") and "Choices" not in filled()
    assert (ASKED.verdict, ASKED.reason) == ("verdict", "reason")
    chinese = filled(verdict=True, language="zh")
    assert 'value="无法判断" alias="cannot tell"' in chinese and 'placeholder="原因（可不填）"' in chinese
    bare = (FOLDER / "timeseries.xml").read_text().replace('name="verdict"', 'name="mood"')
    with pytest.raises(ReviewError, match=r'no Choices with name="verdict".*review\.verdict=false'):
        look = template.Look(KINDS, verdict=True)
        template.fill(bare, kinds=(), legends=["v"], time_kind="time", name="t", look=look)


def test_an_answer_s_verdict_and_reason_are_kept_with_it() -> None:
    told = Annotation("4", (), verdict="corrected", note="the pump was off", seconds=3.5, batch="accept above 0.9")
    plain = Annotation("5", ())
    kept = window_record(ReviewedWindow(WAITING, (told, plain), ReviewState.CORRECTED), 0)
    again = window_of(json.loads(json.dumps(kept)), [WAITING.window.series], Purpose.TRAIN)
    assert again.annotations == (told, plain) and "verdict" not in kept["annotations"][1]


# --- exports ---------------------------------------------------------------------------------------------------


def test_an_export_holds_every_point_and_nothing_that_was_only_shown(tmp_path: Path) -> None:
    window = Window(series(30_000), 2_000, 27_000)
    truth = labelled_runs_to_intervals(window, [(1_234, 1_236, "dip")])
    reviewed = ReviewedWindow(choice(window, (CHAMPION, ())), (), ReviewState.CORRECTED, truth)
    (task,) = to_label_studio([reviewed], OPTIONS)
    assert len(task["data"]["series"]["time"]) == 25_000
    asked = choice(Window(series(), 100, 200), (OTHER, ()), (CHAMPION, ((5, 9, 0.4),)))
    shown = convert.task(asked, FORM, OPTIONS, "p")
    own = {"annotations": [{"result": shown["predictions"][0]["result"]}], "data": shown["data"]}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task, {**own, "data": {**own["data"], "point_id": "P2"}}]))
    assert read_export(path) == {"P1": truth, "P2": ()}


def test_an_event_that_the_border_of_two_windows_cuts_is_one(tmp_path: Path) -> None:
    whole = series(300)
    left, right = (Window(whole, a, a + 100) for a in (100, 200))
    cut = [
        ReviewedWindow(choice(w, (CHAMPION, ())), (), ReviewState.CORRECTED, labelled_runs_to_intervals(w, runs))
        for w, runs in ((left, [(90, 100, "drift"), (20, 30, "dip")]), (right, [(0, 15, "drift"), (15, 20, "dip")]))
    ]
    rows = _write_csv(DatasetVersion("d", tuple(cut), Purpose.TRAIN), tmp_path / "x.csv")
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert rows == 3 == len(lines) - 1
    assert "P1,2026-01-01T03:10:00Z,2026-01-01T03:35:00Z,drift" in lines
    path = tmp_path / "x.json"
    path.write_text(json.dumps(to_label_studio(cut, OPTIONS)))
    assert [(i.label, i.end - i.start) for i in read_export(path)["P1"]] == [
        ("dip", 600 * SECOND), ("drift", 1500 * SECOND), ("dip", 300 * SECOND),
    ]  # fmt: skip


# --- channels and ranges -----------------------------------------------------------------------------------------


def scaled(name: str, low: float, high: float) -> Choice:
    values = low + (high - low) * (0.5 + 0.5 * np.sin(np.arange(400) / 9))
    made = Series(name, START + 60 * SECOND * np.arange(400, dtype=np.int64), values[:, None])
    return choice(Window(made, 100, 200), (CHAMPION, ()))


def test_series_of_one_scale_share_the_range_that_is_drawn() -> None:
    (common,) = common_ranges([scaled("a", 0, 10), scaled("b", 4, 12)], 1)
    assert common is not None and -0.5 < common[0] < 0 and 12 < common[1] < 12.5
    assert common_ranges([scaled("a", 0, 1), scaled("b", 400, 1200)], 1) == (None,)  # each finds its own
    assert common_ranges([scaled("a", 5, 5)], 1) == (None,)
    glitch = scaled("a", 0, 10)
    glitch.window.series.values[250] = 1e6
    assert common_ranges([glitch], 1) == (None,)  # everything else would be a flat line
    empty = scaled("a", 0, 10)
    empty.window.series.values[:] = np.nan
    assert common_ranges([empty], 1) == (None,) == extents([empty], 1)


def test_a_project_has_the_range_of_its_series_and_is_widened_for_later_ones() -> None:
    path, first = FOLDER / "timeseries.xml", [scaled("a", 0, 10), scaled("b", 4, 12)]
    config = fitting.filled(path, KINDS, first, OPTIONS)
    assert 'dataRange="-0.2' in config and 'legend="value"' in config
    assert fitting.fitted(config, first, "p") == config  # to the letter: nothing to change
    wider = fitting.fitted(config, [scaled("c", 3, 30)], "p")
    assert 'dataRange="-0.2' in wider and ',29.99' in wider
    assert fitting.fitted(wider, first, "p") == wider
    free = config.replace(config[config.index(" dataRange"):config.index('"', config.index("dataRange=") + 11) + 1], "")
    assert "dataRange" not in free and fitting.fitted(free, [scaled("c", 3, 30)], "p") == free


def test_plots_have_the_names_of_their_channels_where_all_series_share_them() -> None:
    path = FOLDER / "timeseries.xml"
    six = choice(Window(series(400, 6), 100, 200), (CHAMPION, ()))
    config = fitting.filled(path, KINDS, [six], OPTIONS)
    assert all(f'legend="ch{c}"' in config for c in range(6)) and 'height="90"' in config
    assert 'legend="1"' in fitting.filled(path, KINDS, [six, scaled("a", 0, 1)], OPTIONS)
    evil = Series("<b>P</b>", six.window.series.timestamps, six.window.series.values, ("<i>x</i>", *"abcde"))
    marked = fitting.filled(path, KINDS, [choice(Window(evil, 0, 100), (CHAMPION, ()))], OPTIONS)
    assert 'legend="&lt;i&gt;x&lt;/i&gt;"' in marked


def test_of_too_many_channels_those_that_deviate_most_come_first() -> None:
    many = series(400, 9)
    many.values[150:160, 7] += 30
    many.values[150:160, 2] += 90
    assert view_of(Window(many, 100, 200), 3).channels[:2] == (2, 7)
    assert view_of(Window(many, 100, 200), 9).channels == tuple(range(9))


def test_a_day_that_the_clocks_change_has_every_minute_once() -> None:
    """2026-03-29 and 2026-10-25 in Europe: in a fixed offset no time is skipped and none comes twice."""
    for day in ("2026-03-28T22:00", "2026-10-24T22:00"):
        start = int(np.datetime64(day, "ns").astype(np.int64))
        values = np.random.default_rng(0).random((600, 1))
        whole = Series("P", start + 60 * SECOND * np.arange(600, dtype=np.int64), values)
        window = Window(whole, 100, 500)
        asked = choice(window, (CHAMPION, ((30, 90, 0.5), (101, 102, 0.5))))
        made = convert.task(asked, FORM, label_studio_options(utc_offset="+01:00"), "p")
        assert len(set(made["data"]["series"]["time"])) == 600
        said = convert.read_intervals(window, made["predictions"][0]["result"], FORM, convert.offset_ns("+01:00"), "x")
        assert [(i.start, i.end) for i in said] == [(i.start, i.end) for i in asked.proposal or ()]
