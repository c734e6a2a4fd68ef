"""``tsad watch``: when a loop begins its next turn by itself, why not yet, and that it does so exactly once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from test_review_label_studio import FakeServer
from test_review_people import answer

from tsad.config.workbench import Workbench
from tsad.core.callbacks import SECRET_HEADER, WEBHOOK_PATH
from tsad.core.context import Context
from tsad.core.control import Silent, Switch
from tsad.core.errors import ConfigError, LoopError, ReviewError
from tsad.core.options import WatchOptions
from tsad.loop import watching
from tsad.loop.hints import Hints
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.pull import DATASET
from tsad.loop.readiness import Readiness
from tsad.loop.reviews import reviews_of
from tsad.loop.watching import readiness_of, watch
from tsad.review.label_studio.reviewer import LabelStudioReviewer
from tsad.service.face import Face
from tsad.verbs.console import Console
from tsad.verbs.foot import Foot
from tsad.verbs.lookup import verb_module, waits
from tsad.verbs.progress import TerminalProgress

Make = Callable[..., Workbench]
SMALL = (
    "experiment=demo", "detector=robust_zscore", "source.series=5", "source.points=800", "windows.length=100",
    "sampling.windows=10", "loop.iterations=3", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100",
    "threshold.default=0.3", "tracking.system_metrics=false", "loop.name=people",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("stocked")


class Notes(Silent):
    """What a watcher tells, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


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
    one = bench(*SMALL, "review=label_studio", "review.pictures=false")
    assert iterate(one).waiting is not None
    return one


def watched(one: Workbench, **options: Any) -> Workbench:
    """With these options of ``watch``, and a context of its own."""
    values = {**dict(one.watch), "poll_seconds": 0.05, **options}
    return replace(one, watch=WatchOptions(**values), context=Context(progress=Notes(), control=Switch()))


def open_rows(fake: FakeServer) -> list[dict[str, Any]]:
    return [row for row in fake.rows if not row["annotations"]]


def stop_when(one: Workbench, happened: Callable[[], bool], seconds: float = 60) -> threading.Thread:
    """Ask the watcher to stop once something has happened, or after so long."""
    ended = threading.Event()

    def look() -> None:
        for _ in range(int(seconds / 0.1)):
            if happened() or ended.wait(0.1):
                break
        one.context.control.stop()  # type: ignore[attr-defined]

    thread = threading.Thread(target=look)
    thread.start()
    return thread


def by_name(readiness: Readiness) -> dict[str, tuple[bool, str]]:
    return {c.name: (c.met, c.text) for c in readiness.conditions}


def test_what_it_waits_for_is_told_condition_by_condition(waiting: Workbench, fake: FakeServer) -> None:
    one = watched(waiting, windows=3, pause="6h", agreement=0.5, new_data=True, acceptance_fall=0.2)
    told = readiness_of(one)
    assert not told.ready and told.people_have_to_act and (told.iteration, told.state) == (1, "REVIEWING")
    conditions = by_name(told)
    assert conditions["windows judged"] == (False, "0 of 3")
    assert conditions["pause since the last turn"] == (True, "it is the first")
    assert conditions["new data"] == (False, "none yet")
    assert conditions["agreement of people"] == (False, "no window was judged by two (review.overlap)")
    assert conditions["acceptance has fallen"][1].startswith("0 proposals judged, 0 in the turn before; 10 are")
    assert "acceptance has fallen" not in told.why, "it can only make a turn begin earlier"
    for row in fake.rows[:3]:
        answer(row, 1, False)
        answer(row, 2, False)
    conditions = by_name(readiness_of(one))
    assert conditions["windows judged"] == (True, "3 of 3")
    assert conditions["agreement of people"] == (True, "1.00 of at least 0.50 on 3 windows"), "nobody marks anything"
    assert readiness_of(watched(waiting, windows=3)).ready and not readiness_of(watched(waiting)).ready
    assert readiness_of(watched(waiting, windows=3)).enough == 3
    assert fake.changed == [], "a look asks nobody and changes nothing"


def test_people_who_disagree_are_asked_again_by_a_watcher_not_by_a_look(waiting: Workbench, fake: FakeServer) -> None:
    row = next(r for r in fake.rows if any(x["from_name"] == "label" for x in r["predictions"][0]["result"]))
    answer(row, 1, True)
    answer(row, 2, False)
    assert not readiness_of(watched(waiting, windows=1)).ready and fake.changed == []
    one = watched(waiting, windows=1)
    thread = stop_when(one, lambda: bool(fake.changed))
    watch(one)
    thread.join()
    assert fake.changed == [row["id"]] and row["data"]["state"] == "conflict"


def test_enough_answers_begin_the_next_iteration_and_nobody_is_asked_for_more(
    waiting: Workbench, fake: FakeServer
) -> None:
    for row in open_rows(fake)[:5]:
        answer(row, 1, False)
    one = watched(waiting, windows=5)
    loop = open_loop(waiting)
    thread = stop_when(one, lambda: len(loop.iterations()) == 2 and loop.iterations()[1].state == "REVIEWING")
    result = watch(one)
    thread.join()
    assert result.completed == (1,) and result.readiness is not None and not result.readiness.ready
    assert result.readiness.iteration == 2
    first, second = loop.iterations()
    assert first.state == "COMPLETED" and second.state == "REVIEWING"
    assert sum(first.finished(DATASET.name).result["states"].values()) == 10  # type: ignore[union-attr]
    told = one.context.progress.lines  # type: ignore[attr-defined]
    assert any("begins: iteration 1 5 windows are judged" in line for line in told)
    assert sum("not yet: windows judged: 0 of 5" in line for line in told) == 1, "told once, not at every look"


def test_a_journal_holds_what_happens_not_that_nothing_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(verb_module("watch")) and not waits(verb_module("iterate"))
    progress = TerminalProgress(Console(), Foot())
    for waiting, line in ((True, ""), (False, "watch: 0 s")):
        with progress.command("watch", waiting):
            assert progress._text() == line
            with progress.task("training"):
                assert progress._text() == "training: 0 s"


def test_two_watchers_begin_one_turn(waiting: Workbench, fake: FakeServer) -> None:
    loop, both = open_loop(waiting), [watched(waiting, windows=4) for _ in range(2)]
    results: list[Any] = []

    def second_waits() -> bool:
        return len(loop.iterations()) == 2 and loop.iterations()[1].state == "REVIEWING"

    for row in open_rows(fake)[:4]:
        answer(row, 1, False)
    stoppers = [stop_when(one, second_waits) for one in both]
    threads = [threading.Thread(target=lambda one=one: results.append(watch(one))) for one in both]
    for thread in (*threads, *stoppers):
        thread.start() if thread in threads else None
    for thread in (*threads, *stoppers):
        thread.join(120)
    assert sorted(len(r.completed) for r in results) == [0, 1]
    assert [it.number for it in loop.iterations()] == [1, 2]
    runs = loop.search("tags.`tsad.step` = 'DATASET'")
    assert len(runs) == 1 and len([d for d in loop.datasets() if d.purpose == "train"]) == 1


def test_who_finds_it_ready_asks_once_more_under_the_lock(
    waiting: Workbench, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in open_rows(fake)[:4]:
        answer(row, 1, False)
    one, slow = watched(waiting, windows=4), watched(waiting, windows=4)
    original = watching.iterate_where

    def after_the_other(bench: Workbench, agree: Any) -> Any:
        monkeypatch.setattr(watching, "iterate_where", original)
        stopper = stop_when(one, lambda: len(open_loop(one).iterations()) == 2)
        watch(one)  # the faster one
        stopper.join()
        return original(bench, agree)

    monkeypatch.setattr(watching, "iterate_where", after_the_other)
    thread = stop_when(slow, lambda: any("0 of 4" in x for x in slow.context.progress.lines))  # type: ignore[attr-defined]
    result = watch(slow)
    thread.join()
    assert result.completed == () and [it.number for it in open_loop(one).iterations()] == [1, 2]


def test_acceptance_that_falls_begins_earlier(
    waiting: Workbench, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in open_rows(fake):
        answer(row, 1, True)
    assert iterate(waiting).waiting is not None
    fresh = [r for r in open_rows(fake) if any(x["from_name"] == "label" for x in r["predictions"][0]["result"])]
    answer(fresh[0], 1, False)
    asked = {"acceptance_fall": 0.5, "judged": 1}
    told = readiness_of(watched(waiting, **asked))
    assert by_name(told)["acceptance has fallen"] == (True, "0.00 are accepted, 1.00 in the turn before")
    assert told.ready and told.enough == 1
    assert not readiness_of(watched(waiting, **{**asked, "judged": 50})).ready
    assert not readiness_of(watched(waiting)).ready
    assert not readiness_of(watched(waiting, **asked, pause="1h")).ready, "a guard holds all the same"


def test_the_source_has_to_change_where_that_is_asked_for(
    waiting: Workbench, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in open_rows(fake):
        answer(row, 1, False)
    one = watched(waiting, new_data=True)
    assert readiness_of(one).why == "new data: none yet"
    monkeypatch.setattr("tsad.loop.readiness.source_state", lambda source: "another")
    assert readiness_of(one).ready


def test_a_server_that_is_away_is_asked_again_later(
    waiting: Workbench, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in open_rows(fake):
        answer(row, 1, False)
    one, original, failures = watched(waiting), LabelStudioReviewer.pull, iter(range(3))

    def away(self: LabelStudioReviewer, choices: Any) -> Any:
        if next(failures, None) is not None:
            raise ReviewError("Label Studio is away", "Start it.")
        return original(self, choices)

    monkeypatch.setattr(LabelStudioReviewer, "pull", away)
    thread = stop_when(one, lambda: len(open_loop(waiting).iterations()) == 2)
    assert watch(one).completed == (1,)
    thread.join()
    told = [line for line in one.context.progress.lines if "tried again in" in line]  # type: ignore[attr-defined]
    assert next(failures, None) is None and "Label Studio is away. Start it." in told[0]


def test_what_was_completed_is_told_though_the_next_iteration_fails(
    waiting: Workbench, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in open_rows(fake):
        answer(row, 1, False)
    one = watched(waiting)

    def away(*_: Any) -> Any:
        raise ReviewError("Label Studio is away", "Start it.")

    monkeypatch.setattr(LabelStudioReviewer, "push", away)  # of the second iteration
    loop = open_loop(waiting)
    thread = stop_when(one, lambda: len(loop.iterations()) == 2 and loop.iterations()[1].state == "FAILED")
    assert watch(one).completed == (1,)
    thread.join()


def test_what_no_waiting_mends_is_an_error_at_once(waiting: Workbench) -> None:
    with pytest.raises(LoopError, match=r"it differs in sampling\.windows"):
        watch(replace(watched(waiting), overrides=("sampling.windows=7", "loop.name=people"), config_yaml=(
            waiting.config_yaml.replace("windows: 10", "windows: 7"))))

    with pytest.raises(ConfigError, match=r"watch\.secret_env names NOWHERE, which is not set"):
        watch(watched(waiting, webhook=True, secret_env="NOWHERE"))


def test_a_loop_that_has_ended_ends_the_watch(bench: Make) -> None:
    one = watched(bench(*SMALL, "loop.iterations=1", "loop.name=alone", "sampling.windows=6"))
    result = watch(one)
    assert result.completed == (1,) and result.readiness is not None and result.readiness.ended
    assert watch(watched(one)).completed == ()


def test_a_webhook_is_connected_heard_and_taken_away_again(
    waiting: Workbench, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SETTLE", 0.0)
    one = watched(waiting, poll_seconds=3600.0, windows=2, webhook=True, port=0)
    one = replace(one, context=replace(one.context, serving=Face()))
    loop, posted = open_loop(waiting), list[int]()

    def answered() -> bool:
        if fake.connected and not posted:
            (hook,) = fake.connected.values()
            assert hook["send_payload"] is False and hook["send_for_all_actions"] is False
            assert set(hook["actions"]) == {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"}
            for row in open_rows(fake)[:2]:
                answer(row, 1, False)
            for headers in ({SECRET_HEADER: "wrong"}, hook["headers"], hook["headers"]):
                body = {"action": "ANNOTATION_CREATED", "annotation": {"id": 1, "result": "a lie"}}
                posted.append(httpx.post(hook["url"], headers=headers, json=body, trust_env=False).status_code)
        return len(loop.iterations()) == 2

    thread = stop_when(one, answered)
    assert watch(one).completed == (1,)
    thread.join()
    assert posted == [401, 204, 204] and fake.connected == {}
    with pytest.raises(ConfigError, match="nothing answers HTTP for this call"):
        watch(watched(waiting, webhook=True))


def test_webhooks_of_killed_watchers_are_taken_away_at_the_next_start(
    waiting: Workbench, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as alive, socket.create_server(("127.0.0.1", 0)) as gone:
        here, dead = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (alive, gone))
        gone.close()
        headers = {SECRET_HEADER: "s"}
        foreign = {"url": f"{dead}/other", "headers": headers}
        for number, hook in enumerate((
            {"url": dead + WEBHOOK_PATH, "headers": headers}, {"url": here + WEBHOOK_PATH, "headers": headers},
            foreign, {"url": dead + WEBHOOK_PATH, "headers": {}}, {"url": "http://[half" + WEBHOOK_PATH, "headers": {}},
        )):  # fmt: skip
            fake.connected[100 + number] = hook
        reviewer = reviews_of(waiting).reviewer
        reviewer.connect("webhook", "http://127.0.0.1:9", "new")
        assert len(fake.connected) == 6, "loopback of a Label Studio on another machine is not this one's"
        monkeypatch.setattr(fake, "url", "http://127.0.0.1:8080")
        reviewer.connect("webhook", "http://127.0.0.1:9", "newer")
        reviewer.disconnect("webhook", "http://127.0.0.1:9")
    assert sorted(fake.connected) == [101, 102, 103, 104], "the dead one of ours alone"


def test_a_server_that_calls_no_local_address_is_told_of_with_what_to_set(
    waiting: Workbench, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(kind: str, fields: Any, number: Any, forbidden: Exception) -> None:
        raise forbidden

    monkeypatch.setattr(fake, "connect", forbidden)
    one = watched(waiting, webhook=True, port=0)
    said = r"SSRF_PROTECTION_ENABLED=false and ML_BLOCK_LOCAL_IP=false.*watch\.webhook=false"
    with pytest.raises(ConfigError, match=said):
        watch(replace(one, context=replace(one.context, serving=Face())))


def test_options_that_cannot_be_honoured_are_refused(options: Callable[..., Any]) -> None:
    for words, found in (
        (["watch.url=example.org", "watch.webhook=true"], r"watch\.url is 'example\.org'.*an address such as http"),
        (["watch.url=https://a.example:77777", "watch.webhook=true"], "Port out of range"),
        (["watch.url=https://name:pass@a.example", "watch.webhook=true"], r"watch\.url holds a login or a query"),
        (["watch.url=http://x"], "nobody listens there"),
        (["watch.webhook=true", "watch.host=0.0.0.0"], "which nobody can call"),
        (["watch.pause=soon"], "watch.pause"),
        (["watch.agreement=2"], "at most 1"),
    ):
        with pytest.raises(ConfigError, match=found) as refused:
            options(*words)
        assert "pass@" not in str(refused.value), "a login is never repeated"
    assert options("watch.pause=6h").watch.pause == "6h"


def test_a_hint_shortens_the_wait(waiting: Workbench, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SETTLE", 0.0)
    one = watched(waiting, poll_seconds=3600.0, windows=2)
    hints, loop = Hints(one.home, one.loop.name), open_loop(waiting)
    assert hints.mark() == 0

    def answered() -> bool:
        if any("not yet" in line for line in one.context.progress.lines) and not hints.mark():  # type: ignore[attr-defined]
            for row in open_rows(fake)[:2]:
                answer(row, 1, False)
            for _ in range(100):
                hints.give()
        return len(loop.iterations()) == 2

    thread = stop_when(one, answered)
    assert watch(one).completed == (1,)
    thread.join()
