"""sources.naming, exchange and labels: files that people exchange, written and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources_kit import MINUTE, START, write

from tsad.core.errors import FileNameError, LabelError, StorageError
from tsad.core.series import Series
from tsad.core.types import Detection, Interval, Origin
from tsad.sources.exchange import read_detection, read_intervals, write_detection, write_intervals
from tsad.sources.labels import read_interval_csv
from tsad.sources.naming import FileName, file_name, parse_file_name
from tsad.sources.times import TimeReader

S = 10**9
names = st.text(min_size=1, max_size=14) | st.from_regex(r"[A-Za-z0-9_./%\\-]{1,20}", fullmatch=True)
stamps = st.integers(-(9 * 10**18), 9 * 10**18)


@given(names, names, stamps, st.integers(1, 10**17))
def test_names_come_back(point_id: str, algorithm: str, start: int, length: int) -> None:
    end = min(start + length, 9_223_000_000 * S)
    name = file_name(point_id, start, end, algorithm)
    assert parse_file_name(name) == FileName(point_id, start, end, algorithm)
    assert not set(name) & set('/\\:*?"<>|\x00\n')
    assert not name.startswith((".", "~", " "))


@given(names, st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_names_of_index_series_come_back(point_id: str, start: int, length: int) -> None:
    name = file_name(point_id, start * S, (start + length) * S, "patch", ".csv.gz", "index")
    assert parse_file_name(name) == FileName(point_id, start * S, (start + length) * S, "patch", ".csv.gz", "index")


@given(names, names, names, names)
def test_different_things_get_different_names(a: str, b: str, x: str, y: str) -> None:
    same = file_name(a, 0, S, x) == file_name(b, 0, S, y)
    assert same == ((a, x) == (b, y))


def test_names_can_be_read_by_people() -> None:
    assert file_name("AC6403B.PV", START, START + MINUTE, "robust-zscore") == (
        "AC6403B.PV_20200101T000000Z_20200101T000100Z_robust-zscore.csv"
    )
    assert file_name("单元_1/温度", START + 1, START + MINUTE, "tsad-nab-patch:3") == (
        "单元_1%2F温度_20200101T000000.000000001Z_20200101T000100Z_tsad-nab-patch%3A3.csv"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a.csv", "fewer than four parts"),
        ("_20200101T000000Z_20200101T000100Z_x.csv", "no point_id"),
        ("a_20200101T000000Z_20200101T000100Z_.csv", "no algorithm"),
        ("a_20200101T000000Z_20200101T000100Z_x", "no suffix"),
        ("a_20200101_20200102T000000Z_x.csv", "is neither a time|not of one kind"),
        ("a_20201301T000000Z_20201302T000000Z_x.csv", "is no date"),
        ("a_20200102T000000Z_20200101T000000Z_x.csv", "is not after the start"),
        ("a_0_20200101T000000Z_x.csv", "not of one kind"),
        ("a%zz_0_5_x.csv", "not followed by two hex digits"),
        ("a%ff_0_5_x.csv", "does not unescape"),
        ("a_99990101T000000Z_99990102T000000Z_x.csv", "outside 1677 to 2262"),
    ],
)
def test_misnamed_files_are_told_why(name: str, why: str) -> None:
    with pytest.raises(FileNameError, match=why):
        parse_file_name(name)


def test_names_that_cannot_be_made() -> None:
    for bad in (("", 0, 1, "x"), ("a", 0, 1, ""), ("a", 1, 1, "x"), ("温" * 90, 0, S, "x")):
        with pytest.raises(FileNameError):
            file_name(*bad)
    with pytest.raises(FileNameError, match="not whole"):
        file_name("a", 0, 1, "x", time_kind="index")


def make_series(kind: str = "time", fine: bool = False) -> Series:
    base = 0 if kind == "index" else START
    at = base + np.arange(6, dtype=np.int64) * (MINUTE if kind == "time" else S) + (7 if fine else 0)
    return Series("单元/T_1.PV", at, np.arange(6.0)[:, None], time_kind=kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "fine"), [("time", False), ("time", True), ("index", False)])
def test_intervals_and_scores_are_written_and_read_back(tmp_path: Path, kind: str, fine: bool) -> None:
    series = make_series(kind, fine)
    at = series.timestamps
    found = (Interval(int(at[1]), int(at[3]), "尖峰, \"quoted\"", 0.1 + 0.2), Interval(int(at[4]), int(at[5])))
    path = write_intervals(tmp_path, series, found, "patch")
    name, back = read_intervals(path)
    assert back == found
    assert (name.point_id, name.algorithm, name.start, name.time_kind) == (series.point_id, "patch", int(at[0]), kind)
    origin = Origin("patch", "tsad-demo-patch:3")
    detection = Detection(series.point_id, np.linspace(0, 1, 6) / 3, found, origin, 0.5)
    path = write_detection(tmp_path, series, detection)
    name, stamps_back, scores = read_detection(path)
    assert name.algorithm == "tsad-demo-patch:3"
    assert stamps_back.tolist() == at.tolist()
    assert scores.tolist() == detection.scores.tolist()
    assert path.read_text(encoding="utf-8").splitlines()[2].endswith(',1,"tsad-demo-patch:3"')


def test_no_intervals_are_written_as_looked_at(tmp_path: Path) -> None:
    series = make_series()
    path = write_intervals(tmp_path, series, (), "people")
    assert read_intervals(path)[1] == ()
    path.rename(tmp_path / path.name.replace("T_1", "T_2"))
    with pytest.raises(FileNameError, match="named for"):
        read_intervals(tmp_path / path.name.replace("T_1", "T_2"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        write_intervals(tmp_path / "file", make_series(), (), "people")


spans = st.lists(st.tuples(st.integers(0, 10**18), st.integers(1, 10**15), st.floats(0, 1)), max_size=5)


@given(spans)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_intervals_come_back(tmp_path: Path, items: list[tuple[int, int, float]]) -> None:
    found = tuple(sorted(Interval(a, a + n, "k", s) for a, n, s in items))
    assert read_intervals(write_intervals(tmp_path, make_series(), found, "people"))[1] == found


def test_interval_csv_in_other_zones_and_with_inclusive_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", "tag;begin;stop;kind\na;2020-01-01 08:00:00;2020-01-01 08:01:00;drift\na;;;\n")
    shanghai = TimeReader(time_zone="Asia/Shanghai")
    assert read_interval_csv(path, shanghai) == {"a": (Interval(START, START + MINUTE, "drift"),)}
    assert read_interval_csv(path, TimeReader(time_zone="+08:00"), ends="inclusive")["a"][0].end == START + MINUTE + 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("point_id,start\na,0\n", "has no column end"),
        ("point_id,start,end\na,2020-01-02,2020-01-01\n", "row 2: the end is not after the start"),
        ("point_id,start,end\na,2020-01-02,\n", "row 2: a start without an end"),
        ("point_id,start,end\n,2020-01-01,2020-01-02\n", "row 2: no point_id"),
        ("point_id,start,end\na,5,2020-01-02\n", "cannot be read|start is a index"),
        ("point_id,start,end\na,2020-01-01,soon\n", "row 2: time 'soon' cannot be read"),
        ("point_id,start,end,score\na,2020-01-01,2020-01-02,7\n", "row 2: score 7 is outside"),
        ("point_id,start,end,score\na,2020-01-01,2020-01-02,high\n", "holds text"),
        ("", "is empty"),
    ],
)
def test_interval_csvs_that_are_wrong_say_where(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(LabelError, match=found):
        read_interval_csv(write(tmp_path / "l.csv", text))
