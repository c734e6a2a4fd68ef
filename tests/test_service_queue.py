"""The review queue over HTTP: filters, one window, pictures, batch actions that are those of ``tsad review``."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest
from data_kit import Service, served
from test_data import make
from test_review_label_studio import FakeServer
from test_review_people import answer as person
from test_review_verb import SMALL, Make, proposing

from tsad.config.workbench import Workbench
from tsad.core.errors import ReviewError
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.review_batch import REVIEW
from tsad.review.label_studio.reviewer import LabelStudioReviewer
from tsad.service.queue import HELD, Queues, queue


def reviewing_at(server: FakeServer, patch: pytest.MonkeyPatch) -> None:
    """Label Studio, for every reviewer that a loop makes."""
    patch.setattr(
        LabelStudioReviewer, "of_loop",
        classmethod(
            lambda cls, options, loop, home: cls(options, url="http://x", token="t", loop=loop, client=server)
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workbench, FakeServer]:
    """A loop whose first iteration waits for people, and where they review; made once, and never answered there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSAD_HOME", str(tmp_path_factory.mktemp("queue") / "store"))
        server = FakeServer()
        reviewing_at(server, patch)
        bench = make(*SMALL, "review=label_studio")
        assert iterate(bench).waiting is not None
    return bench, server


@pytest.fixture
def fake(waiting: tuple[Workbench, FakeServer], monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """Where people review, for one test."""
    server = copy.deepcopy(waiting[1])
    reviewing_at(server, monkeypatch)
    return server


@pytest.fixture
def service(
    waiting: tuple[Workbench, FakeServer], fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """The service over that loop."""
    monkeypatch.setenv("TSAD_HOME", str(waiting[0].home))
    with (made := served(waiting[0], queue)).client:
        yield made


def got(service: Service, path: str, **params: Any) -> Any:
    answer = service.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_queue_with_filters_in_pages(service: Service, fake: FakeServer) -> None:
    rows = proposing(fake)
    person(rows[0], 1, True)
    person(rows[1], 1, True)
    person(rows[1], 2, False)
    whole = got(service, "/queue", limit=500)
    assert whole["total"] == 28 == len(whole["items"])
    assert {w["state"] for w in whole["items"]} == {"PENDING", "ACCEPTED", "CONFLICT"}
    first, rest = got(service, "/queue", limit=10), got(service, "/queue", limit=100, offset=10)
    assert first["items"] + rest["items"] == whole["items"]
    conflicts = got(service, "/queue", state="conflict")["items"]
    assert [w["window"] for w in conflicts] == [rows[1]["data"]["window_id"]]
    ordered = [w["confidence"] for w in got(service, "/queue", sort="-confidence", limit=500)["items"]]
    assert ordered == sorted(ordered, reverse=True)
    bound = ordered[4]
    above, below = (got(service, "/queue", **{key: bound})["total"] for key in ("score_above", "score_below"))
    assert above + below == 28 and above >= 5
    point = whole["items"][0]["point_id"]
    assert {w["point_id"] for w in got(service, "/queue", series=f"{point[:-1]}*")["items"]} >= {point}
    assert got(service, "/queue", series="nothing*")["total"] == 0 == got(service, "/queue", detector="kmeans")["total"]
    proposed = got(service, "/queue", detector="robust_zscore", limit=500)
    assert proposed["total"] == got(service, "/queue", version="1", limit=500)["total"] > 0
    service.refused(service.client.get("/queue", params={"loop": "nobody's"}), 422)
    service.refused(service.client.get("/queue", params={"loop": "other"}), 404)
    for wrong in ({"state": "open"}, {"score_above": "NaN"}, {"score_above": 2}, {"score_below": "high"},
                  {"loop": "${oc.env:HOME}"}, {"sort": "people.x"}, {"limit": 0}):  # fmt: skip
        service.refused(service.client.get("/queue", params=wrong), 422)


def test_candidates_are_intervals_with_their_own_score(service: Service, fake: FakeServer) -> None:
    whole = got(service, "/candidates", limit=500)
    assert whole["total"] == len(whole["items"]) >= len(proposing(fake)) > 0
    scores = sorted(c["score"] for c in whole["items"])
    bound = scores[len(scores) // 2]
    above = got(service, "/candidates", score_above=bound, limit=500)["items"]
    assert all(c["score"] >= bound for c in above)
    assert len(above) + got(service, "/candidates", score_below=bound)["total"] == whole["total"]
    one = whole["items"][0]
    assert one["detector"] == "robust_zscore" and one["version"] == "tsad-people-robust_zscore:1" and one["shown"]
    assert one["start"] < one["end"] and one["state"] == "PENDING"
    assert got(service, "/candidates", detector="kmeans")["total"] == 0
    assert got(service, "/candidates", version="1")["total"] > 0
    by_time = [c["start"] for c in got(service, "/candidates", sort="start", limit=500)["items"]]
    assert by_time == sorted(by_time)


def test_one_window_its_answers_and_its_pictures(service: Service, fake: FakeServer) -> None:
    row = proposing(fake)[0]
    window = row["data"]["window_id"]
    person(row, 7, True)
    told = got(service, f"/queue/{window}")
    assert told["standing"]["state"] == "ACCEPTED" and told["usable"] and told["points"] == 200
    assert [a["annotator"] for a in told["answers"]] == ["7"] and told["answers"][0]["at"] == "2026-01-01T00:00:00Z"
    same = [(i["start"], i["end"]) for i in told["intervals"]]
    assert same == [(c["start"], c["end"]) for c in told["candidates"]] and same
    for name, width in (("thumbnail", "240"), ("picture", "1200")):
        drawn = service.client.get(f"/queue/{window}/{name}")
        assert drawn.status_code == 200 and drawn.headers["content-type"].startswith("image/svg+xml")
        root = ET.fromstring(drawn.text)
        assert root.get("width") == width
        marks = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("fill-opacity") == "0.45"]
        assert marks, "what is proposed, or the window itself"
    for path in ("/queue/0123456789abcdef", "/queue/0123456789abcdef/thumbnail", "/queue/0123456789abcdef/picture"):
        service.refused(service.client.get(path), 404)
    for path in ("/queue/xyz", f"/queue/{window[:8]}", f"/queue/{window}0/thumbnail"):
        service.refused(service.client.get(path), 422)


def test_pictures_do_not_ask_label_studio(service: Service, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    window = proposing(fake)[0]["data"]["window_id"]

    def gone(*_: object, **__: object) -> None:
        raise ReviewError("Label Studio cannot be reached", "Start it.")

    monkeypatch.setattr(LabelStudioReviewer, "look", gone)
    assert service.client.get(f"/queue/{window}/thumbnail").status_code == 200
    assert service.refused(service.client.get("/queue"), 422)["code"] == "ReviewError"


def test_batch_actions_are_those_of_the_verb(service: Service, fake: FakeServer) -> None:
    rows = proposing(fake)
    bound = rows[-1]["data"]["confidence"] - 1e-4
    order = {"action": "accept", "above": bound, "audit": 0.3}
    done = service.client.post("/queue/actions", json=order)
    assert done.status_code == 200, done.text
    batch = done.json()["batch"]
    assert set(batch["selected"]) == {r["data"]["window_id"] for r in rows} and batch["audits"]
    assert batch["answered"] == len(rows) - len(batch["audits"]) == got(service, "/queue", state="accepted")["total"]
    again = service.client.post("/queue/actions", json=order).json()["batch"]
    assert again["answered"] == 0 and again["audits"] == batch["audits"]
    returned = service.client.post("/queue/actions", json={"action": "return", "batch": batch["run"]}).json()
    assert returned["batch"]["answered"] == batch["answered"] and got(service, "/queue", state="accepted")["total"] == 0
    kept = open_loop(service.site.bench).finished_runs(REVIEW)
    assert [r.result["action"] for r in kept] == ["accept", "accept", "return"]
    assert got(service, "/reviews")["windows"] == []
    unasked = service.client.post("/queue/actions", json=order, params={"detector": "kmeans"}).json()
    assert unasked["batch"]["selected"] == [], "kmeans has proposed nothing"


@pytest.mark.parametrize(
    "body",
    [
        {}, {"action": "show"}, {"action": "burn"}, {"action": "accept"}, {"action": "accept", "above": 2},
        {"action": "accept", "above": "high"}, {"action": "reject", "above": 0.5}, {"action": "return"},
        {"action": "accept", "above": 0.5, "unknown": 1}, {"action": "accept", "above": True}, {"action": ["accept"]},
        {"action": "accept", "above": 0.5, "window": "../x"}, {"action": "accept", "above": 0.5, "page": True},
        {"action": "same"}, {"action": "reject", "below": 0.5, "audit": {"x": 1}}, {"action": None},
    ],
)  # fmt: skip
def test_orders_that_do_not_fit_are_refused_before_anything_is_done(home: Any, bench: Make, body: Any) -> None:
    with (service := served(bench("review=simulated"), queue)).client:
        service.refused(service.client.post("/queue/actions", json=body), 422)


def test_a_loop_without_a_queue_is_told_so(stocked: None, bench: Make) -> None:
    with (service := served(bench("source=synthetic", "review=simulated"), queue)).client:
        assert service.refused(service.client.get("/queue"), 409)["code"] == "LoopError"
        service.refused(service.client.get("/queue/0123456789abcdef/thumbnail"), 404)
        nan = b'{"action": "accept", "above": NaN}'
        service.refused(service.client.post("/queue/actions", content=nan), 400)
        service.refused(service.client.post("/queue/actions", content=b"0" * 1_100_000), 413)


def test_few_queues_are_held(service: Service) -> None:
    queues, bench = Queues(), service.site.bench
    window = got(service, "/queue")["items"][0]["window"]
    assert queues.find(bench, window)[1] is queues.find(bench, window)[1]
    queues._held.update({str(k): (bench, {}) for k in range(HELD)})
    queues.find(bench, window)
    assert len(queues._held) == HELD
