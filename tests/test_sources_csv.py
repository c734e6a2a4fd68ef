"""sources.csv: text files as people have them, and an error that says what to do for those that cannot be read."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading_kit import failures_of, series_of
from sources_kit import EXAMPLE, MINUTE, START, csv_source, read_one, write

from tsad.core.errors import ConfigError, LabelError, SeriesError, SourceError, TsadError, UnknownPointError
from tsad.core.types import Interval


def test_a_folder_is_read_with_its_subfolders(tmp_path: Path) -> None:
    write(tmp_path / "单元 1" / "温度.PV.csv")
    write(tmp_path / "b.CSV")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(EXAMPLE.encode()))
    write(tmp_path / ".hidden.csv", "nothing")
    write(tmp_path / "notes.txt", "nothing")
    source = csv_source(tmp_path)
    assert source.points() == ["b", "c", "单元 1/温度.PV"]
    series = list(series_of(source))
    assert [s.point_id for s in series] == source.points()
    for one in series:
        assert one.timestamps.tolist() == [START, START + MINUTE, START + 2 * MINUTE]
        assert one.values[:, 0].tolist() == [1.5, 2.5, 3.5]
        assert one.channels == ("value",)
        assert one.labels == (Interval(START + MINUTE, START + 2 * MINUTE),)


def test_a_file_a_glob_and_other_suffixes(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.csv")
    write(tmp_path / "b" / "x.csv")
    write(tmp_path / "b" / "y.tsv", EXAMPLE.replace(",", "\t"))
    assert csv_source(tmp_path / "b" / "x.csv").points() == ["x"]
    assert csv_source(tmp_path / "*" / "x.csv").points() == ["a/x", "b/x"]
    assert csv_source(tmp_path / "**" / "*.csv").points() == ["a/x", "b/x"]
    both = csv_source(tmp_path, glob=["b/*.csv", "*.tsv"])
    assert [len(s) for s in series_of(both)] == [3, 3]
    assert both.points() == ["b/x", "b/y"]


def test_nothing_is_parsed_before_it_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    write(tmp_path / "b.csv", "\x00\x01 binary")
    source = csv_source(tmp_path)
    assert source.points() == ["a", "b"]
    assert next(series_of(source)).point_id == "a"


def test_one_bad_file_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    for name in ("a", "z"):
        write(tmp_path / f"{name}.csv")
    write(tmp_path / "m.csv", EXAMPLE.replace("2.5", "oops"))
    source = csv_source(tmp_path)
    assert [s.point_id for s in series_of(source)] == ["a", "z"]
    assert list(failures_of(source)) == ["m"]
    assert "row 3: 'oops' in value column 'value' is not a number" in str(failures_of(source)["m"])
    assert [s.point_id for s in series_of(source, ["z"])] == ["z"]
    assert not failures_of(source, ["z"])


def test_nothing_good_at_all_lists_why(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "")
    write(tmp_path / "b.csv", "timestamp,value\n")
    with pytest.raises(SourceError, match=r"a: .*a\.csv is empty; b: .*b\.csv has a header but no rows"):
        list(series_of(csv_source(tmp_path)))


@pytest.mark.parametrize(
    ("text", "options", "kind", "found"),
    [
        ("", {}, SeriesError, "is empty"),
        ("\n\n", {}, SeriesError, "is empty"),
        ("timestamp,value\n", {}, SeriesError, "has a header but no rows"),
        (EXAMPLE.replace("2.5", "2,5"), {}, SeriesError, "Expected 3 columns, got 4"),
        (EXAMPLE.replace(",", ";").replace("2.5", "2,5"), {}, SeriesError, "source.decimal=','"),
        (EXAMPLE.replace("2.5", "bad"), {}, SeriesError, "row 3: 'bad' in value column 'value'"),
        (EXAMPLE.replace("0\n", "0\n\n\n").replace("2.5", "bad"), {}, SeriesError, "row 5: "),
        (EXAMPLE.replace("2.5", "inf"), {}, SeriesError, "infinite value in column 'value', row 3 "),
        (EXAMPLE.replace("1.5", "").replace("2.5", "NaN").replace("3.5", "NA"), {}, SeriesError, "only missing values"),
        (EXAMPLE.replace("00:01:00", "00:01:00Z"), {}, SeriesError, "mixed time zones: row 3 has .*Z', row 2 has"),
        (EXAMPLE.replace("2020-01-01T00:01:00", ""), {}, SeriesError, "row 3: no time"),
        (EXAMPLE.replace("2020-01-01T00:01:00", "later"), {}, SeriesError, "row 3: time 'later' cannot be read"),
        (EXAMPLE.replace("2020-01-01T", ""), {}, SeriesError, "a time of day without a date"),
        (EXAMPLE.replace("2020-01-01T", "01/02/2020 "), {}, SeriesError, "may begin with the day or the month"),
        (EXAMPLE.replace("2020-", "9999-"), {}, SeriesError, "outside 1677 to 2262"),
        (EXAMPLE.partition("\n")[2], {}, SeriesError, "has no header"),
        (EXAMPLE.replace("label", "value"), {}, SeriesError, "two columns named 'value'"),
        ("timestamp\n2020-01-01\n", {}, SeriesError, "the single column 'timestamp'"),
        ("timestamp,label\n2020-01-01,0\n2020-01-02,0\n", {}, SeriesError, "no value column"),
        (EXAMPLE, {"time_column": "when"}, SeriesError, "has no column 'when': it has timestamp, value, label"),
        (EXAMPLE, {"value_columns": ["v"]}, SeriesError, "has no column 'v'"),
        (EXAMPLE, {"label_column": "truth"}, SeriesError, "has no column 'truth'"),
        (EXAMPLE, {"min_points": 9}, SeriesError, "fewer than source.min_points=9"),
        (EXAMPLE, {"time_format": "s"}, SeriesError, "is not a number"),
        (EXAMPLE.replace(",1\n", ",-1\n"), {}, LabelError, "label -1 at row 3"),
        (EXAMPLE.replace(",1\n", ",0.4\n"), {}, LabelError, "label 0.4 at row 3"),
        ("time,value\n5,1\n20000000000000000,2\n", {}, SeriesError, "can be read in several ways"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_named_error(
    tmp_path: Path, text: str, options: dict[str, Any], kind: type[TsadError], found: str
) -> None:
    with pytest.raises(kind, match=found):
        read_one(tmp_path, text, **options)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"PK\x03\x04" + bytes(range(256)), "a zip archive or an Excel workbook"),
        (b"timestamp,value\n\x00\x01\x02\x03\xff" * 9, "is a binary file"),
        (EXAMPLE.encode("utf-16"), r"written in UTF-16.*source\.encoding=utf-16"),
        (EXAMPLE.encode("utf-16-le"), r"source\.encoding=utf-16-le"),
        ("时间,值\n2020-01-01,1\n".encode("gbk"), r"not written in utf-8\. Set source\.encoding"),
        (gzip.compress(EXAMPLE.encode() * 50, mtime=0)[:-30], "truncated or damaged gzip|cannot be parsed"),
    ],
)
def test_what_is_no_text_of_ours_says_what_it_is(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(SourceError, match=found):
        list(series_of(csv_source(tmp_path)))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "gbk"])
def test_other_encodings_are_read_when_named(tmp_path: Path, encoding: str) -> None:
    text = EXAMPLE.replace("timestamp", "时间").replace("value", "温度")
    series = read_one(tmp_path, text, encoding, encoding=encoding if encoding != "utf-8-sig" else "utf-8")
    assert series.channels == ("温度",)
    assert series.values[:, 0].tolist() == [1.5, 2.5, 3.5]
    assert series.timestamps[0] == START


@pytest.mark.parametrize(
    ("time", "options"),
    [
        ("2020-01-01 00:0{}:00", {}),
        ("2020-01-01T00:0{}", {}),
        ("2020/1/1 0:0{}", {}),
        ("20200101000{}00", {}),
        ("2020-01-01T00:0{}:00Z", {"time_zone": "Asia/Shanghai"}),
        ("2020-01-01T08:0{}:00+08:00", {"time_zone": "America/New_York"}),
        ("2020-01-01T08:0{}:00", {"time_zone": "Asia/Shanghai"}),
        ("2020-01-01T08:0{}:00", {"time_zone": "+08:00"}),
        ("2019-12-31T19:0{}:00.000", {"time_zone": "America/New_York"}),
        ("01.01.2020 00:0{}", {"time_format": "%d.%m.%Y %H:%M"}),
        ("01/01/2020 01:0{} +0100", {"time_format": "%d/%m/%Y %H:%M %z"}),
        ("2020年01月01日 00:0{}", {"time_format": "%Y年%m月%d日 %H:%M"}),
    ],
)
def test_times_in_many_forms(tmp_path: Path, time: str, options: dict[str, Any]) -> None:
    rows = "".join(f"{time.format(k)},{k}\n" for k in range(3))
    series = read_one(tmp_path, "t,v\n" + rows, time_column="t", **options)
    assert series.timestamps.tolist() == [START, START + MINUTE, START + 2 * MINUTE]
    assert series.time_kind == "time"


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("named", [True, False])
def test_times_as_numbers_since_1970(tmp_path: Path, unit: str, factor: int, named: bool) -> None:
    first = START // 10**9
    text = "ts,v\n" + "".join(f"{(first + 60 * k) * factor},{k}\n" for k in range(3))
    series = read_one(tmp_path, text, time_format=unit if named else "auto")
    assert series.timestamps.tolist() == [START, START + MINUTE, START + 2 * MINUTE]


def test_fractions_of_seconds_are_kept(tmp_path: Path) -> None:
    series = read_one(tmp_path, "ts,v\n1577836800.25,1\n1577836800.5,2\n")
    assert (series.timestamps - START).tolist() == [250_000_000, 500_000_000]
    series = read_one(tmp_path, "ts,v\n2020-01-01T00:00:00.000000001,1\n2020-01-01T00:00:00.5,2\n")
    assert (series.timestamps - START).tolist() == [1, 500_000_000]


def test_an_integer_index_is_an_index(tmp_path: Path) -> None:
    series = read_one(tmp_path, ",v\n0,1\n1,2\n2,3\n")
    assert series.time_kind == "index"
    assert series.timestamps.tolist() == [0, 10**9, 2 * 10**9]


@pytest.mark.parametrize(
    ("clock", "what"), [("2021-10-31T02:30:00", "happens twice"), ("2021-03-28T02:30:00", "skipped")]
)
def test_clock_changes_are_refused_or_resolved_as_told(tmp_path: Path, clock: str, what: str) -> None:
    text = f"timestamp,value\n2021-01-01T00:00:00,0\n{clock},1\n2021-12-01T00:00:00,2\n"
    zone = {"time_zone": "Europe/Berlin"}
    with pytest.raises(SeriesError, match=rf"row 3: local time .* {what}"):
        read_one(tmp_path, text, **zone)
    early = read_one(tmp_path, text, daylight_saving="earlier", **zone)
    late = read_one(tmp_path, text, daylight_saving="later", **zone)
    assert late.timestamps[1] - early.timestamps[1] == (60 * MINUTE if what == "happens twice" else 0)
    assert early.notes["clock_change_resolved"] == 1


def test_missing_marks_are_missing_values(tmp_path: Path) -> None:
    rows = "".join(f"2020-01-01T00:0{k}:00,{v}\n" for k, v in enumerate(["", "NA", "NaN", "null", '""', "7"]))
    series = read_one(tmp_path, "timestamp,value\n" + rows)
    assert np.isnan(series.values[:, 0]).tolist() == [True] * 5 + [False]
    assert series.notes["longest_missing_run"] == 5


def test_other_columns_are_not_channels(tmp_path: Path) -> None:
    text = "timestamp,value,label,point_label,operator\n2020-01-01,1,0,0,Ann\n2020-01-02,2,1,1,Bob\n"
    series = read_one(tmp_path, text)
    assert series.channels == ("value",)
    assert "operator (words)" in str(series.notes["columns"])
    assert read_one(tmp_path, text, ignore_columns=[]).channels == ("value", "point_label")
    assert read_one(tmp_path, text, value_columns=["point_label"]).channels == ("point_label",)
    with pytest.raises(SeriesError, match="'Ann' in value column 'operator'"):
        read_one(tmp_path, text, value_columns=["value", "operator"])


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        (["0", "0"], {}, ()),
        (["", ""], {}, None),
        (["", "1"], {}, 1),
        (["false", "true"], {}, 1),
        (["-1", "1"], {"negative_labels": "normal"}, 1),
        (["-1", "1"], {"abnormal_labels": ["-1"]}, 1),
        (["-1", "0"], {"negative_labels": "anomaly"}, 1),
        (["0", "1"], {"label_column": None}, None),
        (["正常", "异常"], {}, 1),
    ],
)
def test_labels_of_points(tmp_path: Path, labels: list[str], options: dict[str, Any], expected: Any) -> None:
    rows = "".join(f"2020-01-0{k + 1},{k},{label}\n" for k, label in enumerate(labels))
    series = read_one(tmp_path, "date,value,label\n" + rows, **options)
    assert (len(series.labels) if series.labels else series.labels) == expected


def test_names_of_kinds_are_kept(tmp_path: Path) -> None:
    rows = "".join(f"2020-01-0{k + 1},{k},{kind}\n" for k, kind in enumerate(["normal", "spike", "spike", "drift", ""]))
    series = read_one(tmp_path, "date,value,label\n" + rows)
    assert [i.label for i in series.labels or ()] == ["spike", "drift"]
    assert series.notes["labels_missing"] == 1


def test_a_wide_file_holds_many_points_and_is_parsed_for_those_asked(tmp_path: Path) -> None:
    write(tmp_path / "plant.csv", "time,U1.T,U1.P,备注\n2020-01-01,1,10,ok\n2020-01-02,2,x,ok\n2020-01-03,3,30,ok\n")
    source = csv_source(tmp_path, layout="wide")
    assert source.points() == ["U1.P", "U1.T", "备注"]
    assert [(s.point_id, s.channels) for s in series_of(source)] == [("U1.T", ("value",))]
    assert sorted(failures_of(source)) == ["U1.P", "备注"]
    assert next(series_of(source, ["U1.T"])).values[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert not failures_of(source, ["U1.T"])
    write(tmp_path / "b" / "more.csv", "time,U1.T\n2020-01-01,5\n2020-01-02,6\n")
    several = csv_source(tmp_path, layout="wide", ignore_columns=["备注"])
    assert several.points() == ["b/more/U1.T", "plant/U1.P", "plant/U1.T"]
    assert [s.values[0, 0] for s in series_of(several, ["plant/U1.T", "b/more/U1.T"])] == [1.0, 5.0]


def test_a_long_file_names_its_points(tmp_path: Path) -> None:
    rows = ["b,2020-01-01,1,0", "a,2020-01-02,20,1", "b,2020-01-02,2,1", "a,2020-01-01,10,0", "7,2020-01-01,,0"]
    write(tmp_path / "all.csv", "\n".join(["point_id,timestamp,value,label", *rows, ""]))
    source = csv_source(tmp_path, layout="long")
    assert source.points() == ["7", "a", "b"]
    a, b = series_of(source, ["a", "b"])
    assert (a.values[:, 0].tolist(), b.values[:, 0].tolist()) == ([10.0, 20.0], [1.0, 2.0])
    assert a.notes["backward_steps"] == 1
    assert a.labels is not None
    assert len(a.labels) == 1
    assert [s.point_id for s in series_of(source)] == ["a", "b"]
    assert "fewer than" in str(failures_of(source)["7"])


def test_a_part_in_time(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    source = csv_source(tmp_path)
    (part,) = series_of(source, start=START + MINUTE, end=START + 2 * MINUTE)
    assert part.values[:, 0].tolist() == [2.5]
    with pytest.raises(SourceError, match="no point in the range"):
        list(series_of(source, end=START))


def test_points_by_pattern_and_unknown_points(tmp_path: Path) -> None:
    for name in ("U1.T1", "U1.T2", "U2.T1"):
        write(tmp_path / f"{name}.csv")
    source = csv_source(tmp_path)
    assert source.select(["U1.*"]) == ["U1.T1", "U1.T2"]
    assert source.select(None) == source.points()
    with pytest.raises(UnknownPointError, match=r"no point 'U1\.T3'\. Nearest: U1\.T"):
        source.select(["U1.T3"])
    with pytest.raises(UnknownPointError, match=r"no point 'U1\.T3'"):
        list(series_of(source, ["U1.T3"]))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no file or folder .*nowhere\. Set source\.root"):
        csv_source(tmp_path / "nowhere").points()
    with pytest.raises(SourceError, match=r"holds no file like \*\.csv"):
        csv_source(tmp_path).points()
    with pytest.raises(SourceError, match="no file matches"):
        csv_source(tmp_path / "*.csv").points()
    write(tmp_path / "a.csv")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(EXAMPLE.encode()))
    with pytest.raises(SourceError, match="would both be 'a'"):
        csv_source(tmp_path).points()


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "tall"}, {"separator": "::"}, {"encoding": "utf-99"}, {"time_zone": "Mars/Base"},
        {"time_format": "minutes"}, {"duplicates": "first"}, {"decimal": "x"}, {"daylight_saving": "guess"},
    ],
)  # fmt: skip
def test_options_that_no_file_could_satisfy_are_refused_at_once(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        csv_source(tmp_path, **options)


def test_separators_decimals_and_files_without_header(tmp_path: Path) -> None:
    german = "Zeit;Wert\n2020-01-01;1,5\n2020-01-02;2,5\n"
    assert read_one(tmp_path, german, decimal=",").values[:, 0].tolist() == [1.5, 2.5]
    bare = read_one(tmp_path, "2020-01-01|1|5\n2020-01-02|2|6\n", header=False)
    assert (bare.channels, bare.values.tolist()) == (("value_0", "value_1"), [[1.0, 5.0], [2.0, 6.0]])
    with pytest.raises(SeriesError, match="row 2: 'x'"):
        read_one(tmp_path, "2020-01-01|1\n2020-01-02|x\n", header=False)


def test_the_digest_follows_file_and_options(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    write(tmp_path / "b.csv")
    source = csv_source(tmp_path)
    a, b, all_of_it = source.digest("a"), source.digest("b"), source.digest()
    assert a == csv_source(tmp_path).digest("a")
    assert csv_source(tmp_path, duplicates="mean").digest("a") != a
    path.write_text(EXAMPLE + "2020-01-01T00:03:00,4.5,0\n", encoding="utf-8")
    assert (source.digest("a") != a, source.digest("b") == b, source.digest() != all_of_it) == (True, True, True)
    with pytest.raises(UnknownPointError):
        source.digest("c")


def test_labels_from_a_csv_of_intervals(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "data" / f"{name}.csv")
    path = write(
        tmp_path / "labels.csv",
        "point_id,start,end,label\na,2020-01-01T00:00:00,2020-01-01T00:01:00,spike\nb,,,\n",
    )
    a, b, c = series_of(csv_source(tmp_path / "data", labels=str(path)))
    assert a.labels == (Interval(START, START + MINUTE, "spike"),)
    assert b.labels == ()
    assert c.labels == (Interval(START + MINUTE, START + 2 * MINUTE),)  # its own column
    (a, *_) = series_of(csv_source(tmp_path / "data", labels=str(path), labels_end="inclusive"))
    assert a.labels == (Interval(START, START + MINUTE + 1, "spike"),)
    write(path, "point_id,start,end\nU7,2020-01-01,2020-01-02\n")
    with pytest.raises(LabelError, match=r"labels 'U7', which the source does not have.*a, b, c"):
        list(series_of(csv_source(tmp_path / "data", labels=str(path))))


@pytest.mark.skipif(sys.platform != "win32", reason="Windows paths exist on Windows only")
def test_windows_paths(tmp_path: Path) -> None:
    write(tmp_path / "a b" / "c.csv")
    assert csv_source(str(tmp_path).replace("/", "\\")).points() == ["a b/c"]
