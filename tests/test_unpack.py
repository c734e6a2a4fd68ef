"""Names and archives that strangers hand in: a name is a name, an archive gives no more than it may."""

from __future__ import annotations

import gzip
import io
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from data_kit import zip_of

from tsad.core.errors import StorageError, UploadError, UploadTooLargeError
from tsad.files import unpack as unpacking
from tsad.files.unpack import check_gzip, plain_name, unpack


def archive(folder: Path, content: bytes) -> Path:
    path = folder / "given.zip"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["plant.csv", "U1 温度.csv", "a", "x" * 200, "..a.csv"[2:], "a..b"])
def test_names_of_files_are_taken(name: str) -> None:
    assert plain_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "  ", ".", "..", "../a.csv", "/etc/passwd", "a/b.csv", "..\\a.csv", "C:a.csv", ".hidden", "~$lock.csv",
        "a\0b", "a\nb.csv", "a\u202egnp.csv", "x" * 201, "温" * 67,
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UploadError):
        plain_name(name)


def test_an_archive_is_unpacked_as_it_lies(tmp_path: Path) -> None:
    content = zip_of({"a.csv": "1", "sub/温.csv": "22", "sub/.DS_Store": "x", "__MACOSX/a.csv": "x"})
    files = unpack(archive(tmp_path, content), tmp_path / "out", 3)
    assert [f.relative_to(tmp_path / "out").as_posix() for f in files] == ["a.csv", "sub/温.csv"]
    assert [f.read_text() for f in files] == ["1", "22"]


@pytest.mark.parametrize("name", ["../out.csv", "/abs.csv", "a/../../b.csv", "a\\..\\b.csv", "C:x.csv", "a//b.csv"])
def test_members_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as given:
        member = zipfile.ZipInfo("x")
        member.filename = name
        given.writestr(member, "1")
    with pytest.raises(UploadError):
        unpack(archive(tmp_path, held.getvalue()), tmp_path / "deep" / "out", 100)
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"given.zip"}


@pytest.mark.parametrize("spelt, read", [("utf-8", True), ("gb18030", False), ("cp850", False)])
def test_names_are_utf8_or_refused_never_guessed(tmp_path: Path, spelt: str, read: bool) -> None:
    archive, name = tmp_path / "a.zip", "温度.csv" if spelt == "gb18030" else "Kühler.csv"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("x" * len(name.encode(spelt)), b"1")  # ASCII, so the archive does not call it UTF-8
    archive.write_bytes(archive.read_bytes().replace(b"x" * len(name.encode(spelt)), name.encode(spelt)))
    if read:
        assert [path.name for path in unpack(archive, tmp_path / "out", 100)] == [name]
        return
    with pytest.raises(UploadError, match=r"a\.zip names .* in an encoding that it does not tell.*7-Zip"):
        unpack(archive, tmp_path / "out", 100)


def test_links_passwords_doubles_and_depth_are_refused(tmp_path: Path) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as given:
        member = zipfile.ZipInfo("link.csv")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        given.writestr(member, "/etc/passwd")
    with pytest.raises(UploadError, match="a link or a device"):
        unpack(archive(tmp_path, held.getvalue()), tmp_path / "out", 100)
    locked = bytearray(zip_of({"a.csv": "1"}))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        locked[locked.index(mark) + at] |= 1
    with pytest.raises(UploadError, match="encrypted"):
        unpack(archive(tmp_path, bytes(locked)), tmp_path / "out", 100)
    with pytest.raises(UploadError, match="twice"):
        unpack(archive(tmp_path, zip_of({"a.csv": "1", "A.csv": "2"})), tmp_path / "twice", 100)
    with pytest.raises(UploadError, match="deep"):
        unpack(archive(tmp_path, zip_of({"d/" * 17 + "a.csv": "1"})), tmp_path / "out", 100)
    with pytest.raises(UploadError, match="no file"):
        unpack(archive(tmp_path, zip_of({"sub/": ""})), tmp_path / "out", 100)


def test_a_bomb_is_stopped_by_what_comes_out_whatever_its_header_says(tmp_path: Path) -> None:
    bomb = zip_of({"a.csv": b"0" * 50_000_000})
    assert len(bomb) < 60_000
    lying = bytearray(bomb)
    for mark, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = lying.index(mark) + at
        lying[start : start + 4] = (10).to_bytes(4, "little")
    for content in (bomb, bytes(lying)):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        with pytest.raises(UploadError):
            unpack(archive(tmp_path, content), out, 1_000_000)
        assert sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) <= 2_000_000
    with pytest.raises(UploadTooLargeError, match="larger than 1000000 bytes unpacked"):
        unpack(archive(tmp_path, bomb), tmp_path / "again", 1_000_000)
    with pytest.raises(UploadTooLargeError):
        unpack(archive(tmp_path, zip_of({f"{k}.csv": b"0" * 600 for k in range(2)})), tmp_path / "both", 1000)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_FILES", 3)
    with pytest.raises(UploadTooLargeError, match="4 files"):
        unpack(archive(tmp_path, zip_of({f"{k}.csv": "1" for k in range(4)})), tmp_path / "out", 100)


def test_damage_is_said(tmp_path: Path) -> None:
    whole = zip_of({"a.csv": "1,2\n" * 5000})
    broken = bytearray(whole)
    broken[60] ^= 0xFF
    for content in (b"", b"PK", b"text", whole[:100], bytes(broken)):
        with pytest.raises(UploadError):
            unpack(archive(tmp_path, content), tmp_path / f"out{len(content)}", 10**6)


def test_gzip_is_counted_and_damage_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"0" * 3_000_000))
    assert check_gzip(path, 3_000_000) == 3_000_000
    with pytest.raises(UploadTooLargeError):
        check_gzip(path, 2_999_999)
    for content in (b"no gzip", path.read_bytes()[:-9], gzip.compress(b"x" * 100)[:20]):
        path.write_bytes(content)
        with pytest.raises(UploadError):
            check_gzip(path, 100)


def test_a_full_disk_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = archive(tmp_path, zip_of({"a.csv": "1"}))

    opened = Path.open

    def full(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if "x" in mode:
            raise OSError(28, "No space left on device")
        return opened(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match="No space left"):
        unpack(given, tmp_path / "out", 100)
