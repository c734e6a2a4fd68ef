"""Predictions over HTTP by a real champion in a process of its own: answers, refusals, lines, history, streaming."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from predict_kit import (
    LOOP,
    MODEL,
    TOKEN,
    WORDS,
    Served,
    asked,
    bench_of,
    new_champion,
    plant,
    plant_home,
    refused,
    served,
    serving,
    wave,
)

from tsad.config.workbench import Workbench
from tsad.core.serving import Bounds
from tsad.core.types import NS_PER_SECOND
from tsad.loop.champion import load_registered, registry_of
from tsad.loop.opening import open_loop
from tsad.sources.validate import RawSeries, validate

__all__ = ["plant", "plant_home", "served"]
pytestmark = pytest.mark.timeout(300)
FAULTS: dict[str, tuple[Any, int]] = {
    "no JSON": (b"{", 400), "no text": (b"\xff\xfe", 400), "NaN": (b'{"values": [1, NaN, 2]}', 422),
    "no object": (b"[1]", 422), "deep": (b"[" * 10_000, 400), "nothing": (b"", 400),
    "an unknown key": ({"values": [1, 2], "valeus": [3]}, 422), "no values": ({"point_id": "x"}, 422),
    "text": ({"values": ["1", "2"]}, 422), "a flag": ({"values": [True, False]}, 422),
    "too few": ({"values": [1.0]}, 422), "none": ({"values": []}, 422), "all missing": ({"values": [None, None]}, 422),
    "ragged": ({"values": [[1, 2], [3]]}, 422), "empty rows": ({"values": [[], []]}, 422),
    "times of another length": ({"values": [1, 2, 3], "timestamps": [1, 2]}, 422),
    "no times": ({"values": [1, 2, 3], "timestamps": []}, 422),
    "mixed times": ({"values": [1, 2], "timestamps": [1, "x"]}, 422),
    "no time": ({"values": [1, 2], "timestamps": ["yesterday", "today"]}, 422),
    "far times": ({"values": [1, 2], "timestamps": [1e30, 2e30]}, 422),
    "huge times": (b'{"values": [1, 2], "timestamps": [' + b"9" * 400 + b", 1]}", 422),
    "time without times": ({"values": [1, 2], "time_kind": "time"}, 422),
    "names of other channels": ({"values": [1, 2], "channels": ["a", "b"]}, 422),
    "twice a name": ({"values": [[1, 2], [3, 4]], "channels": ["a", "a"]}, 422),
    "no such loop": ({"values": [1, 2], "loop": "nowhere"}, 404),
    "no such version": ({"values": [1, 2], "version": 99}, 404),
    "no previous": ({"values": [1, 2], "version": "previous"}, 404),
    "no name of a version": ({"values": [1, 2], "version": "best; DROP"}, 422),
    "version 0": ({"values": [1, 2], "version": 0}, 422),
    "a number for a name": ({"values": [1, 2], "point_id": 5}, 422),
    "another language": ({"values": [1, 2], "language": "de"}, 422),
}  # fmt: skip


def expected(served: Served, values: list[float | None]) -> list[tuple[int, int]]:
    """What the champion says of these values, asked directly in this process."""
    bench = bench_of(*WORDS)
    registry = registry_of(bench, open_loop(bench))
    champion = registry.alias("champion")
    assert champion is not None
    stamps = (np.arange(len(values)) * 60 + 1_767_225_600) * NS_PER_SECOND
    rows = np.array([np.nan if v is None else v for v in values])
    (made,) = load_registered(bench, registry, champion).detections([validate(RawSeries("x", stamps, rows))])
    return [(i.start // NS_PER_SECOND, i.end // NS_PER_SECOND) for i in made.intervals]


def seconds(text: str) -> int:
    return int(np.datetime64(text.removesuffix("Z"), "s").astype(int))


def spans(answer: dict[str, Any]) -> list[tuple[int, int]]:
    return [(seconds(i["start"]), seconds(i["end"])) for i in answer["intervals"]]


def test_an_answer_says_what_the_champion_says_and_who_that_is(served: Served) -> None:
    answer = served.post("/predict", json=asked(scores=True)).json()
    assert spans(answer) == expected(served, wave()) != []
    assert answer["model_version"] == answer["origin"]["model_version"] == f"{MODEL}:1"
    assert set(answer["origin"]) == {"detector", "model_version", "dataset_version", "config_hash"}
    assert (answer["loop"], answer["point_id"], answer["points"]) == (LOOP, "U1.TI1001.PV", 512)
    assert len(answer["scores"]) == 512 and 0 <= min(answer["scores"]) <= max(answer["scores"]) <= 1
    assert 0 < answer["seconds"] < 60 and answer["explanations"] is None and answer["notes"] == {}
    by_number = served.post("/predict", json=asked(version=1)).json()
    assert by_number["intervals"] == answer["intervals"] and by_number["scores"] is None
    as_text = served.post("/predict", json=asked(version="1", loop=LOOP)).json()
    assert as_text["intervals"] == answer["intervals"]


def test_times_are_iso_or_seconds_or_an_index_and_gaps_are_null(served: Served) -> None:
    values = wave()
    values[100:120] = [None] * 20
    by_seconds = served.post("/predict", json=asked(values=values)).json()
    assert by_seconds["notes"] == {"missing": 20, "longest_missing_run": 20} and spans(by_seconds)
    iso = [str(np.datetime64(1_767_225_600 + 60 * k, "s")) + "+00:00" for k in range(512)]
    by_iso = served.post("/predict", json=asked(values=values, timestamps=iso)).json()
    assert by_iso["intervals"] == by_seconds["intervals"]
    index = served.post("/predict", json={"values": values}).json()
    assert index["start"] == "0" and index["end"] == "511"
    assert [int(i["start"]) * 60 for i in index["intervals"]] == [s - 1_767_225_600 for s, _ in spans(by_seconds)]
    several = served.post("/predict", json=asked(values=[[v, 0.0] for v in wave()], channels=["T", "P"]))
    assert several.status_code == 200 and several.json()["notes"] == {"constant_channels": 1}
    backwards = served.post("/predict", json={"values": [1.0, 2.0, 3.0], "timestamps": [3, 2, 2]}).json()
    assert backwards["notes"] == {"backward_steps": 1, "duplicates_dropped": 1} and backwards["points"] == 2


def test_why_on_request(served: Served) -> None:
    answer = served.post("/predict", json=asked(explain=True)).json()
    assert len(answer["explanations"]) == len(answer["intervals"]) > 0
    (first, *_), (interval, *_) = answer["explanations"], answer["intervals"]
    assert first["proposed"] and first["start"] == interval["start"] and first["reasons"]
    chinese = served.post("/predict", json=asked(explain=True, language="zh")).json()["explanations"][0]
    assert chinese["reasons"] != first["reasons"]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_refused_by_name(served: Served, fault: str) -> None:
    body, status = FAULTS[fault]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = served.post("/predict", content=content, headers={"Content-Type": "application/json"})
    told = refused(answer, status)
    assert told["message"] and told["remedy"]


def test_bodies_too_large_of_another_type_or_without_the_token(served: Served) -> None:
    large = refused(served.post("/predict", content=b"[" + b"1," * 1_200_000), 413)
    assert "2000000 bytes" in large["message"]
    for path in ("/predict", "/predict/batch"):
        refused(served.post(path, content=b"x", headers={"Content-Type": "text/html"}), 415)
    for token in ("another", "wrong"):
        with served.client(token) as http:
            for method, path in (
                ("POST", "/predict"), ("POST", "/predict/batch"), ("POST", "/predict/ndjson"), ("GET", "/predictions"),
                ("POST", "/predict/points/x"), ("DELETE", "/predict/points/x"), ("DELETE", "/predictions"),
            ):  # fmt: skip
                refused(http.request(method, f"/api/v1{path}"), 401)


def test_many_by_one_version_where_one_that_fails_stops_no_other(served: Served) -> None:
    good = {"point_id": "a", "values": wave()}
    items = [good, {"point_id": "b", "values": [1.0]}, {"point_id": "c", "values": [2.0, None, 2.0]}, good]
    answer = served.post("/predict/batch", json={"items": items, "scores": True}).json()
    first, short, calm, last = answer["items"]
    assert first["intervals"] == last["intervals"] != [] and len(first["scores"]) == 512
    assert short["point_id"] == "b" and short["error"]["code"] == "SeriesError" and short["error"]["remedy"]
    assert calm["intervals"] == [] and calm["scores"] == [0.0, 0.0, 0.0]
    for items in ([], [{"values": [1, 2]}] * 1001, None, [1], [{**good, "loop": "x"}]):  # type: ignore[list-item]
        refused(served.post("/predict/batch", json={"items": items}), 422)


def test_csv_in_and_out(served: Served) -> None:
    rows = "\n".join(f"2026-01-01T{k // 60:02}:{k % 60:02}:00Z,{v}" for k, v in enumerate(wave()))
    csv, kind = f"time,value\n{rows}\n".encode(), {"Content-Type": "text/csv; charset=utf-8"}
    answer = served.post("/predict?point_id=U1.TI1001.PV", content=csv, headers=kind).json()
    (item,) = answer["items"]
    assert item["point_id"] == "U1.TI1001.PV"
    assert item["intervals"] == served.post("/predict", json=asked()).json()["intervals"]
    table = served.post("/predict", content=csv, headers={**kind, "Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    header, line, *_ = table.text.splitlines()
    assert header == "point_id,start,end,score,label,note,model_version" and line.endswith(f"{MODEL}:1")
    assert item["intervals"][0]["start"] in line
    of_json = served.post("/predict", json=asked(), headers={"Accept": "text/csv"}).text.splitlines()
    assert of_json[1].split(",")[1:3] == line.split(",")[1:3]
    formula = served.post("/predict", json=asked(point_id="=cmd()"), headers={"Accept": "text/csv"}).text
    assert "\n'=cmd()," in formula
    for broken in (b"", b"time,value\n", b"\x00\x01\x02", b"time,value\nx,y\n", b"a,b\n1,2\n"):
        told = refused(served.post("/predict", content=broken, headers=kind), 422)
        assert "/tmp" not in told["message"] + told["remedy"]
    refused(served.post("/predict", json=asked(scores=True), headers={"Accept": "text/csv"}), 422)
    refused(served.post("/predict?version=best", content=csv, headers=kind), 422)
    refused(served.post("/predict?version=77", content=csv, headers=kind), 404)


def test_lines_are_answered_as_they_come_each_by_itself(served: Served) -> None:
    sent, step = list[float](), threading.Event()
    good = json.dumps(asked()).encode() + b"\n"

    def lines() -> Any:
        sent.append(time.monotonic())
        yield good + b"\n  \n" + b'{"values": [1, NaN]}\n'
        assert step.wait(60), "the first answers come before the last line is sent"
        yield good[:1000]
        yield good[1000:-1]

    kind = {"Content-Type": "application/x-ndjson"}
    with _Duplex(served, "/api/v1/predict/ndjson", kind) as stream:
        thread = threading.Thread(target=lambda: [stream.send(part) for part in lines()] and stream.end())
        thread.start()
        answers = [stream.line(), stream.line()]
        step.set()
        answers.append(stream.line())
        assert stream.line() == b""
        thread.join()
    first, second, last = (json.loads(a) for a in answers)
    assert first["intervals"] == last["intervals"] != [] and first["model_version"] == f"{MODEL}:1"
    assert second["line"] == 2 and second["error"]["code"] == "RequestRefused"
    assert "values" in second["error"]["message"]


class _Duplex:
    """A client that writes and reads at once, over a plain socket."""

    def __init__(self, served: Served, path: str, headers: dict[str, str]) -> None:
        import socket

        url = httpx.URL(served.url)
        self.socket = socket.create_connection((url.host, url.port or 80), timeout=120)
        own = {"Host": "x", "Authorization": f"Bearer {TOKEN}", "Transfer-Encoding": "chunked", **headers}
        head = "".join(f"{k}: {v}\r\n" for k, v in own.items())
        self.socket.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = 0
        self.rest = b""

    def __enter__(self) -> _Duplex:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> int:
        self.socket.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        return 1

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    def line(self) -> bytes:
        """The next line of the answer; b"" at its end."""
        if not self.status:
            self.status = int(self.file.readline().split()[1])
            while self.file.readline().strip():
                pass
        while b"\n" not in self.rest:
            size = int(self.file.readline() or b"0", 16)
            if not size:
                return b""
            self.rest += self.file.read(size)
            self.file.readline()
        line, _, self.rest = self.rest.partition(b"\n")
        return line


def test_who_does_not_read_its_answers_is_not_read_from(served: Served) -> None:
    line = json.dumps(asked(scores=True)).encode() + b"\n"
    with _Duplex(served, "/api/v1/predict/ndjson", {}) as stream:
        stream.socket.settimeout(3.0)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 4000:
                sent += stream.send(line)
        assert sent < 4000
    until = time.monotonic() + 60
    while served.predictor.gate.inside and time.monotonic() < until:
        time.sleep(0.1)
    assert served.predictor.gate.inside == 0, "who has gone holds no place"


def test_a_line_without_an_end_is_refused(served: Served) -> None:
    with _Duplex(served, "/api/v1/predict/ndjson", {}) as stream:
        for _ in range(3):
            stream.send(b"1" * 1_000_000)
        assert "longer than 2000000 bytes" in json.loads(stream.line())["error"]["message"]
        assert stream.line() == b""


def test_what_was_predicted_is_kept_with_its_origin_and_pruned(served: Served) -> None:
    served.post("/predict", json=asked(point_id="kept/1", scores=True))
    served.post("/predict/batch", json={"items": [asked(point_id=f"kept/{k}") | {} for k in (2, 3)]})
    until = time.monotonic() + 10
    while served.get("/predictions?point_id=kept/3").json()["total"] < 1 and time.monotonic() < until:
        time.sleep(0.05)
    page = served.get("/predictions?limit=2").json()
    assert [i["point_id"] for i in page["items"]] == ["kept/3", "kept/2"]
    assert (page["limit"], page["offset"], page["problem"], page["lost"]) == (2, 0, "", 0) and page["total"] >= 3
    (older,) = served.get("/predictions?limit=1&offset=2").json()["items"]
    assert older["point_id"] == "kept/1" and older["by"] == "predict" and older["origin"]["config_hash"]
    assert older["model_version"] == f"{MODEL}:1" and older["intervals"] and len(older["digest"]) == 16
    assert "scores" not in older and "explanations" not in older and "values" not in older
    assert served.get("/predictions?point_id=kept/2").json()["total"] == 1
    assert served.get("/predictions?model_version=x:9").json()["items"] == []
    for wrong in ("limit=0", "limit=501", "offset=-1", "since=yesterday"):
        refused(served.get(f"/predictions?{wrong}"), 422)
    folder = served.site.home / "service" / "predictions"
    (folder / "2020-01-31.jsonl").write_text('{"point_id": "old", "loop": "x"}\n')
    (folder / "notes.txt").write_text("mine")
    assert served.get("/predictions?until=2020-12-31").json()["items"] == [{"point_id": "old", "loop": "x"}]
    with served.client() as http:
        refused(http.delete("/api/v1/predictions"), 422)
        assert http.delete("/api/v1/predictions?before=2026-01-01").json() == {"days": 1, "bytes": 33}
    assert served.get("/predictions?until=2020-12-31").json()["total"] == 0 and (folder / "notes.txt").exists()
    assert served.get("/predictions").json()["total"] >= 3


def test_values_as_they_are_measured_give_the_batch_answer(served: Served) -> None:
    values, whole = wave(400), served.post("/predict", json=asked(400, values=wave(400), scores=True)).json()
    stamps = asked(400)["timestamps"]
    with served.client() as http:
        path = "/api/v1/predict/points/U1/TI 7"
        state: dict[str, dict[str, Any]] = {}
        at = 0
        for size in (200, 1, 1, 99, 12, 87):
            part = {"values": values[at : at + size], "timestamps": stamps[at : at + size], "scores": True}
            answer = http.post(path, json=part).json()
            at += size
            assert (answer["points"], answer["appended"], len(answer["scores"])) == (at, size, size)
            for change in answer["changes"]:
                if change["before"] is not None:
                    assert state.pop(change["before"]["start"]) == change["before"]
                if change["now"] is not None:
                    state[change["now"]["start"]] = change["now"]
            assert answer["proposed"] == len(state)
        assert [state[key] for key in sorted(state)] == whole["intervals"] != []
        assert answer["scores"] == whole["scores"][-87:] and answer["model_version"] == whole["model_version"]
        again = http.post(path, json=part).json()
        assert (again["points"], again["appended"], again["changes"]) == (400, 0, []), "sent twice is once"
        old = http.post(path, json={"values": [1.0, 2.0], "timestamps": [stamps[0] - 60, stamps[0]]}).json()
        assert (old["too_old"], old["appended"], old["points"]) == (1, 0, 400)
        told = refused(http.post(path, json={"values": [[1.0, 2.0]], "timestamps": [stamps[-1] + 60]}), 422)
        assert "channels" in told["message"]
        refused(http.post(path, json={"values": [1.0]}), 422)
        refused(http.post(path, json={"values": [1.0], "timestamps": [stamps[-1]], "loop": "nowhere"}), 404)
        assert http.delete(path).json()["point_id"] == "U1/TI 7"
        refused(http.delete(path), 404)


def test_the_process_that_answers_http_imports_no_torch(plant_home: Path) -> None:
    code = (
        "import sys, os, httpx\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from tsad.core.environment import set_environment\n"
        "set_environment()\n"
        "from predict_kit import WORDS, asked, bench_of, serving\n"
        "from tsad.core import environment\n"
        "before = set(sys.modules)\n"
        "with serving(bench_of(*WORDS)) as served:\n"
        "    assert served.post('/predict', json=asked(explain=True, scores=True)).status_code == 200\n"
        "    csv, kind = b'time,value\\n1,2\\n2,3\\n3,4\\n', {'Content-Type': 'text/csv'}\n"
        "    assert served.post('/predict', content=csv, headers=kind).status_code == 200\n"
        "    assert served.post('/predict/batch', json={'items': [asked()]}).status_code == 200\n"
        "    assert served.post('/predict/points/x', json=asked()).status_code == 200\n"
        "    assert served.get('/predictions').json()['total'] >= 0\n"
        "    assert served.post('/predict', json=asked(version=99)).status_code == 404\n"
        "    print(*sorted({'torch', 'transformers', 'sklearn', 'matplotlib', 'numba'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_a_process_that_is_killed_in_the_middle_is_told_and_another_takes_over(plant: Workbench) -> None:
    with serving(plant, Bounds(running=2, waiting=6, seconds=60.0, body=20_000_000)) as served:
        assert served.post("/predict", json=asked()).status_code == 200
        first = served.predictor.process.pid
        assert first is not None
        slow = {"items": [{"point_id": f"p{k}", "values": wave()} for k in range(900)]}
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(served.post, "/predict/batch", json=slow)
            _until(lambda: served.predictor.process.asked)
            time.sleep(0.3)
            os.kill(first, 9)
            told = answer.result()
        body = refused(told, 503)
        assert "has ended" in body["message"] and int(told.headers["Retry-After"]) > 0
        _until(lambda: served.predictor.process.pid not in (None, first))
        _until(lambda: served.post("/predict", json=asked()).status_code == 200)
        assert served.predictor.process.restarts == 1
        (kept,) = served.get("/predictions?limit=1").json()["items"]
        assert kept["model_version"] == f"{MODEL}:1"
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def _until(happened: Any, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it has not happened"
        time.sleep(0.05)


def test_late_work_is_told_dropped_and_fills_no_queue(plant: Workbench) -> None:
    bounds = Bounds(running=1, waiting=1, seconds=0.5, body=20_000_000)
    long = {"point_id": "long", "values": wave(600_000)}
    slow = {"items": [{"point_id": f"p{k}", "values": wave()} for k in range(900)]}
    with serving(plant, bounds) as served:
        _until(lambda: served.post("/predict", json=asked()).status_code == 200)
        with ThreadPoolExecutor(3) as threads:
            first = threads.submit(served.post, "/predict", json=long)
            _until(lambda: served.predictor.process.asked == 1)
            waiting = threads.submit(served.post, "/predict", json=asked(point_id="late"))
            _until(lambda: served.predictor.gate.inside == 2)
            many = served.post("/predict", json=asked())
            assert refused(many, 429) and many.headers["Retry-After"] == "1"
            for answer in (first.result(), waiting.result()):
                assert "no answer within 0.5 s" in refused(answer, 503)["message"]
                assert answer.headers["Retry-After"] == "1"
            assert served.predictor.process.asked == 1, "the long one goes on, and counts"
        _until(lambda: served.predictor.process.asked == 0)
        refused(served.post("/predict/batch", json=slow), 503)
        begun = time.monotonic()
        _until(lambda: served.predictor.process.asked == 0)
        assert time.monotonic() - begun < 10, "the batch stops when its time is up"
        assert served.post("/predict", json=asked(point_id="after")).status_code == 200
        _until(lambda: served.get("/predictions?point_id=after").json()["total"] == 1)
        points = [i["point_id"] for i in served.get("/predictions?limit=500").json()["items"]]
        assert not {"late", "long", "p0"} & {*points}, "nobody was told, and what had not begun never did"


def test_a_new_champion_takes_over_under_load_without_a_failed_request(plant: Workbench) -> None:
    done, answers = threading.Event(), list[tuple[int, str]]()

    def ask(served: Served) -> None:
        with served.client() as http:
            while not done.is_set():
                answer = http.post("/api/v1/predict", json=asked())
                answers.append((answer.status_code, answer.json().get("model_version", answer.text)))

    with serving(plant) as served, ThreadPoolExecutor(3) as threads:
        _until(lambda: served.post("/predict", json=asked()).status_code == 200)
        asking = [threads.submit(ask, served) for _ in range(3)]
        newest = new_champion(plant)
        _until(lambda: answers[-1:] == [(200, newest)])
        done.set()
        assert [one.result() for one in asking] == [None] * 3
        assert served.post("/predict", json=asked(version="previous")).json()["model_version"] == f"{MODEL}:1"
        assert served.post("/predict", json=asked(version=1)).json()["model_version"] == f"{MODEL}:1"
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {f"{MODEL}:1", newest}


def test_label_studio_s_backend_answers_on_the_same_app_from_the_same_process(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    form = (
        '<View><TimeSeriesLabels name="label" toName="ts"><Label value="Anomaly"/></TimeSeriesLabels>'
        '<TimeSeries name="ts" valueType="json" value="$series" timeColumn="time" timeFormat="%Y-%m-%d %H:%M:%S.%L">'
        '<Channel column="c1"/></TimeSeries></View>'
    )
    times = [f"2026-01-01 {k // 60:02}:{k % 60:02}:00.000" for k in range(512)]
    task = {"id": 5, "data": {"series": {"time": times, "c1": wave()}, "point_id": "theirs"}}
    with httpx.Client(base_url=served.url, auth=("any", TOKEN), trust_env=False, timeout=120) as http:
        for path in (f"/backend/{LOOP}", f"/backend/{LOOP}/health"):
            assert http.get(path).json() == {"status": "UP", "model_class": "tsad", "problem": False}
        assert http.post(f"/backend/{LOOP}/setup", json={}).json() == {"model_version": f"{MODEL}:1"}
        assert http.get(f"/backend/{LOOP}/versions").json()["versions"] == [f"{MODEL}:1"]
        answer = http.post(f"/backend/{LOOP}/predict", json={"tasks": [task], "label_config": form})
        picture = http.post(f"/backend/{LOOP}/predict", json={"tasks": [{"id": 6, "data": {}}], "label_config": form})
        assert "no time series" in picture.json()["results"][0]["error"]["message"]
        _until(lambda: "task 6 is not pre-annotated" in caplog.text)
        refused(http.post("/backend/nowhere/predict", json={"tasks": [task], "label_config": form}), 404)
        refused(http.post("/backend/nowhere/setup", json={}), 404)
        assert http.post("/backend/nowhere/webhook").status_code == 200
        assert http.post(f"/backend/{LOOP}/webhook").status_code == 200
    assert answer.status_code == 200, answer.text
    (made,) = answer.json()["results"]
    assert made["model_version"] == f"{MODEL}:1" and made["result"], made
    hints = sorted(path.name for path in (served.site.home / "watch").iterdir())
    assert hints == [f"{LOOP}.hint"], "and nothing is made of names that nobody knows"
    with httpx.Client(base_url=served.url, trust_env=False) as nobody:
        refused(nobody.post(f"/backend/{LOOP}/predict", json={"tasks": [task]}), 401)


def test_what_it_takes_is_described(served: Served) -> None:
    with served.client() as http:
        told = http.get("/openapi.json").json()
    body = told["paths"]["/api/v1/predict"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "text/csv"}
    assert body["application/json"]["schema"]["additionalProperties"] is False
    assert "$defs" not in json.dumps(told)
    for path in ("/api/v1/predict", "/api/v1/predict/batch", "/api/v1/predict/points/{point_id}"):
        assert {"200", "401", "404", "422", "429", "503"} <= set(told["paths"][path]["post"]["responses"])
