"""What the store holds, over HTTP: listed in pages, told of, read, drawn, deleted where nobody needs it."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from data_kit import Service, csv_text, served
from test_data import POINTS, make, plant

from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.service.data import data
from tsad.service.series import series
from tsad.service.uploads import uploads
from tsad.tracking.assets import UPLOAD, assets

SMALL = (
    "review=simulated", "source=csv", "detector=robust_zscore", "windows.length=200", "sampling.windows=6",
    "loop.iterations=1", "loop.fresh=false", "tracking.plots=0", "gold.resamples=100", "threshold.default=0.9",
    "loop.name=plant", "cache.memory_mb=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A store with one finished iteration over four CSV series and two uploads, asked by all tests of this module."""
    place = tmp_path_factory.mktemp("service")
    plant(place / "plant", ["U1.T0", "U1.T1", "U2.T2", "U2/温度"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSAD_HOME", str(place / "store"))
        bench = make(f"source.root={place / 'plant'}", *SMALL)
        iterate(bench)
        made = served(bench, uploads, data, series, upload_gb=0.01)
        with made.client:
            for name, rows in (("first.csv", 300), ("second.csv", 400)):
                answer = made.client.post("/uploads", files=[("file", (name, csv_text(rows, labels=rows == 400)))])
                assert answer.status_code == 201, answer.text
            yield made


def got(service: Service, path: str, **params: Any) -> Any:
    answer = service.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_series_in_pages_by_name_source_and_order(service: Service) -> None:
    whole = got(service, "/series")
    assert (whole["total"], whole["limit"], whole["offset"]) == (6, 50, 0) and len(whole["items"]) == 6
    first, rest = got(service, "/series", limit=2), got(service, "/series", limit=5, offset=2)
    assert first["items"] + rest["items"] == whole["items"] and first["total"] == rest["total"] == 6
    assert got(service, "/series", offset=100)["items"] == []
    assert {s["point"] for s in got(service, "/series", name="U1.*")["items"]} == {"U1.T0", "U1.T1"}
    assert [s["point"] for s in got(service, "/series", name="U2/温度")["items"]] == ["U2/温度"]
    assert {s["point"] for s in got(service, "/series", source="upload")["items"]} == {"first", "second"}
    by_points = [s["points"] for s in got(service, "/series", sort="-points")["items"]]
    assert by_points == sorted(by_points, reverse=True) and by_points[-1] == 300
    assert got(service, "/series", sort="labels")["items"][-1]["point"] == "first", "unlabelled: no value, so last"


@pytest.mark.parametrize("kind", ["series", "uploads", "datasets", "exports"])
def test_lists_refuse_what_they_do_not_take(service: Service, kind: str) -> None:
    wrong = ({"limit": 0}, {"limit": 501}, {"limit": "many"}, {"offset": -1}, {"sort": "nothing"}, {"limit": "NaN"})
    for params in wrong:
        service.refused(service.client.get(f"/{kind}", params=params), 422)
    assert got(service, f"/{kind}", name="nothing*")["items"] == []


def test_uploads_and_datasets_are_listed_and_told_of(service: Service) -> None:
    listed = got(service, "/uploads", sort="-points")["items"]
    assert [u["of"] for u in listed] == ["second.csv", "first.csv"]
    assert got(service, "/uploads", name="first.csv")["items"][0] == listed[1]
    told = got(service, f"/uploads/{listed[0]['upload']}")
    assert [m["point"] for m in told["members"]] == ["second"] and told["plot"] is None
    datasets = got(service, "/datasets", loop="plant")["items"]
    assert {d["purpose"] for d in datasets} == {"train", "gold"} and got(service, "/datasets", loop="x")["total"] == 0
    told = got(service, f"/datasets/{datasets[0]['version']}")
    assert sum(p["windows"] for p in told["points"]) == datasets[0]["windows"]
    for path in ("/uploads/000000000000", "/datasets/0000", "/exports/x", f"/uploads/{listed[0]['upload'][:6]}"):
        service.refused(service.client.get(path), 404)


def test_points_in_pages_between_two_moments(service: Service) -> None:
    page = got(service, "/series/U1.T0/points", limit=500)
    assert (page["total"], len(page["timestamps"]), page["next"]) == (POINTS, 500, "2026-01-01T08:20:00Z")
    assert page["timestamps"][0] == "2026-01-01T00:00:00Z" and page["channels"] == ["value"]
    seen = len(page["timestamps"])
    while page["next"]:
        page = got(service, "/series/U1.T0/points", limit=500, start=page["next"])
        seen += len(page["timestamps"])
    assert seen == POINTS
    part = got(service, "/series/U1.T0/points", start="2026-01-01T01:40:00", end="2026-01-01T02:00Z")
    assert part["total"] == 20 and all(v[0] > 2 for v in part["values"]), "the jump"
    begin, end = "2026-01-01T01:40:00Z", "2026-01-01T02:00:00Z"
    assert part["labels"] == [{"start": begin, "end": end, "label": "Anomaly", "score": 1.0, "note": ""}]
    assert got(service, "/series/U2/温度/points", limit=1)["point_id"] == "U2/温度"
    assert got(service, "/series/U1.T0/points", loop="plant", limit=1)["total"] == POINTS
    upload = got(service, "/uploads", name="second.csv")["items"][0]["upload"]
    own = got(service, "/series/second/points", upload=upload, limit=2)
    assert own["values"] == [[0.0], [1.0]] and own["total"] == 400


def test_points_of_a_loop_s_source(service: Service) -> None:
    whole = got(service, "/source/points", loop="plant")
    assert [p["point"] for p in whole["items"]] == ["U1.T0", "U1.T1", "U2.T2", "U2/温度"]
    assert whole["items"][0]["source"].startswith("csv:") and whole["total"] == 4
    assert [p["point"] for p in got(service, "/source/points", loop="plant", name="U2*", limit=1)["items"]] == ["U2.T2"]
    assert {s["point"] for s in got(service, "/series", loop="plant")["items"]} == {p["point"] for p in whole["items"]}
    service.refused(service.client.get("/source/points", params={"loop": "other"}), 404)
    service.refused(service.client.get("/series", params={"loop": "other"}), 404)


def test_points_that_cannot_be_had(service: Service) -> None:
    ask = service.client.get
    service.refused(ask("/series/nothing/points"), 404)
    service.refused(ask("/series/nothing/points", params={"loop": "plant"}), 404)
    service.refused(ask("/series/U1.T0/points", params={"upload": "000000000000"}), 404)
    service.refused(ask("/series/U1.T0/preview", params={"source": "elsewhere"}), 404)
    for params in ({"start": "yesterday"}, {"start": "2026-01-02", "end": "2026-01-01"}, {"limit": 0}, {"limit": 10**6},
                   {"start": "9999-01-01"}, {"end": "1-1-1"}, {"start": "2030-01-01"}, {"start": "NaN"}):  # fmt: skip
        service.refused(ask("/series/U1.T0/points", params=params), 422)


def test_a_preview_has_the_first_rows_and_few_points_that_look_like_all(service: Service) -> None:
    shown = got(service, "/series/U1.T0/preview", rows=3, points=100)
    assert (shown["points"], shown["step"], len(shown["first"]["values"])) == (POINTS, 60.0, 3)
    assert 50 <= len(shown["plot"]["values"]) <= 200 and shown["plot"]["total"] == POINTS
    whole = [v[0] for v in got(service, "/series/U1.T0/points")["values"]]
    few = [v[0] for v in shown["plot"]["values"]]
    assert (min(few), max(few)) == (min(whole), max(whole)) and len(shown["plot"]["labels"]) == 2
    assert (shown["start"], shown["end"]) == ("2026-01-01T00:00:00Z", "2026-01-01T20:00:00Z")


def test_a_picture_is_svg_that_runs_nothing(service: Service) -> None:
    answer = service.client.get("/series/U2/温度/picture")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    root = ET.fromstring(answer.text)
    words = " ".join(str(e.text) for e in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "U2/温度" in words and "1,200 points" in words
    marks = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("fill-opacity") == "0.45"]
    assert len(marks) == 2
    span = {"start": "2026-01-01T10:00:00", "end": "2026-01-01T11:00"}
    part = service.client.get("/series/U1.T0/picture", params=span)
    assert "60 points" in part.text


def test_missing_values_are_null(service: Service) -> None:
    text = csv_text(50).replace(",3\n", ",\n", 1)
    upload = service.client.post("/uploads", files=[("file", ("holes.csv", text))]).json()["registration"]["upload"]
    values = [v[0] for v in got(service, "/series/holes/points", upload=upload)["values"]]
    assert values.count(None) == 1 and all(v is None or math.isfinite(v) for v in values)
    assert service.client.delete(f"/uploads/{upload}").status_code == 200


def test_keys_that_an_upload_came_with_are_used_whenever_it_is_read(service: Service) -> None:
    text = "when;reading\n" + "".join(f"0{k}/02/2026 00:00;{k},5\n" for k in range(1, 9))
    keys = '{"decimal": ",", "time_column": "when", "time_format": "%d/%m/%Y %H:%M"}'
    body = service.client.post("/uploads", files=[("file", ("odd.csv", text))], data={"source": keys}).json()
    upload = body["registration"]["upload"]
    page = got(service, "/series/odd/points", upload=upload)
    assert page["values"][0] == [1.5] and page["timestamps"][-1] == "2026-02-08T00:00:00Z"
    assert service.client.delete(f"/uploads/{upload}").status_code == 200


def test_what_is_in_use_stays_with_409(service: Service) -> None:
    datasets = {d["purpose"]: d["version"] for d in got(service, "/datasets")["items"]}
    body = service.refused(service.client.delete(f"/datasets/{datasets['gold']}"), 409)
    assert body["code"] == "InUseError" and "gold set" in body["message"]
    service.refused(service.client.delete(f"/datasets/{datasets['gold']}", params={"force": True}), 409)
    many = service.client.post("/datasets/delete", json={"names": list(datasets.values())})
    service.refused(many, 409)
    assert got(service, "/datasets")["total"] == 2, "all of it or nothing"
    dry = service.client.post("/datasets/delete", json={"names": list(datasets.values()), "dry_run": True}).json()
    assert all(item["refused"] for item in dry["items"]) and dry["dry_run"]


def test_deleting_takes_names_in_full(service: Service) -> None:
    names = []
    for k in range(3):
        answer = service.client.post("/uploads", files=[("file", (f"gone{k}.csv", csv_text(60 + k)))])
        names.append(answer.json()["registration"]["upload"])
    for name in ("*", names[0][:6], "%2A", "gone0.csv"):
        service.refused(service.client.delete(f"/uploads/{name}"), 404)
    service.refused(service.client.post("/uploads/delete", json={"names": [names[0], "nothing"]}), 404)
    dry = service.client.delete(f"/uploads/{names[0]}", params={"dry_run": True}).json()
    assert [i["name"] for i in dry["items"]] == [names[0]]
    assert len(assets(open_loop(service.site.bench), UPLOAD)) == 5, "nothing has gone yet"
    assert service.client.delete(f"/uploads/{names[0]}").status_code == 200
    done = service.client.post("/uploads/delete", json={"names": names[1:]}).json()
    assert [i["goes"] for i in done["items"]] == ["files and record"] * 2
    assert {u["of"] for u in got(service, "/uploads")["items"]} == {"first.csv", "second.csv"}
    service.refused(service.client.delete(f"/uploads/{names[0]}"), 404)


def test_series_of_several_sources_are_told_apart(service: Service) -> None:
    answer = service.client.post("/uploads", files=[("file", ("U1.T0.csv", csv_text(70)))])
    upload = answer.json()["registration"]["upload"]
    service.refused(service.client.get("/series/U1.T0/points"), 422)
    service.refused(service.client.delete("/series/U1.T0"), 422)
    assert got(service, "/series/U1.T0/points", upload=upload)["total"] == 70
    assert got(service, "/series/U1.T0/points", source="/plant")["total"] == POINTS
    service.refused(service.client.delete("/series/U1.T0", params={"source": f"upload {upload}"}), 409)
    assert service.client.delete(f"/uploads/{upload}").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422), ({"names": []}, 422), ({"names": "x"}, 422), ({"names": [1]}, 422),
        ({"names": ["x"], "force": 1}, 422),
        ({"names": ["x"], "forced": True}, 422), ({"names": ["x"] * 1001}, 422), ([1], 400), ("x", 400), (None, 400),
    ],
)  # fmt: skip
def test_bodies_that_do_not_fit_are_refused(service: Service, body: Any, status: int) -> None:
    service.refused(service.client.post("/uploads/delete", json=body), status)


def test_bodies_that_are_no_json_or_too_large(service: Service) -> None:
    ask = service.client.post
    for content in (b"", b"{", b'{"names": ["x"], "force": NaN}', b"\xff", b"[" * 100_000):
        service.refused(ask("/uploads/delete", content=content), 400)
    service.refused(ask("/uploads/delete", content=b'{"names": ["' + b"x" * 2_000_000 + b'"]}'), 413)


def test_the_description_names_every_endpoint_and_answer(service: Service) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    assert {"/series", "/series/{point}/points", "/uploads/{transfer}/progress", "/datasets/delete"} <= set(paths)
    for path, methods in paths.items():
        for method, said in methods.items():
            assert {"401", "422"} <= set(said["responses"]), (path, method)


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom tsad.config import compose, settings, workbench\nfrom data_kit import served, csv_text\n"
        "from tsad.service.uploads import uploads\nfrom tsad.service.data import data\n"
        "from tsad.service.series import series\n"
        "s = served(workbench(settings(compose(()), ())), uploads, data, series)\n"
        "assert s.client.post('/uploads', files=[('file', ('a.csv', csv_text()))]).status_code == 201\n"
        "for path in ('/series', '/uploads', '/datasets', '/exports', '/series/a/points', '/series/a/preview', "
        "'/series/a/picture'):\n    assert s.client.get(path).status_code == 200, path\n"
        "print(sorted({'torch', 'sklearn', 'matplotlib', 'transformers'} & set(sys.modules)))\n"
    )
    root = Path(__file__).resolve().parents[1]
    path = f"{root}:{root / 'tests'}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "TSAD_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"
