"""Tasks pre-annotated as they are opened: equal to a push, blind ones left blind, a champion that changes or goes."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from test_review_label_studio import FakeServer
from test_watch import SMALL, Notes, fake, waiting

from tsad.config.workbench import Workbench
from tsad.core.context import Context
from tsad.core.errors import RegistryError, ReviewError, TimeUpError
from tsad.loop.champion import registry_of
from tsad.loop.live_champion import LiveChampion
from tsad.loop.on_the_spot import LatestResults, OnTheSpot
from tsad.loop.opening import open_loop

Make = Callable[..., Workbench]
pytestmark = pytest.mark.usefixtures("stocked")
SOON = math.inf  # somebody waits for as long as it takes
__all__ = ["fake", "waiting"]


def asked(fake: FakeServer, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """What Label Studio sends of these tasks: their data as JSON, and the project's template."""
    assert fake.project is not None
    tasks = [{"id": r["id"], "data": json.loads(json.dumps(r["data"]))} for r in rows]
    return tasks, str(fake.project["label_config"])


@pytest.fixture
def live(waiting: Workbench) -> LiveChampion:
    made = LiveChampion(replace(waiting, context=Context(progress=Notes())), 0.05)
    made.refresh()
    return made


def test_a_task_gets_what_a_push_gave_it(live: LiveChampion, fake: FakeServer) -> None:
    tasks, config = asked(fake, fake.rows)
    pushed = [row["predictions"][0] for row in fake.rows]
    made = OnTheSpot(live).predict(tasks, config, SOON)
    assert made == pushed
    live._known = replace(live._known, queue={})  # type: ignore[type-var]
    live._now = replace(live.current(), queue={})
    assert OnTheSpot(live).predict(tasks, config, SOON) == pushed, "and where the queue is another: from the source"
    assert any(r["from_name"] == "label" for p in made for r in p["result"])
    assert {p["model_version"] for p in made} == {live.label} == {"tsad-people-robust_zscore:1"}


def test_blind_windows_stay_blind(live: LiveChampion, fake: FakeServer) -> None:
    row = next(r for r in fake.rows if any(x["from_name"] == "label" for x in r["predictions"][0]["result"]))
    (task,), config = asked(fake, [row])
    task["data"]["purpose"] = "gold"
    (made,) = OnTheSpot(live).predict([task], config, SOON)
    live._now = replace(live.current(), queue={})
    assert [made] == OnTheSpot(live).predict([task], config, SOON)
    assert all(r["from_name"] == "aside" for r in made["result"]) and "score" not in made


def test_what_is_no_time_series_stops_nobody_else(live: LiveChampion, fake: FakeServer) -> None:
    (good, gone, moved), config = asked(fake, fake.rows[:3])
    gone["data"] |= {"point_id": "nowhere", "window_id": "f" * 16}
    moved["data"]["window_id"] = "0" * 16
    series = good["data"]["series"]
    others = [
        {"text": "a picture of a cat"}, {"series": [1, 2]}, {"series": {"time": series["time"]}},
        {"series": {**series, "c1": series["c1"][:-1]}}, {"series": {**series, "c1": ["x"] * len(series["c1"])}},
        {"series": {**series, "time": ["yesterday"] * len(series["time"])}}, {"series": {k: [] for k in series}},
    ]
    bad = [gone, moved, *({"id": 90 + k, "data": data} for k, data in enumerate(others))]
    made = OnTheSpot(live).predict([good, *bad, good], config, SOON)
    assert made[0] == made[-1] == fake.rows[0]["predictions"][0]
    for one in made[1:-1]:
        assert "result" not in one and one["error"]["message"] and one["error"]["code"]
    assert "no time series" in made[3]["error"]["message"] and "nowhere" in made[1]["error"]["message"]
    with pytest.raises(ReviewError):
        OnTheSpot(live).predict([good], "<View><Text name='t' value='$text'/></View>", SOON)


def test_what_nobody_waits_for_any_more_is_not_begun_and_each_source_is_let_go_of(
    live: LiveChampion, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, two), config = asked(fake, fake.rows[:2])
    model, made = OnTheSpot(live), list[str]()
    monkeypatch.setattr(model, "_answer", lambda *given: made.append("answered") or time.sleep(2.5) or {})
    assert model.predict([], config, SOON) == []  # the champion is loaded
    with pytest.raises(TimeUpError):
        model.predict([one, two], config, time.monotonic() + 2.0)
    assert made == ["answered"]
    opened, closed = list[Any](), list[Any]()
    champion = live.current()

    def make_source() -> Any:
        opened.append(champion.bench.make_source())
        monkeypatch.setattr(opened[-1], "close", lambda source=opened[-1]: closed.append(source))
        return opened[-1]

    live._now = replace(champion, bench=replace(champion.bench, make_source=make_source), queue={})
    OnTheSpot(live).predict([one, two], config, SOON)
    assert opened and opened == closed


def test_a_series_that_somebody_else_imported_is_scored_by_its_values(live: LiveChampion, fake: FakeServer) -> None:
    (task,), config = asked(fake, fake.rows[:1])
    count = 400
    times = [f"2026-01-{1 + k // 144:02} {k % 144 // 6:02}:{k % 6 * 10:02}:00.000" for k in range(count)]
    values: list[Any] = [float(k % 7) / 10 for k in range(count)]
    values[200:210], values[50] = [50.0] * 10, None
    rows = dict.fromkeys(task["data"]["series"], values) | {"time": times}
    (made,) = OnTheSpot(live).predict([{"id": 5, "data": {"series": rows, "point_id": "theirs"}}], config, SOON)
    own = [r["value"] for r in made["result"] if r["from_name"] == "label"]
    assert own and own[0]["start"] <= times[209] and own[0]["end"] >= times[200] and made["model_version"] == live.label


def test_a_new_champion_takes_over_and_one_that_is_deleted_goes_on(
    live: LiveChampion, fake: FakeServer, waiting: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, config = asked(fake, fake.rows[:1])
    model, loop = OnTheSpot(live), open_loop(waiting)
    registry = registry_of(waiting, loop)
    assert model.predict(tasks, config, SOON)[0]["model_version"].endswith(":1")
    first = registry.get(1)
    made = loop.store.client.create_model_version(
        registry.name, first.source, first.run_id, tags=dict(first.tags), model_id=first.model_id
    )
    answers: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answers.append(model.predict(tasks, config, SOON)[0]["model_version"])

    thread = threading.Thread(target=ask)
    with live.followed():
        thread.start()
        registry.promote(registry.get(int(made.version)))
        for _ in range(600):
            if live.label.endswith(":2") and answers[-1:] == [live.label]:
                break
            done.wait(0.1)
        done.set()
        thread.join()
    assert answers[-1] == "tsad-people-robust_zscore:2" and {a[-2:] for a in answers} <= {":1", ":2"}
    loop.store.client.delete_registered_model_alias(registry.name, "champion")
    live.refresh()
    live.refresh()
    assert model.predict(tasks, config, SOON)[0]["model_version"].endswith(":2")
    assert "has no champion" in model.state()["problem"] and model.label().endswith(":2")
    told = live._bench.context.progress.lines  # type: ignore[attr-defined]
    assert sum("goes on answering" in line for line in told) == 1
    assert sum("answers from now on" in line for line in told) == 2


def test_without_a_champion_it_says_so(bench: Make) -> None:
    live = LiveChampion(bench(*SMALL, "loop.name=nobody"), 1.0)
    live.refresh()
    with pytest.raises(RegistryError, match="has no champion"):
        OnTheSpot(live).predict([], "<View/>", SOON)
    with pytest.raises(RegistryError, match="has no champion"):
        OnTheSpot(live).label()


def test_what_many_ask_at_once_is_made_once() -> None:
    kept, made = LatestResults(2), list[int]()
    threads = [threading.Thread(target=lambda: kept.get("a", lambda: made.append(1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    for key in "bcd":
        kept.get(key, lambda: made.append(2))
    kept.get("a", lambda: made.append(3))
    assert made == [1, 2, 2, 2, 3] and len(kept._values) == 2
