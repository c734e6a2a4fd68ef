"""Exports of approved data, files of jobs, schemas of verbs and what the service runs on, over HTTP."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_kit import Service, served
from jobs_kit import Said, at_work, board  # noqa: F401 - a fixture
from test_data import make, plant
from test_service_data import SMALL

from tsad.config.workbench import Workbench
from tsad.core.context import Context
from tsad.jobs.board import JobBoard
from tsad.loop.datasets import fetch
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.service import system as system_module
from tsad.service.data import data
from tsad.service.downloads import archive
from tsad.service.exports import exports
from tsad.service.results import results
from tsad.service.schemas import schemas
from tsad.service.system import system
from tsad.steps.export import export_dataset


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A store with one finished iteration, of which every test of this module writes exports."""
    place = tmp_path_factory.mktemp("exports")
    plant(place / "plant", ["U1.T0", "U1.T1", "=U2.T2"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSAD_HOME", str(place / "store"))
        bench = make(f"source.root={place / 'plant'}", *SMALL, "sampling.windows=4")
        iterate(bench)
        with (made := served(bench, exports, data)).client:
            yield made


def write(service: Service, **body: Any) -> Any:
    return service.client.post("/exports", json=body)


def test_an_export_holds_what_people_have_approved_and_is_downloaded(service: Service) -> None:
    answer = write(service, format="csv")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    file = service.client.get(answer.headers["location"].removeprefix("/api/v1"))
    assert file.status_code == 200 and file.headers["content-disposition"].startswith("attachment;")
    assert (file.headers["x-content-type-options"], file.headers["content-security-policy"]) == ("nosniff", "sandbox")
    assert file.content == Path(made["path"]).read_bytes()
    rows = list(csv.DictReader(io.StringIO(file.text)))
    loop = open_loop(service.site.bench)
    version = fetch(loop, made["dataset"])
    assert all(window.usable for window in version.windows) and len(rows) == made["rows"] > 0
    approved = {(w.window.point_id, i.label) for w in version.windows for i in w.intervals}
    assert {(r["point_id"].lstrip("'"), r["label"]) for r in rows} == approved
    listed = service.client.get("/exports", params={"name": made["export"]}).json()["items"]
    assert [(e["export"], e["file_is"], e["loop"]) for e in listed] == [(made["export"], "there", "plant")]
    again = write(service, format="csv", dataset=made["dataset"][:8]).json()
    assert again == made, "the same twice is one export"
    assert [p.name for p in Path(made["path"]).parent.iterdir()] == [Path(made["path"]).name], "nothing half-written"


def test_exports_as_label_studio_json_and_of_the_gold_set(service: Service) -> None:
    gold = service.client.get("/datasets", params={"sort": "purpose"}).json()["items"][0]
    assert gold["purpose"] == "gold"
    made = write(service, format="label_studio", dataset=gold["version"]).json()
    tasks = service.client.get(f"/exports/{made['export']}/file").json()
    assert len(tasks) == made["rows"] == gold["windows"]


def test_pictures_beside_an_export_come_as_an_archive(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write(service, format="csv").json()
    path = Path(made["path"])
    beside = path.parent / "images"
    beside.mkdir()
    (beside / "a.png").write_bytes(b"picture")
    try:
        answer = service.client.get(f"/exports/{made['export']}/file")
        assert answer.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
            assert sorted(packed.namelist()) == sorted(["images/a.png", path.name])
            assert packed.read("images/a.png") == b"picture" and packed.testzip() is None
    finally:
        (beside / "a.png").unlink()
        beside.rmdir()


def test_rows_for_another_trainer(service: Service) -> None:
    answer = write(service, format="chatts")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    name = Path(made["path"]).name
    with zipfile.ZipFile(io.BytesIO(service.client.get(f"/exports/{made['export']}/file").content)) as packed:
        assert set(packed.namelist()) == {name, "dataset_info.json"}
        lines = packed.read(name).decode().splitlines()
    assert len(lines) == made["rows"] and all(json.loads(line) for line in lines)


def test_what_cannot_be_exported_or_downloaded(service: Service, tmp_path: Path) -> None:
    for body in ({}, {"format": "pdf"}, {"format": "csv", "dataset": "../x"}, {"format": "csv", "output": "/etc/x"},
                 {"format": ["csv"]}, {"format": "csv", "dataset": None}):  # fmt: skip
        service.refused(service.client.post("/exports", json=body), 422)
    service.refused(service.client.post("/exports", content=b'{"format": NaN}'), 400)
    service.refused(write(service, format="csv", dataset="0" * 16), 404)
    service.refused(service.client.post("/exports", json={"format": "csv"}, params={"loop": "other"}), 404)
    for name in ("nothing", "..", "*"):
        assert service.client.get(f"/exports/{name}/file").status_code == 404
    elsewhere = export_dataset(service.site.bench, str(tmp_path / "own.csv"), "csv", "latest")
    body = service.refused(service.client.get(f"/exports/{elsewhere.export}/file"), 409)
    assert "elsewhere" in body["message"] and str(tmp_path) not in body["message"]


def test_a_changed_file_is_not_given_out(service: Service) -> None:
    made = write(service, format="csv").json()
    path = Path(made["path"])
    before = path.read_bytes()
    path.write_bytes(before + b"more")
    assert "changed" in service.refused(service.client.get(f"/exports/{made['export']}/file"), 409)["message"]
    path.write_bytes(before)
    assert service.client.delete(f"/exports/{made['export']}").status_code == 200
    assert not path.exists()
    service.refused(service.client.get(f"/exports/{made['export']}/file"), 404)


def test_a_full_disk_leaves_no_half_export(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tsad.steps.export._write_csv", full)
    gold = service.client.get("/datasets", params={"sort": "purpose"}).json()["items"][0]["version"]
    assert service.refused(write(service, format="csv", dataset=gold), 507)["code"] == "StorageError"
    folder = Path(service.site.home) / "service" / "exports"
    assert not [p for p in folder.rglob("*") if p.is_file() and f"{gold[:8]}-csv" in p.name]


# --- files of jobs ------------------------------------------------------------------------------------------


@pytest.fixture
def done(board: JobBoard) -> str:  # noqa: F811
    """A job that has ended, with its log and a run that it made."""
    job_id = board.submit("report").job.id
    with at_work(board, job_id) as work:
        loop = open_loop(replace(board.bench, context=Context(job=job_id)))
        with loop.adding("REPORT", {"tsad.kind": "run"}) as run:
            run.json({"figures": [1, 2]}, "tables/figures.json")
            run.result({"x": 1})
        work.answered(Said("fine"))
    return job_id


def of_jobs(board: JobBoard) -> Service:  # noqa: F811
    return served(board.bench, lambda _: results(board))


def test_files_of_a_job_one_by_one_and_as_an_archive(board: JobBoard, done: str) -> None:  # noqa: F811
    with (service := of_jobs(board)).client:
        listed = service.client.get(f"/jobs/{done}/results").json()
        names = [file["name"] for file in listed["items"]]
        table = next(name for name in names if name.endswith("/tables/figures.json"))
        assert "answer.json" in names and table.startswith("report-") and listed["total"] == len(names)
        assert all(file["bytes"] > 0 for file in listed["items"] if file["name"].endswith(".json"))
        answer = service.client.get(f"/jobs/{done}/results/answer.json")
        assert answer.json()["words"] == "fine" and "attachment" in answer.headers["content-disposition"]
        assert service.client.get(f"/jobs/{done}/results/{table}").json() == {"figures": [1, 2]}
        packed = service.client.get(f"/jobs/{done}/results.zip")
        assert packed.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(packed.content)) as content:
            assert sorted(content.namelist()) == sorted(names) and content.testzip() is None
            assert json.loads(content.read(table)) == {"figures": [1, 2]}
        none = "0" * 32
        for path in (f"{done}/results/nothing", f"{done}/results/../../mlflow.db", f"{none}/results.zip",
                     f"{done}/results/..%2f..%2fmlflow.db", f"{none}/results"):  # fmt: skip
            service.refused(service.client.get(f"/jobs/{path}"), 404)
        service.refused(service.client.get("/jobs/x/results"), 422)


def test_ended_jobs_are_deleted_in_a_batch_all_or_none(board: JobBoard, done: str) -> None:  # noqa: F811
    waiting = board.submit("report", ["loop.name=other"]).job.id
    with (service := of_jobs(board)).client:
        ask = service.client.post
        service.refused(ask("/jobs/delete", json={"ids": [done, waiting]}), 409)
        assert board.get(done).state == "succeeded"
        service.refused(ask("/jobs/delete", json={"ids": [done, "0" * 32]}), 404)
        for body in ({"ids": []}, {"ids": ["x"]}, {"ids": done}, {}, {"ids": [done], "force": True}):
            service.refused(ask("/jobs/delete", json=body), 422)
        assert ask("/jobs/delete", json={"ids": [done, done]}).json() == {"deleted": [done]}
        service.refused(service.client.get(f"/jobs/{done}/results"), 404)


def test_an_archive_is_made_piece_by_piece(tmp_path: Path) -> None:
    """Forty megabytes that do not shrink: no piece of the archive is much larger than one of theirs."""
    import os

    (tmp_path / "big").write_bytes(os.urandom(8_000_000))
    from tsad.service.downloads import lying

    response = archive(((f"{k}", lying(tmp_path / "big")) for k in range(5)), "x.zip")
    import asyncio

    async def sizes() -> list[int]:
        return [len(piece) async for piece in response.body_iterator]

    lengths = asyncio.run(sizes())
    assert sum(lengths) > 40_000_000 and max(lengths) < 3_000_000


# --- schemas, system ----------------------------------------------------------------------------------------


def test_schemas_of_verbs(bench: Callable[..., Workbench]) -> None:
    with (service := served(bench(), schemas)).client:
        names = service.client.get("/schema").json()["verbs"]
        assert {"train", "detect", "iterate"} <= set(names)
        train = service.client.get("/schema/train").json()
        assert train["title"] == "tsad train" and train["properties"]["adapter"]["properties"]["r"]["minimum"] == 1
        assert service.client.get("/schema/train").json() == train
        for name in ("nothing", "..", "os.system"):
            assert service.client.get(f"/schema/{name}").status_code == 404


NVIDIA = """#!/bin/sh
echo "0, NVIDIA H200, 143771, 1024, 37, 570.1"
echo "1, NVIDIA H200, [N/A], 0, [N/A], 570.1"
"""


def test_what_the_service_runs_on(
    bench: Callable[..., Workbench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA)
    program.chmod(0o755)
    monkeypatch.setattr(system_module.shutil, "which", lambda _: str(program))
    with (service := served(bench(), system)).client:
        info = service.client.get("/system/info").json()
        assert info["packages"]["mlflow"] and "torch" in info["packages"] and info["python"].count(".") == 2
        assert 0 < info["disk_free"] <= info["disk"] and 0 < info["process_memory"] < info["memory"]
        assert [d["name"] for d in info["devices"]] == ["NVIDIA H200"] * 2
        assert (info["devices"][0]["memory"], info["devices"][0]["busy"]) == (143771 * 2**20, 0.37)
        assert info["devices"][1]["memory"] is None and info["devices"][1]["busy"] is None
        program.write_text("#!/bin/sh\nexit 1\n")
        assert service.client.get("/system/info").json()["devices"] == info["devices"], "looked at a moment ago"
    assert system_module.devices() == ()
    monkeypatch.setattr(system_module.shutil, "which", lambda _: None)
    assert system_module.devices() == ()
