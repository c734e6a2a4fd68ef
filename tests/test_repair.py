"""sources.repair and ``tsad repair``: misnamed and half-written files put in order, none of them lost."""

from __future__ import annotations

import csv
import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources_kit import MINUTE, START
from verbs_kit import call

from tsad.core.errors import SourceError, StorageError
from tsad.core.series import Series
from tsad.core.types import Detection, Interval, Origin
from tsad.sources import repair
from tsad.sources.exchange import write_detection, write_intervals
from tsad.sources.naming import parse_file_name
from tsad.sources.repair import BACKUP, JOURNAL, ORIGINALS, Action, apply, plan
from tsad.sources.repair_names import remains_of

S = 10**9
GOOD = "U1.T_3_20200101T000000Z_20200101T000600Z_patch.csv"


def series_of(point: str = "U1.T_3", points: int = 6, kind: str = "time", start: int = START) -> Series:
    first, step = (start, MINUTE) if kind == "time" else (40 * S, S)
    at = first + np.arange(points, dtype=np.int64) * step
    return Series(point, at, np.arange(float(points))[:, None], time_kind=kind)  # type: ignore[arg-type]


def scores(folder: Path, point: str = "U1.T_3", by: str = "patch", **keys: object) -> Path:
    """A well-named file as ``tsad detect output=DIR`` writes it."""
    series = series_of(point, **keys)  # type: ignore[arg-type]
    origin = Origin("patch", by)
    return write_detection(folder, series, Detection(point, np.linspace(0, 1, len(series)) / 3, (), origin, 0.5))


def mended(folder: Path, **keys: str) -> dict[str, bytes]:
    """The folder's visible files after a repair; doing it again changes nothing more."""
    apply(folder, plan(folder, **keys))  # type: ignore[arg-type]
    after = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    again = plan(folder, **keys)  # type: ignore[arg-type]
    assert apply(folder, again) is None, [f for f in again if f.action not in (Action.KEEP, Action.IGNORE)]
    return after


def only(folder: Path, **keys: str) -> repair.Fix:
    (fix,) = plan(folder, **keys)  # type: ignore[arg-type]
    return fix


def test_well_named_files_are_kept(tmp_path: Path) -> None:
    scores(tmp_path)
    scores(tmp_path, "单元/T_1.PV", "tsad-nab-patch:3", kind="index")
    series = series_of("a (1)")
    write_intervals(tmp_path, series, [Interval(START, START + MINUTE, "尖峰")], "people")
    write_intervals(tmp_path, series_of("b", kind="index"), (), "people")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert {f.action for f in plan(tmp_path)} == {Action.KEEP}
    assert mended(tmp_path) == before
    assert not (tmp_path / BACKUP).exists()


@pytest.mark.parametrize(
    "name",
    [
        "U1.T_3_20200101T000000Z_20200101T000600Z_patch.CSV",
        "U1.T_3_20200101T000000Z_20200101T000600Z_patch.csv.csv",
        "U1.T_3_20200101T000000Z_20200101T000600Z_patch (1).csv",
        "U1.T_3_20200101T000000Z_20200101T000600Z_patch.csv (2)",
        "U1.T_3_20200101T000000Z_20200101T000600Z_patch - copy.csv",
        "Copy of U1.T_3_20200101T000000Z_20200101T000600Z_patch - Copy (2).csv",
        "U1.T_3_20200101T000000Z_20200101T000600Z_patch - 副本.csv",
        " U1.T_3 _20200101T000000Z_ 20200101T000600Z_patch .csv",
        "U1.T_3 20200101T000000Z 20200101T000600Z patch.csv",
        "U1.T_3_20200101000000_20200101000600_patch.csv",
        "U1.T_3_202001010000_202001010006_patch.csv",
        "U1.T_3_1577836800_1577837160_patch.csv",
        "U1.T_3_1577836800000_1577837160000_patch.csv",
        "U1.T_3_2020-01-01 00:00_2020-01-01 00:06_patch.csv",
        "U1.T_3_2020-01-01T00-00-00Z_2020-01-01T00-06-00Z_patch.csv",
        "U1.T_3_20200101_000000_20200101_000600_patch.csv",
        "U1.T_3_2020-01-01T08:00:00+08:00_2020-01-01T08:06:00+08:00_patch.csv",
        "U1.T_3_20200101_20200102_patch.csv",  # only the days
        "U1.T_3_20200101T000000Z_20200101T001000Z_patch.csv",  # rows were cut off at the end
        "U1.T_3_20190101T000000Z_20200101T000600Z_patch.csv",
        "U1.T_3_20200101T000600Z_20200101T000000Z_patch.csv",  # swapped
        "U1.T_3_20200101T000000Z_patch.csv",  # one of them lost
    ],
)
def test_a_misnamed_file_gets_its_name_back(tmp_path: Path, name: str) -> None:
    content = scores(tmp_path).read_bytes()
    (tmp_path / GOOD).rename(tmp_path / name)
    fix = only(tmp_path)
    assert (fix.action, fix.target) == (Action.RENAME, GOOD) and fix.why
    assert mended(tmp_path) == {GOOD: content}
    (backup,) = (tmp_path / BACKUP).iterdir()
    with (backup / JOURNAL).open(encoding="utf-8", newline="") as file:
        assert [(r["file"], r["new_name"]) for r in csv.DictReader(file)] == [(name, GOOD)]


def test_an_algorithm_with_an_underscore_and_a_colon_is_escaped(tmp_path: Path) -> None:
    scores(tmp_path).rename(tmp_path / "U1.T_3_20200101T000000Z_20200101T000600Z_robust_zscore:3.csv")
    (name,) = mended(tmp_path)
    assert name == "U1.T_3_20200101T000000Z_20200101T000600Z_robust%5Fzscore%3A3.csv"
    assert parse_file_name(name).algorithm == "robust_zscore:3"


def test_times_without_a_zone_are_of_the_zone_given(tmp_path: Path) -> None:
    write_intervals(tmp_path, series_of(), [Interval(START, START + MINUTE)], "people").rename(
        tmp_path / "U1.T_3_20200101080000_2020-01-01 08:06_people.csv"
    )
    assert only(tmp_path).action == Action.LEAVE  # in UTC the interval lies outside
    (name,) = mended(tmp_path, time_zone="Asia/Shanghai")
    assert name == GOOD.replace("patch", "people")


def test_the_user_names_a_lost_algorithm(tmp_path: Path) -> None:
    scores(tmp_path).rename(tmp_path / "U1.T_3_patch.csv")
    fix = only(tmp_path)
    assert fix.action == Action.LEAVE and "algorithm=NAME" in fix.why
    assert only(tmp_path, algorithm="patch").target == GOOD
    (tmp_path / "U1.T_3_patch.csv").rename(tmp_path / "U1.T_3.csv")
    assert list(mended(tmp_path, algorithm="patch")) == [GOOD]


def test_a_point_column_counts_more_than_the_name(tmp_path: Path) -> None:
    rows = "tag,time,value\nU1.T_3,2020-01-01 00:00,1\nU1.T_3,2020-01-01 00:01,2\n"
    (tmp_path / "wrong_20200101_20200102_patch.csv").write_text(rows)
    (tmp_path / "U1.T_3_robust_zscore.csv").write_text(rows)
    got = mended(tmp_path)
    assert set(got) == {
        "U1.T_3_20200101T000000Z_20200101T000200Z_patch.csv",
        "U1.T_3_20200101T000000Z_20200101T000200Z_robust%5Fzscore.csv",
    }
    (tmp_path / "two_20200101_20200102_patch.csv").write_text(rows + "U1.T_4,2020-01-01 00:02,2\n")
    fix = next(f for f in plan(tmp_path) if f.path.name.startswith("two"))
    assert fix.action == Action.LEAVE and "holds 2 points: U1.T_3, U1.T_4" in fix.why


def test_intervals_keep_the_span_of_their_name(tmp_path: Path) -> None:
    path = write_intervals(tmp_path, series_of(), [Interval(START + MINUTE, START + 2 * MINUTE)], "people")
    name = path.name
    path.rename(tmp_path / "U1.T_3_1577836800_1577837160_people (1).csv")
    assert list(mended(tmp_path)) == [name]
    path.rename(tmp_path / "U1.T_3_people.csv")
    fix = only(tmp_path)
    assert fix.action == Action.LEAVE and "do not tell how much was looked at" in fix.why
    (tmp_path / "U1.T_3_people.csv").rename(tmp_path / "U1.T_3_20200101T000130Z_20200101T000600Z_people.csv")
    fix = only(tmp_path)
    assert fix.action == Action.LEAVE and "beyond the name's span" in fix.why


TAILS: dict[str, Callable[[bytes], bytes]] = {
    "too few fields": lambda b: b + b"2020-01-01T00:06:00Z,0.",
    "too few fields, and a newline": lambda b: b + b"2020-01-01T00:06\n",
    "half a number": lambda b: b + b"2020-01-01T00:06:00Z,0.5e-,1",
    "a last field that is missing": lambda b: b + b"2020-01-01T00:06:00Z,0.5,",
    "half a time": lambda b: b + b"2020-0",
    "half a character": lambda b: b + "温".encode()[:2],
    "padding after a power cut": lambda b: b + b"\0" * 700,
    "half a row, then padding": lambda b: b + b"2020-01-01T00:06:00Z,0." + b"\0" * 70_000,
}


@pytest.mark.parametrize("tail", TAILS)
def test_a_last_row_that_was_cut_off_is_dropped(tmp_path: Path, tail: str) -> None:
    path = scores(tmp_path)
    whole, broken = path.read_bytes(), TAILS[tail](path.read_bytes())
    path.write_bytes(broken)
    path.rename(tmp_path / "U1.T_3_20200101000000_20200101T000700Z_patch.csv")
    fix = only(tmp_path)
    assert (fix.action, fix.target) == (Action.MEND, GOOD) and "cut off" in fix.why
    assert mended(tmp_path) == {GOOD: whole}
    (original,) = (tmp_path / BACKUP).glob(f"*/{ORIGINALS}/U1*")
    assert original.read_bytes() == broken


@pytest.mark.parametrize(
    "row", ["2020-01-01T00:06:00Z,0.5,1,m:1,more\n", "later,0.5,1,m:1\n", "2020-01-01T00:06:00Z,温,1,m:1\n"]
)
def test_a_complete_last_row_that_is_wrong_is_for_people(tmp_path: Path, row: str) -> None:
    path = scores(tmp_path)
    path.write_bytes(path.read_bytes() + row.encode("gbk"))
    fix = only(tmp_path)
    assert fix.action == Action.LEAVE and fix.why
    assert list(mended(tmp_path)) == [GOOD]


def test_a_whole_last_row_without_a_newline_stays(tmp_path: Path) -> None:
    path = scores(tmp_path)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert only(tmp_path).action == Action.KEEP


def test_gzip_files_cut_off_give_what_they_have(tmp_path: Path) -> None:
    path = scores(tmp_path, points=3000)
    text = path.read_bytes()
    packed = gzip.compress(text)
    (tmp_path / (path.name + ".gz")).write_bytes(packed[: len(packed) * 2 // 3])
    path.unlink()
    fix = only(tmp_path)
    assert fix.action == Action.MEND and fix.target.endswith("_patch.csv.gz")
    ((name, got),) = mended(tmp_path).items()
    rows = gzip.decompress(got)
    assert text.startswith(rows) and len(rows) > len(text) // 3 and rows.endswith(b"\n")
    assert name == fix.target


def test_files_without_rows_go_to_the_backup(tmp_path: Path) -> None:
    gone = {
        "empty.csv": b"", JOURNAL: b"", "nul_20200101_20200102_x.csv": b"\0" * 4096,
        "head_1_2_x.csv": b"timestamp,score\n", "half_1_2_x.csv": b"timestamp,score\n2020-0",
        "some.csv.gz": gzip.compress(b""),
    }  # fmt: skip
    for name, content in gone.items():
        (tmp_path / name).write_bytes(content)
    assert {f.action for f in plan(tmp_path)} == {Action.BACK_UP}
    assert mended(tmp_path) == {}
    (backup,) = (tmp_path / BACKUP).iterdir()
    assert {p.name: p.read_bytes() for p in (backup / ORIGINALS).iterdir()} == gone


def test_our_own_leftovers_go_once_they_are_old(tmp_path: Path) -> None:
    old, young = tmp_path / ".0123456789ab.partial", tmp_path / ".ba9876543210.partial"
    for path in (old, young, tmp_path / "mine.partial"):
        path.write_text("half")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    assert set(mended(tmp_path)) == {young.name, "mine.partial"}


def test_of_equal_files_one_stays_and_of_different_ones_all(tmp_path: Path) -> None:
    path = scores(tmp_path)
    (tmp_path / GOOD.replace("patch.", "patch (1).")).write_bytes(path.read_bytes())
    fixes = {f.action: f for f in plan(tmp_path)}
    assert set(fixes) == {Action.KEEP, Action.BACK_UP}
    assert fixes[Action.BACK_UP].why == f"the same as {GOOD}"
    assert list(mended(tmp_path)) == [GOOD]

    other = tmp_path / GOOD.replace("patch.", "patch (2).")
    other.write_bytes(path.read_bytes().replace(b",0.", b",0.1"))
    before = {p.name: p.read_bytes() for p in tmp_path.glob("*.csv")}
    left = plan(tmp_path)
    assert {f.action for f in left} == {Action.LEAVE}
    assert other.name in left[1].why + left[0].why and GOOD in left[0].why + left[1].why
    assert mended(tmp_path) == before


def test_names_that_are_in_each_others_way(tmp_path: Path) -> None:
    """a -> b -> c: both move, in the right order; a ring is left alone, and so is what waits for it."""
    names = []
    for k in range(3):
        path = scores(tmp_path, start=START + k * MINUTE)
        names.append(path.name)
        path.rename(tmp_path / f"{k}")
    (tmp_path / "0").rename(tmp_path / names[1])
    (tmp_path / "1").rename(tmp_path / names[2])
    third = (tmp_path / "2").read_bytes()
    (tmp_path / "2").unlink()
    assert set(mended(tmp_path)) == set(names[:2])
    for k, name in enumerate(names[:2]):
        (tmp_path / name).rename(tmp_path / f"{k}")
    (tmp_path / "0").rename(tmp_path / names[1])
    (tmp_path / "1").rename(tmp_path / names[0])
    (tmp_path / names[2]).write_bytes(third)
    assert [f.action for f in plan(tmp_path)] == [Action.LEAVE, Action.LEAVE, Action.KEEP]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    for name in ("README.txt", "evaluation.json", ".hidden.csv", "~$a_1_2_x.csv", "plot.png"):
        (tmp_path / name).write_text("not ours")
    (tmp_path / "sub.csv").mkdir()
    (tmp_path / "words_20200101_20200102_x.csv").write_text("some,words\nmore,words\n")
    (tmp_path / "bare.csv").write_text("2020-01-01 00:00,1\n")
    (tmp_path / "link_1_2_x.csv").symlink_to(tmp_path / "README.txt")
    before = {p.name for p in tmp_path.iterdir()}
    fixes = {f.path.name: f for f in plan(tmp_path)}
    assert ".hidden.csv" not in fixes and "sub.csv" not in fixes
    assert fixes["README.txt"].action == fixes["~$a_1_2_x.csv"].action == Action.IGNORE
    for name in ("words_20200101_20200102_x.csv", "bare.csv", "link_1_2_x.csv"):
        assert fixes[name].action == Action.LEAVE and fixes[name].why
    mended(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == before


def test_index_and_time_are_not_taken_for_each_other(tmp_path: Path) -> None:
    path = scores(tmp_path, kind="index")
    assert path.name == "U1.T_3_40_46_patch.csv"
    path.rename(tmp_path / "U1.T_3_40_50_patch.csv")
    assert list(mended(tmp_path)) == [path.name]
    path.rename(tmp_path / GOOD)
    fix = only(tmp_path)
    assert fix.action == Action.LEAVE and "the name speaks of times" in fix.why


def test_no_name_is_ever_taken_from_another_file(tmp_path: Path) -> None:
    scores(tmp_path).rename(tmp_path / "U1.T_3_20200101_20200102_patch.csv")
    fixes = plan(tmp_path)
    (tmp_path / GOOD).write_text("somebody was quicker")
    with pytest.raises(StorageError, match="run it again"):
        apply(tmp_path, fixes)
    assert (tmp_path / GOOD).read_text() == "somebody was quicker"
    assert (tmp_path / "U1.T_3_20200101_20200102_patch.csv").exists()


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    scores(tmp_path).rename(tmp_path / "U1.T_3_20200101_20200102_patch.csv")
    fixes = plan(tmp_path)
    (tmp_path / GOOD).write_text("somebody was quicker")
    with pytest.raises(StorageError):
        apply(tmp_path, fixes)
    (tmp_path / GOOD).unlink()
    assert list(mended(tmp_path)) == [GOOD]


@pytest.mark.parametrize("call", range(6))
def test_a_kill_leaves_each_file_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Stopped at any change of the folder, the next run ends where an undisturbed one does."""

    class Killed(BaseException):
        pass

    def make(folder: Path) -> None:
        path = scores(folder)
        path.write_bytes(path.read_bytes() + b"2020-01-01T00:06")
        path.rename(folder / "U1.T_3_1577836800_1577837160_patch.csv")
        scores(folder, "b").rename(folder / "b_20200101_20200102_patch.csv")
        (folder / "empty.csv").write_text("")

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    make(tmp_path / "a")
    make(tmp_path / "b")
    expected = mended(tmp_path / "a")
    folder = tmp_path / "b"
    allowed = {p.name for p in folder.iterdir()} | set(expected)
    seen = 0
    with monkeypatch.context() as patch:
        for owner, name in ((os, "replace"), (Path, "hardlink_to"), (Path, "unlink")):
            real = getattr(owner, name)

            def dying(*args: object, _real: Callable[..., None] = real, **keys: object) -> None:
                nonlocal seen
                seen += 1
                if seen > call + 1:
                    raise Killed
                _real(*args, **keys)

            patch.setattr(owner, name, dying)
        with pytest.raises(Killed):
            apply(folder, plan(folder))
    assert {p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")} <= allowed
    for path in folder.glob("*.partial"):  # what kill -9 leaves; an hour later it goes
        path.unlink()
    assert mended(folder) == expected


def test_a_folder_that_cannot_be_written_or_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="no folder"):
        plan(tmp_path / "nowhere")
    scores(tmp_path).rename(tmp_path / "U1.T_3_20200101_20200102_patch.csv")
    fixes = plan(tmp_path)

    def refuse(*_: object, **__: object) -> None:  # root may write anywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        apply(tmp_path, fixes)


text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
words = st.from_regex(r"[A-Za-z][A-Za-z0-9_.:/%\-温度]{0,12}[A-Za-z0-9]", fullmatch=True)
DAMAGES: list[Callable[[str], str]] = [
    lambda n: n.replace(".csv", ".CSV"),
    lambda n: n + ".csv",
    lambda n: n.replace(".csv", " (3).csv"),
    lambda n: n.replace(".csv", " - copy.csv"),
    lambda n: n + " (12)",
    lambda n: f"  {n} ",
    lambda n: n.replace("20200101T000000Z_20200101T000600Z", "20200101000000_20200101000600"),
    lambda n: n.replace("20200101T000000Z", "2020-01-01 00:00"),
    lambda n: n.replace("20200101T000000Z", "1577836800"),
    lambda n: n.replace("20200101T000000Z", "20191231T000000Z"),
    lambda n: n.replace("Z_20200101T000600Z_", "Z _ 20200101T000600Z _"),
]
EXTRA = [b"", b"2", b"2020-01-01T00:0", b"2020-01-01T00:30:00Z,0.1", b"2020-01-01T00:30:00Z,0.1,", b"\0\0\0"]


@given(words, words, st.lists(st.sampled_from(DAMAGES), max_size=4), st.sampled_from(EXTRA))
def test_random_damage_is_repaired(
    tmp_path_factory: pytest.TempPathFactory, point: str, by: str, damages: list[Callable[[str], str]], extra: bytes
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = scores(folder, point, by)
    original, name = path.read_bytes(), path.name
    for damage in damages:
        name = damage(name)
    path.rename(folder / name)
    (folder / name).write_bytes(original + extra)
    assert mended(folder) == {path.name: original}


@given(text)
def test_any_name_can_be_taken_apart(name: str) -> None:
    remains = remains_of(name)
    assert remains is None or remains.suffix in (".csv", ".csv.gz")
    for kind in ("time", "index"):
        said = remains and remains.span(kind)  # type: ignore[arg-type]
        assert not said or said[0] < said[1]


def test_the_verb_says_first_and_then_does(
    tmp_path: Path, bench: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    one = bench()
    scores(tmp_path).rename(tmp_path / "U1.T_3_2020-01-01 00:00_20200102_patch.csv")
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / "empty.csv").write_text("")
    call("repair", one, folder=str(tmp_path))  # type: ignore[arg-type]
    shown = " ".join(capsys.readouterr().out.split())  # a title is wrapped at words
    assert "dry run" in shown and "3 files: 1 to rename, 1 to back up, 1 not touched" in shown
    assert "apply=true" in shown and not (tmp_path / GOOD).exists()
    call("repair", one, folder=str(tmp_path), apply=True)  # type: ignore[arg-type]
    assert "3 files: 1 renamed, 1 backed up, 1 not touched" in capsys.readouterr().out
    assert (tmp_path / GOOD).exists()
    call("repair", one, folder=str(tmp_path))  # type: ignore[arg-type]
    assert "nothing to repair" in capsys.readouterr().out
