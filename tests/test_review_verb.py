"""``tsad review``: how reviews stand, in the terminal, as JSON and as a page; batch actions, audited and recorded."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from test_review_label_studio import FakeServer
from test_review_people import answer
from verbs_kit import call

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError, EmbeddingError, LoopError, ReviewError
from tsad.core.reviews import Purpose, ReviewState
from tsad.core.windows import without_overlap
from tsad.detectors.base import Detector
from tsad.loop.datasets import fetch
from tsad.loop.detect import DETECT
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.queue import queue_of
from tsad.loop.review_batch import REVIEW
from tsad.loop.reviewing import ReviewStanding
from tsad.loop.runner import record_of
from tsad.review.batch import audited
from tsad.review.label_studio.reviewer import LabelStudioReviewer
from tsad.tracking.artifacts import list_artifacts, read_text

Make = Callable[..., Workbench]
SMALL = (
    "experiment=demo", "detector=robust_zscore", "source.series=8", "source.points=1200", "windows.length=200",
    "sampling.windows=28", "loop.iterations=3", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100",
    "threshold.default=0.99", "loop.name=people",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("stocked")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """Label Studio, for every reviewer that a loop makes."""
    server = FakeServer()
    monkeypatch.setattr(
        LabelStudioReviewer, "of_loop",
        classmethod(
            lambda cls, options, loop, home: cls(options, url="http://x", token="t", loop=loop, client=server)
        ),
    )  # fmt: skip
    return server


@pytest.fixture
def waiting(bench: Make, fake: FakeServer) -> Workbench:
    """A loop whose first iteration waits for people."""
    one = bench(*SMALL, "review=label_studio")
    assert iterate(one).waiting is not None
    return one


def shown_by(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def proposing(fake: FakeServer) -> list[dict[str, Any]]:
    """Tasks that show a proposal, the surest first."""
    rows = [r for r in fake.rows if any(x["from_name"] == "label" for x in r["predictions"][0]["result"])]
    return sorted(rows, key=lambda r: -r["data"]["confidence"])


def test_how_reviews_stand(
    waiting: Workbench, fake: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    first, second, third = proposing(fake)[:3]
    said = ((first, 1, True), (first, 2, True), (second, 1, True), (second, 2, False), (third, 1, False))
    for row, who, drawn in said:
        answer(row, who, drawn)
        row["annotations"][-1]["lead_time"] = 30 * who
    standing: ReviewStanding = call("review", waiting, page=True)
    text = shown_by(capsys)
    assert standing.progress is not None and standing.progress.conflicts == 1
    assert "1 conflict" in text and "minutes per window" in text and "agreement on windows" in text
    assert {w.state for w in standing.windows} == {"PENDING", "ACCEPTED", "CONFLICT", "CORRECTED"}
    assert sum(row.accepted for row in standing.acceptance) >= 1 <= sum(row.rejected for row in standing.acceptance)
    assert {row.version for row in standing.acceptance} == {"tsad-people-robust_zscore:1"}
    assert [(p.person, p.judged, p.minutes) for p in standing.people] == [("1", 3, 0.5), ("2", 2, 1.0)]
    assert standing.agreement.overall.windows == 2 and 0 < standing.agreement.overall.interval_f1 < 1
    assert ReviewStanding.from_json(json.loads(json.dumps(standing.to_json()))) == standing
    loop = open_loop(waiting)
    (iteration,) = loop.iterations()
    names = {a.path for a in list_artifacts(loop.store, iteration.run_id, "review")}
    for name in ("review.html", "standing.json", "acceptance.png", "agreement.png", "progress.png"):
        assert f"review/{name}" in names
    page = read_text(loop.store, iteration.run_id, "review/review.html")
    assert page.startswith("<!doctype html>") and "Who agrees with whom" in page and "data:image/png;base64," in page
    (kept,) = loop.iterations()
    assert kept.metrics["review/interval_f1"] == pytest.approx(standing.agreement.overall.interval_f1)
    conflicts = call("review", waiting, page=False, state="conflict")
    assert [w.state for w in conflicts.windows] == ["CONFLICT"] and "1 windows" in shown_by(capsys)
    assert len(call("review", waiting, page=False, point="nothing*").windows) == 0
    assert len(call("review", waiting, page=False, score_above=0.0, version="1").windows) == 28
    typed = replace(waiting, overrides=("detector=kmeans",), detector_kind=Detector)
    monkeypatch.setattr(Detector, "name", "kmeans", raising=False)
    assert call("review", typed, page=False).windows == (), "kmeans has proposed nothing"


def test_accepting_in_a_batch_is_audited_recorded_and_done_once(
    waiting: Workbench, fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = proposing(fake)
    bound = rows[-1]["data"]["confidence"] - 1e-4
    answer(rows[0], 7, False)
    done = call("review", waiting, action="accept", above=bound, audit=0.3, page=False).batch
    assert done is not None and f"accept above {bound:g}, by 1 at " in shown_by(capsys)
    names = {r["data"]["window_id"] for r in rows}
    assert set(done.selected) == names and set(done.audits) == audited(sorted(names), 0.3)
    free = names - set(done.audits) - {rows[0]["data"]["window_id"]}
    assert done.answered == len(free) > 0 and done.asked == len(done.audits) >= 1
    marked = {
        r["data"]["window_id"]: r["annotations"][0]["result"][-1]["value"]["text"][0]
        for r in rows if r["annotations"] and r["annotations"][0]["result"]
    }  # fmt: skip
    assert set(marked) == free and set(marked.values()) == {done.text}
    assert {r["data"]["window_id"] for r in rows if r["data"].get("reason") == "audit"} == set(done.audits)
    again = call("review", waiting, action="accept", above=bound, audit=0.3, page=False)
    assert (again.batch.answered, again.batch.asked, again.batch.audits) == (0, 0, done.audits)
    states = {w.window: w.state for w in again.windows}
    assert {states[w] for w in free} == {"ACCEPTED"}
    assert {w.batch for w in again.windows if w.window in free} == {done.text}
    assert again.people[0].person == "7" and len(again.people) == 1, "a batch is no person"
    loop = open_loop(waiting)
    records = loop.finished_runs(REVIEW)
    assert [r.result["answered"] for r in records] == [len(free), 0] and records[0].run_id == done.run
    for number, row in enumerate(r for r in rows if r["data"]["window_id"] in done.audits):
        answer(row, 9, drawn=number > 0)
    (audit,) = call("review", waiting, page=False).audits
    unsettled = sum(r["data"]["window_id"] in done.audits for r in rows[:1])  # answered by 7 before: in conflict now
    assert (audit.action, audit.audits, audit.judged) == ("accept", len(done.audits), len(done.audits) - unsettled)
    assert audit.errors >= 1 - unsettled and audit.low <= audit.rate <= audit.high


def test_rejecting_says_that_nothing_is_abnormal_and_returning_asks_people_again(
    waiting: Workbench, fake: FakeServer
) -> None:
    low = call("review", waiting, action="reject", below=1.0, page=False, score_below=0.5)
    meant = {w.window for w in low.windows if w.confidence < 0.5}
    assert set(low.batch.selected) == meant and low.batch.answered == len(meant)
    assert all(math.isnan(a.rate) for a in low.audits) and low.audits == ()
    truth = {w.window: w.state for w in low.windows}
    assert {truth[w] for w in meant} <= {"ACCEPTED", "CORRECTED"}
    one = sorted(meant)[0]
    back = call("review", waiting, action="return", window=one[:8], page=False)
    assert (back.batch.answered, back.batch.selected) == (1, (one,))
    assert {w.state for w in back.windows if w.window == one} == {"PENDING"}
    assert call("review", waiting, action="return", window=[one], page=False).batch.answered == 0
    loop = open_loop(waiting)
    kept = json.loads(read_text(loop.store, loop.finished_runs(REVIEW)[1].run_id, "returned.json"))
    assert [(k["window"], k["annotator"], k["intervals"]) for k in kept] == [(one, "1", [])]


def test_one_answer_does_for_all_that_look_alike(
    waiting: Workbench, fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = proposing(fake)
    first = rows[0]["data"]["window_id"]
    everything = {w.window for w in call("review", waiting, page=False, like=first[:8], within=2.0).windows}
    assert everything == {r["data"]["window_id"] for r in rows}, "what proposes nothing is not like it"
    cluster = {w.window for w in call("review", waiting, page=False, like=first, within=0.9).windows}
    assert first in cluster < everything and len(cluster) >= 3
    with pytest.raises(LoopError, match="it is pending"):
        call("review", waiting, action="same", like=first, audit=0.3, page=False)
    answer(rows[0], 7, True)
    done = call("review", waiting, action="same", like=first[:6], within=0.9, audit=0.3, page=False).batch
    assert done is not None and (done.action, done.like, set(done.selected)) == ("accept", first, cluster)
    assert done.text.startswith(f"accept like {first}, by 1 at ")
    assert set(done.audits) == audited(sorted(cluster - {first}), 0.3), "its own answer audits nothing"
    assert done.answered == len(cluster - {first, *done.audits})
    free = cluster - {first} - set(done.audits)
    states = {w.window: w for w in call("review", waiting, page=False, batch=done.run[:8]).windows}
    assert set(states) == free and {w.state for w in states.values()} == {"ACCEPTED"}
    for number, row in enumerate(r for r in rows if r["data"]["window_id"] in done.audits):
        answer(row, 9, drawn=number > 0)
    capsys.readouterr()
    standing = call("review", waiting, page=False)
    (audit,) = standing.audits
    assert (audit.name, audit.audits) == (f"accept like {first}", len(done.audits)) and audit.errors >= 1
    assert f"accept like {first}" in shown_by(capsys) and audit.low <= audit.rate <= audit.high
    back = call("review", waiting, action="return", batch=done.run[:8], page=False)
    assert back.batch.answered == len(free)
    left = {w.window: w.state for w in call("review", waiting, page=False).windows}
    assert {left[w] for w in free} == {"PENDING"} and left[first] == "ACCEPTED", "what people said stays"
    again = call("review", waiting, action="reject", like=first, within=0.9, audit=0.3, page=False).batch
    assert again.answered == len(free) and again.like == first
    for row in (r for r in fake.rows if not r["annotations"]):
        answer(row, 7, False)
    iterate(waiting)
    loop = open_loop(waiting)
    trained = next(fetch(loop, r.digest) for r in loop.datasets() if r.purpose == "train")
    assert free <= {r.window.window_id for r in trained.windows if not r.intervals}, "the cluster's answer trains"


def test_look_alikes_are_named_by_their_time_too(waiting: Workbench, fake: FakeServer) -> None:
    shown = call("review", waiting, page=False, state="pending")
    one = next(w for w in shown.windows if w.kinds)
    at = f"{one.point_id}@{one.start}"
    named = call("review", waiting, page=False, like=at, within=0.0)
    assert one.window in {w.window for w in named.windows}
    for like in ("ffff0000ffff", "nowhere@2020-01-01", f"{one.point_id}@1999-01-01"):
        with pytest.raises(LoopError, match="no window that was ever queued"):
            call("review", waiting, page=False, like=like)
    with pytest.raises(EmbeddingError, match="robust_zscore"):
        call("review", waiting, page=False, like=at, embedding="base")


def test_what_cannot_be_asked_is_refused(bench: Make, waiting: Workbench, fake: FakeServer) -> None:
    for keys, said in (
        ({"action": "accept"}, "needs above"), ({"action": "reject", "above": 0.9}, "above"),
        ({"above": 0.5}, "does not take"), ({"audit": 0.1}, "audit=0.1"), ({"action": "return"}, "return of all"),
        ({"state": "done"}, "state"), ({"window": "all"}, "window"), ({"window": ["12"]}, "window"),
        ({"action": "accept", "above": 2.0}, "above"), ({"action": "same"}, "same needs like"),
        ({"action": "same", "like": "ab12"}, "without an audit"), ({"action": "accept", "like": "ab12"}, "audit"),
        ({"action": "reject", "above": 0.9, "like": "ab12"}, "above"), ({"within": 3.0}, "within"),
        ({"batch": "x"}, "batch"), ({"like": "ab12", "window": ["cd34"]}, "both say"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            call("review", waiting, **keys)
    with pytest.raises(LoopError, match=r"loop nobody has no queue yet.*tsad iterate"):
        call("review", bench(*SMALL, "review=label_studio", "loop.name=nobody"))
    for row in fake.rows:
        answer(row, 1, True)
    iterate(waiting)
    loop = open_loop(waiting)
    assert loop.iterations()[0].state == "COMPLETED"


def test_the_simulated_reviewer_stands_too_but_takes_no_batches(bench: Make) -> None:
    one = bench(*SMALL, "loop.iterations=1", "loop.name=simulated")
    iterate(one)
    standing = call("review", one)
    assert standing.progress is None and standing.url == "" and standing.people[0].person == "simulated"
    assert {ReviewState(w.state) for w in standing.windows} <= {ReviewState.ACCEPTED, ReviewState.CORRECTED}
    with pytest.raises(LoopError, match="have become a dataset version"):
        call("review", one, action="accept", above=0.5)
    with pytest.raises(ReviewError, match="no batch actions"):
        one.make_reviewer().user()


def test_answers_survive_another_window_length_and_nothing_is_asked_twice(bench: Make) -> None:
    short = ("source.series=3", "loop.name=time", "loop.iterations=2", "sampling.windows=5")
    iterate(bench(*SMALL, *short, "loop.iterations=1"))
    iterate(bench(*SMALL, *short, "windows.length=330", "sampling.windows=99"), new=True)
    loop = open_loop(bench(*SMALL, *short))
    first, second = (fetch(loop, r.digest) for r in loop.datasets() if r.purpose == "train")
    gold = next(fetch(loop, r.digest) for r in loop.datasets() if r.purpose == "gold")
    names = {r.window.window_id for r in second.windows}
    assert {r.window.window_id for r in first.windows} < names, "what was answered stays"
    asked = [r.window for r in second.windows if r.window.window_id not in {f.window.window_id for f in first.windows}]
    assert any(len(w) not in (200, 330) for w in asked), "the rest of windows that were answered in part"
    spans = sorted((r.window.point_id, *r.window.span) for r in (*second.windows, *gold.windows))
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in itertools.pairwise(spans)), "nothing twice"


def test_what_people_answered_goes_into_the_next_queue_where_an_iteration_is_given_up(
    waiting: Workbench, bench: Make, fake: FakeServer
) -> None:
    asked = ("review=label_studio", "sampling.windows=9")
    before = {r["data"]["window_id"]: r for r in fake.rows}
    rows = [r for r in fake.rows if r["data"]["purpose"] == "train"][:4]
    for row in rows:
        answer(row, 1, True)
    given = {r["data"]["window_id"] for r in rows}
    waits = iterate(bench(*SMALL, *asked), new=True)
    assert waits.waiting is not None and waits.waiting.iteration == 1
    standing = call("review", bench(*SMALL, *asked))
    assert standing.progress is not None and sum(standing.progress.queue.values()) == 9 + 4
    assert standing.progress.waiting == 9 + sum(standing.progress.gold.values()), "nobody is asked again"
    there = {r["data"]["window_id"] for r in fake.rows}
    assert given < there and len(there) == len(fake.rows) == 13 + sum(standing.progress.gold.values())
    assert set(before) - there, "what nobody looked at and was not drawn again is gone"
    for row in fake.rows:
        if not row["annotations"]:
            answer(row, 1, True)
    assert iterate(bench(*SMALL, *asked)).iterations[0].iteration == 1
    loop = open_loop(waiting)
    kept = next(fetch(loop, r.digest) for r in loop.datasets() if r.purpose == "train")
    assert given <= {r.window.window_id for r in kept.windows} and len(kept.windows) == 13


def gold_of(bench: Workbench) -> set[str]:
    """Ids of the blind windows of the open iteration's queue."""
    iteration = open_loop(bench).open_iteration()
    assert iteration is not None
    choices = queue_of(bench, record_of(iteration, DETECT))
    return {c.window.window_id for c in choices if c.purpose is Purpose.GOLD}


def test_blind_windows_are_taken_over_as_the_draw_that_they_were(bench: Make, fake: FakeServer) -> None:
    asked = (*SMALL, "review=label_studio", "gold=people", "gold.windows=6")
    one = bench(*asked)
    iterate(one)
    blind = {r["data"]["window_id"]: r for r in fake.rows if r["data"]["purpose"] == "gold"}
    answer(next(iter(blind.values())), 1, False)
    iterate(bench(*asked, "sampling.windows=9"), new=True)
    assert gold_of(one) == set(blind)
    iterate(bench(*asked, "gold.seed=1"), new=True)
    anew = gold_of(one)
    assert anew and anew != set(blind), "another gold rule draws its own"
    left = {r["data"]["window_id"] for r in fake.rows if r["data"]["purpose"] == "gold" and not r["annotations"]}
    assert left <= anew, "nobody is asked about what the old one drew"


def test_a_window_that_is_blind_now_shows_nothing_that_was_proposed_before(bench: Make, fake: FakeServer) -> None:
    """All windows are queued, so that what a draw of blind ones takes was shown with proposals before."""
    asked = (*SMALL, "review=label_studio", "gold=people", "gold.windows=6", "sampling.windows=99")
    one = bench(*asked)
    iterate(one)
    shown = {r["data"]["window_id"] for r in fake.rows if r["data"]["purpose"] == "train"}
    iterate(bench(*asked, "gold.seed=1"), new=True)
    turned = gold_of(one) & shown
    rows = {r["data"]["window_id"]: r for r in fake.rows}
    assert turned and {rows[name]["data"]["purpose"] for name in turned} == {"gold"}
    for name in turned:
        drawn = [x for p in rows[name]["predictions"] for x in p["result"] if x["from_name"] == "label"]
        assert not drawn and rows[name]["data"]["proposals"] is None


def test_answers_about_what_the_source_does_not_hold_any_more_train_nothing(
    waiting: Workbench, bench: Make, fake: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [r for r in fake.rows if r["data"]["purpose"] == "train"][:4]
    for row in rows:
        answer(row, 1, True)
    iterate(bench(*SMALL, "review=label_studio", "source.seed=99"), new=True)
    iteration = open_loop(waiting).open_iteration()
    assert iteration is not None and "source does not hold now" in caplog.text
    drawn = queue_of(waiting, record_of(iteration, DETECT))
    assert all(c.iteration == 1 and len(c.window) == 200 for c in drawn) and len(drawn) == 28


def test_carried_answers_keep_apart_from_a_gold_set_that_was_fixed_meanwhile(bench: Make, fake: FakeServer) -> None:
    people = (*SMALL, "review=label_studio", "gold=people", "gold.windows=6")
    one = bench(*people)
    iterate(one)
    for row in fake.rows:
        if row["data"]["purpose"] == "train":
            answer(row, 1, True)
    labels = (*SMALL, "review=label_studio", "gold=labels_time")
    for number in range(2):  # the first call fixes the gold set, the second finds it
        iterate(bench(*labels, f"sampling.seed={number}"), new=True)
        loop = open_loop(one)
        iteration = loop.open_iteration()
        assert iteration is not None
        gold = next(fetch(loop, r.digest) for r in loop.datasets() if r.purpose == "gold")
        queued = [c.window for c in queue_of(one, record_of(iteration, DETECT))]
        assert len(without_overlap(queued, [r.window for r in gold.windows])) == len(queued) > 0


def test_nothing_is_taken_over_from_a_project_that_is_gone(
    waiting: Workbench, bench: Make, fake: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    for row in fake.rows[:4]:
        answer(row, 1, True)
    fake.rows, fake.project = [], None
    assert iterate(bench(*SMALL, "review=label_studio", "sampling.windows=9"), new=True).waiting is not None
    assert "no answers are taken over" in caplog.text and not any(r["annotations"] for r in fake.rows)
