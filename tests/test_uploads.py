"""Uploads over HTTP: through the door of ingest with the quality told; too large, cut, bombs, paths, other types."""

from __future__ import annotations

import gzip
import json
import os
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from data_kit import Service, csv_text, served, zip_of

from tsad.config.workbench import Workbench
from tsad.core.errors import JobRefusedError, UploadError, UploadTooLargeError
from tsad.core.serving import Address
from tsad.files import atomic
from tsad.files.unpack import unpack
from tsad.jobs.board import JobBoard
from tsad.service import transfers as moving
from tsad.service import uploads as module
from tsad.service.app import make_app
from tsad.service.receiving import Receiver
from tsad.service.running import running
from tsad.service.transfers import CHECKING, Transfers
from tsad.service.uploads import uploads
from tsad.tracking.assets import upload_folders
from tsad.tracking.store import open_store

pytestmark = pytest.mark.usefixtures("stocked")
Make = Callable[..., Workbench]
MB = 10**6
TRANSFER = "transfer-0001"


@pytest.fixture
def service(bench: Make) -> Iterator[Service]:
    with (made := served(bench("loop.name=plant"), uploads)).client:
        yield made


def incoming(service: Service) -> Path:
    return Path(service.site.home) / "service" / "uploads" / "incoming"


def left(service: Service) -> list[Path]:
    """Files of transfers that take room."""
    return [p for p in incoming(service).rglob("*") if p.is_file() and p.name not in ("state.json", "lock")]


def send(service: Service, *files: tuple[str, Any], **more: Any) -> Any:
    return service.client.post("/uploads", files=[("file", pair) for pair in files], **more)


def test_a_file_goes_through_the_door_and_its_quality_is_told(service: Service) -> None:
    answer = send(service, ("plant.csv", csv_text(labels=True)), params={"transfer": TRANSFER})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    kept = body["registration"]
    assert (kept["files"], kept["series"], kept["points"], kept["path"]) == (1, 1, 300, "plant.csv")
    (quality,) = kept["quality"]
    assert (quality["point_id"], quality["points"], quality["step"], quality["labels"]) == ("plant", 300, 60.0, 1)
    assert answer.headers["location"] == f"/api/v1/uploads/{kept['upload']}"
    assert body["overrides"] == ["source=csv", f"source.root={kept['root']}"]
    assert [p.name for p in Path(kept["root"]).iterdir()] == ["plant.csv"]
    bench = service.site.bench
    assert upload_folders(open_store(bench.tracking, bench.home)) == [Path(kept["root"])]
    progress = service.client.get(f"/uploads/{TRANSFER}/progress").json()
    assert (progress["state"], progress["upload"]) == ("registered", kept["upload"]) and progress["received"] > 0
    assert left(service) == [], "what was staged is gone"
    again = send(service, ("plant.csv", csv_text(labels=True)))
    assert again.json()["registration"]["upload"] == kept["upload"], "the same content is one upload"


def test_a_job_may_read_what_was_uploaded_and_write_nothing_there(service: Service) -> None:
    overrides = send(service, ("plant.csv", csv_text())).json()["overrides"]
    board = JobBoard(service.site.bench, service.site.verbs)
    try:
        assert board.submit("ingest", overrides).new
        root = overrides[1].partition("=")[2]
        for word in (f"source.root={root}/..", f"source.root={root}/plant.csv", "source.root=/etc"):
            with pytest.raises(JobRefusedError):
                board.submit("ingest", ["source=csv", word])
        with pytest.raises(JobRefusedError):
            board.submit("export", [f"output={root}/more.csv"])
    finally:
        board.close()


def test_several_files_a_zip_and_gzip_in_one_form(service: Service) -> None:
    archive = zip_of({"U1/a.csv": csv_text(200), "notes.txt": "hello", "U1/b.csv": csv_text(100)})
    files = (("more.zip", archive), ("c.csv.gz", gzip.compress(csv_text(50).encode())), ("bad.csv", "a,b\nx,y\n"))
    body = send(service, *files).json()
    kept = body["registration"]
    assert (kept["files"], kept["series"], kept["points"], kept["path"]) == (3, 3, 350, "3 files")
    assert [(f["file"], f["registered"]) for f in kept["checked"]] == [
        ("U1/a.csv", True), ("U1/b.csv", True), ("bad.csv", False), ("c.csv.gz", True),
    ]  # fmt: skip
    assert body["ignored"] == ["notes.txt"]
    assert {q["point_id"] for q in kept["quality"]} == {"U1/a", "U1/b", "c"}


def test_keys_of_the_source_come_with_the_files(service: Service) -> None:
    text = "when;reading\n01/02/2026 00:00;1,5\n01/02/2026 00:01;2,5\n01/02/2026 00:02;3,5\n"
    keys = {"decimal": ",", "time_column": "when", "time_format": "%d/%m/%Y %H:%M"}
    body = send(service, ("p.csv", text), data={"source": json.dumps(keys)}).json()
    assert body["registration"]["quality"][0]["high"] == 3.5
    assert body["registration"]["quality"][0]["start"] == "2026-02-01T00:00:00Z"
    assert 'source.decimal=","' in body["overrides"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('{"seperator": ";"}', "seperator"), ("[1]", "no JSON object"), ("{", "no JSON"),
        ('{"root": "/etc"}', "root"),
        ('{"min_points": "many"}', "min"), ('{"min_points": NaN}', "min"), ('{"labels": "/etc/x.csv"}', "labels"),
        ('{"_target_": "os.system"}', "_target_"), ("[" * 100_000, "larger"), ("[" * 9_000, "no JSON"),
    ],
)  # fmt: skip
def test_keys_that_are_none_are_refused_by_name(service: Service, keys: str, said: str) -> None:
    body = service.refused(send(service, ("p.csv", csv_text()), data={"source": keys}), 422)
    assert said in body["message"] and left(service) == []


def test_a_loop_that_cannot_be_called_so_is_refused_before_anything_is_read(service: Service) -> None:
    for name in ("a/b", "x\x01", "%"):
        service.refused(send(service, ("p.csv", csv_text()), params={"loop": name}), 422)
    body = send(service, ("p.csv", csv_text()), params={"loop": "other"}).json()
    assert body["registration"]["upload"]


@pytest.mark.parametrize(
    "name", ["../../out.csv", "/etc/cron.csv", "..\\out.csv", "a/b.csv", ".csv", "..", "a\u202eb.csv"]
)
def test_a_path_in_a_file_name_is_refused(service: Service, name: str) -> None:
    body = service.refused(send(service, (name, csv_text())), 422)
    assert body["code"] == "UploadError" and left(service) == []
    escaped = service.refused(send(service, ("a.zip", zip_of({f"../{name}": csv_text()}))), 422)
    assert escaped["code"] == "UploadError" and left(service) == []
    put = service.client.put(f"/uploads/{TRANSFER}", params={"name": name}, content=b"x")
    assert service.refused(put, 422)["code"] == "UploadError"


def test_files_of_another_type_are_refused_by_what_they_hold(service: Service) -> None:
    others = {
        "png.csv": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "excel.csv": zip_of({"xl/workbook.xml": "<a/>"}),
        "json.csv": b'{"a": [1, 2]}', "empty.csv": b"", "text.csv": b"timestamp,value\n2026-01-01,x\n2026-01-02,y\n",
        "parquet.csv": b"PAR1" + os.urandom(400) + b"PAR1", "notes.txt": b"hello",
    }  # fmt: skip
    for name, content in others.items():
        body = service.refused(send(service, (name, content)), 422)
        assert body["code"] == "UploadError" and body["message"], name
    assert left(service) == []
    body = send(service, ("good.csv", csv_text()), *others.items()).json()
    assert body["registration"]["files"] == 1 and body["ignored"] == ["notes.txt"], "the good one is taken"
    assert {f["file"] for f in body["registration"]["checked"] if f["why_not"]} == set(others) - {"notes.txt"}


def test_what_is_too_large_is_refused_as_it_comes(bench: Make) -> None:
    with (service := served(bench(), uploads, upload_gb=0.0001)).client:
        body = service.refused(send(service, ("big.csv", b"0" * 100_001)), 413)
        assert body["code"] == "UploadTooLargeError" and "100000 bytes" in body["message"] and left(service) == []
        service.refused(send(service, ("big.csv", b"0" * 3 * MB)), 413)

        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'

        def unsaid() -> Iterator[bytes]:
            yield from (head, b"0" * MB, b"0" * MB)

        kind = {"content-type": "multipart/form-data; boundary=b"}  # and no length
        service.refused(service.client.post("/uploads", content=unsaid(), headers=kind), 413)
        put = service.client.put(f"/uploads/{TRANSFER}", params={"name": "a.csv"}, content=b"0" * 100_001)
        service.refused(put, 413)
        part, where = {"content-range": "bytes 0-9/2000000000"}, f"/uploads/{TRANSFER}?name=a.csv"
        service.refused(service.client.put(where, content=b"0" * 10, headers=part), 413)
        assert left(service) == []


def test_bombs_are_stopped(service: Service) -> None:
    """A megabyte may come; these few kilobytes hold fifty."""
    zeros = b"0" * 50 * MB
    for name, content in (("a.zip", zip_of({"a.csv": zeros})), ("a.csv.gz", gzip.compress(zeros)),
                          ("b.zip", zip_of({"a.csv.gz": gzip.compress(zeros)})),
                          ("c.zip", zip_of({f"{k}.csv": b"0" * 300_000 for k in range(5)}))):  # fmt: skip
        assert len(content) < 100_000
        assert "unpacked" in service.refused(send(service, (name, content)), 413)["message"]
        assert left(service) == []
    nested = service.refused(send(service, ("n.zip", zip_of({"in.zip": zip_of({"a.csv": csv_text()})}))), 422)
    assert "*.csv" in nested["message"], "an archive in an archive is not unpacked"


def test_forms_that_are_none(service: Service) -> None:
    client, kind = service.client, "multipart/form-data; boundary=b"
    bodies = (
        (b"", kind), (b"x", "text/plain"), (b"x", "multipart/form-data"), (b"no boundary", kind), (b"--b--\r\n", kind),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n1,2\r\n', kind),
        (b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n--b--\r\n', kind),
        (b'--b\r\nContent-Disposition: form-data; name="other"; filename="a.csv"\r\n\r\n1\r\n--b--\r\n', kind),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xff.csv"\r\n\r\n1\r\n--b--\r\n', kind),
        (b'--b\r\nContent-Disposition: form-data; name="source"\r\n\r\n{}\r\n--b--\r\n', kind),
        (b"--b\r\n" + b"X: y\r\n" * 50 + b"\r\n1\r\n--b--\r\n", kind),
        (b"x", f"multipart/form-data; boundary={'b' * 300}"),
    )  # fmt: skip
    for content, content_type in bodies:
        answer = client.post("/uploads", content=content, headers={"content-type": content_type})
        assert service.refused(answer, 422)["code"] == "UploadError", content
    assert left(service) == []
    service.refused(send(service, ("a.csv", csv_text()), ("A.csv", csv_text())), 422)


def test_a_full_disk_is_said_and_leaves_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Receiver._data

    def full(self: Receiver, data: bytes, start: int, end: int) -> None:
        with atomic.storage(Path("incoming.csv")):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Receiver, "_data", full)
    body = service.refused(send(service, ("a.csv", csv_text()), params={"transfer": TRANSFER}), 507)
    assert body["code"] == "StorageError" and "Free space" in body["remedy"] and left(service) == []
    assert service.client.get(f"/uploads/{TRANSFER}/progress").json()["state"] == "refused"
    monkeypatch.setattr(Receiver, "_data", real)
    monkeypatch.setattr(moving.shutil, "disk_usage", lambda _: _Usage(10))
    service.refused(send(service, ("a.csv", csv_text())), 507)
    put = service.client.put(f"/uploads/{TRANSFER}", params={"name": "a.csv"}, content=csv_text().encode())
    service.refused(put, 507)


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_file_in_parts_goes_on_where_it_was_cut(service: Service) -> None:
    content = csv_text(400).encode()
    half, total = len(content) // 2, len(content)

    def put(start: int, stop: int, **more: Any) -> Any:
        headers = {"content-range": f"bytes {start}-{stop - 1}/{total}"}
        return service.client.put(
            f"/uploads/{TRANSFER}", params={"name": "p.csv", **more}, content=content[start:stop], headers=headers
        )

    service.refused(put(10, 20), 409)
    first = put(0, half)
    assert first.status_code == 202 and first.headers["range"] == f"bytes=0-{half - 1}"
    assert (first.json()["received"], first.json()["total"], first.json()["state"]) == (half, total, "receiving")
    gap = put(half + 5, total)
    assert service.refused(gap, 409)["remedy"] == f"Go on at byte {half}."
    assert gap.headers["range"] == f"bytes=0-{half - 1}"
    progress = service.client.get(f"/uploads/{TRANSFER}/progress").json()
    assert (progress["received"], progress["name"]) == (half, "p.csv")
    done = put(half - 10, total)  # what comes twice is written over
    assert done.status_code == 201, done.text
    kept = done.json()["registration"]
    assert kept["points"] == 400 and (Path(kept["root"]) / "p.csv").read_bytes() == content
    service.refused(put(0, half), 409)
    for wrong in ("bytes 5-2/10", "bytes 0-9/5", "bytes */10", "pieces 0-1/2", "bytes 0-1/x"):
        headers = {"content-range": wrong}
        answer = service.client.put(f"/uploads/{TRANSFER}9?name=p.csv", content=b"x", headers=headers)
        service.refused(answer, 416)


def test_a_whole_file_without_a_range(service: Service) -> None:
    answer = service.client.put(f"/uploads/{TRANSFER}", params={"name": "p.csv"}, content=csv_text().encode())
    assert answer.status_code == 201 and answer.json()["registration"]["points"] == 300
    empty = service.client.put("/uploads/transfer-2", params={"name": "p.csv"}, content=b"")
    service.refused(empty, 422)


def test_progress_of_what_is_not_there(service: Service) -> None:
    service.refused(service.client.get("/uploads/never-begun/progress"), 404)
    for name in ("..%2f..%2fetc", "short", "a b c d e f g h"):
        assert service.client.get(f"/uploads/{name}/progress").status_code in (404, 422)


def test_one_request_works_on_a_transfer_at_a_time(service: Service) -> None:
    with Transfers(incoming(service)).working(TRANSFER):
        body = service.refused(send(service, ("a.csv", csv_text()), params={"transfer": TRANSFER}), 409)
    assert body["code"] == "InUseError"


def test_a_check_that_was_killed_is_told_and_may_be_begun_again(service: Service) -> None:
    transfers, content = Transfers(incoming(service)), csv_text().encode()
    with transfers.working(TRANSFER) as place:
        place.begin("p.csv", len(content))
        place.append("p.csv", 0, content)
        place.say(CHECKING)
        state = service.client.get(f"/uploads/{TRANSFER}/progress").json()
        assert (state["state"], state["received"]) == ("checking", len(content)), "somebody works on it"
    state = service.client.get(f"/uploads/{TRANSFER}/progress").json()
    assert state["state"] == "refused" and "send it again" in state["problem"], "nobody does any more"
    done = service.client.put(f"/uploads/{TRANSFER}?name=p.csv", content=content)
    assert done.status_code == 201 and left(service) == []


def test_transfers_that_nobody_comes_back_to_are_forgotten(service: Service) -> None:
    headers = {"content-range": "bytes 0-0/9"}
    service.client.put(f"/uploads/{TRANSFER}?name=p.csv", content=b"1", headers=headers)
    place = incoming(service) / TRANSFER
    old = time.time() - moving.STALE - 60
    for path in (place, *place.rglob("*")):
        os.utime(path, (old, old))
    send(service, ("a.csv", csv_text()))
    assert not place.exists()


def test_an_upload_that_is_cut_in_the_middle(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a real socket: of a form nothing stays, of a file in parts what has come does."""
    monkeypatch.setattr(module, "IDLE", 0.5)
    service = served(bench(), uploads, upload_gb=0.1)
    head = "{} HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\nContent-Length: 5000000\r\n\r\n"
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    with running(make_app(uploads(service.site)), Address("127.0.0.1", 0)) as url:
        port = int(url.rpartition(":")[2])
        for end in ("close", "silence"):
            for path, kind, start in (
                (f"POST /uploads?transfer=form-{end}-0", "multipart/form-data; boundary=b", form),
                (f"PUT /uploads/part-{end}-0?name=a.csv", "application/octet-stream", b""),
            ):
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    connection.sendall(head.format(path, kind).encode() + start + b"1" * 2_000_000)
                    if end == "silence":
                        assert b" 408 " in connection.recv(65536).partition(b"\r\n")[0]
        transfers = Transfers(incoming(service))
        until = time.monotonic() + 10
        while time.monotonic() < until:
            states = {name: transfers.find(name) for name in ("form-close-0", "form-silence-0")}
            if all(s is not None and s.state == "refused" for s in states.values()):
                break
            time.sleep(0.05)
        assert {s.state for s in states.values() if s} == {"refused"}
        assert "cut" in str(states["form-close-0"] and states["form-close-0"].problem)
        for name in ("part-close-0", "part-silence-0"):
            stands = transfers.find(name)
            assert stands is not None and stands.state == "receiving" and 1_000_000 <= stands.received <= 2_000_000
            assert stands.total == 5_000_000
        assert {p.parent.parent.name for p in left(service)} == {"part-close-0", "part-silence-0"}


def test_a_zip_of_another_method_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.csv", b"0\n" * 5_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(UploadError, match="another method"):
        unpack(path, tmp_path / "out", 10**9)


def test_a_table_of_contents_of_millions_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(40):
            archive.writestr(f"{number}.csv", b"")
    monkeypatch.setattr("tsad.files.unpack.MOST_FILES", 3)
    with pytest.raises(UploadTooLargeError, match="too many files"):
        unpack(path, tmp_path / "out", 10**9)
