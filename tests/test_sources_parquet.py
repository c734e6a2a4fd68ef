"""sources.parquet: files, folders and partitioned sets, in every layout; what is damaged is named, the rest goes on."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml
from reading_kit import failures_of, fetched, series_of
from sources_kit import CONF, MINUTE, START

from tsad.core.errors import ConfigError, LabelError, SeriesError, SourceError, UnknownPointError
from tsad.core.types import Interval
from tsad.sources import parquet as module
from tsad.sources.parquet import ParquetSource


def parquet_source(root: Path | str, **options: Any) -> ParquetSource:
    """The source that ``source=parquet source.root=<root>`` and further options give."""
    values = yaml.safe_load((CONF / "parquet.yaml").read_text(encoding="utf-8")) | {"root": str(root), **options}
    return ParquetSource(**{k: v for k, v in values.items() if k != "_target_"})


def stamps(count: int, unit: str = "us", zone: str | None = "UTC") -> pa.Array:
    return pa.array(START + MINUTE * np.arange(count)).cast(pa.timestamp("ns", zone)).cast(pa.timestamp(unit, zone))


def table(count: int = 5, **columns: Any) -> pa.Table:
    return pa.table({"timestamp": stamps(count), **(columns or {"value": np.arange(count) / 2})})


def save(path: Path, content: pa.Table | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table() if content is None else content, path, **options)
    return path


def long(points: dict[str, int]) -> pa.Table:
    return pa.concat_tables(
        pa.table({"point_id": [p] * n, "timestamp": stamps(n), "value": np.arange(n) * 1.0}) for p, n in points.items()
    )


def test_a_file_a_folder_and_a_glob(tmp_path: Path) -> None:
    save(tmp_path / "单元 1" / "温度.PV.parquet")
    save(tmp_path / "b.PQ", table(value=[1.0, None, 3.0, 4.0, 5.0], other=pa.array([1, 2, 3, 4, 5], pa.int8())))
    (tmp_path / "notes.txt").write_text("nothing")
    source = parquet_source(tmp_path)
    assert source.points() == ["b", "单元 1/温度.PV"] and not source.ranged
    two, one = series_of(source)
    assert one.timestamps.tolist() == [START + k * MINUTE for k in range(5)]
    assert one.values[:, 0].tolist() == [0, 0.5, 1, 1.5, 2] and one.labels is None and one.time_kind == "time"
    assert two.channels == ("value", "other") and np.isnan(two.values[1, 0]) and two.notes["missing"] == 1
    assert [s.point_id for s in series_of(parquet_source(tmp_path / "b.PQ"))] == ["b"]
    assert parquet_source(tmp_path / "*" / "*.parquet").points() == ["单元 1/温度.PV"]
    assert source.describe() == f"parquet:{tmp_path.as_posix()}"


@pytest.mark.parametrize(
    ("column", "options", "kind"),
    [
        (stamps(5, "s"), {}, "time"),
        (stamps(5, "ns", None), {}, "time"),
        (stamps(5, "ms", "Asia/Shanghai"), {}, "time"),
        (pa.array(START + MINUTE * (480 + np.arange(5))).cast(pa.timestamp("ns")), {"time_zone": "+08:00"}, "time"),
        (pa.array((START + MINUTE * np.arange(5)) // 10**9), {}, "time"),
        (pa.array((START + MINUTE * np.arange(5)) // 10**6), {"time_format": "ms"}, "time"),
        (pa.array([f"2020-01-01T00:0{k}:00" for k in range(5)]), {}, "time"),
        (pa.array([f"01.01.2020 00:0{k}" for k in range(5)], pa.large_string()),
         {"time_format": "%d.%m.%Y %H:%M"}, "time"),
        (pa.array([f"2020-01-01 00:0{k}" for k in range(5)]).dictionary_encode(), {}, "time"),
        (pa.array(range(0, 300, 60)), {}, "index"),
    ],
)  # fmt: skip
def test_times_of_every_kind(tmp_path: Path, column: pa.Array, options: dict[str, Any], kind: str) -> None:
    save(tmp_path / "a.parquet", pa.table({"time": column, "value": range(5)}))
    source = parquet_source(tmp_path, **options)
    (series,) = series_of(source)
    zero = 0 if kind == "index" else START
    assert (series.timestamps - zero).tolist() == [k * MINUTE for k in range(5)] and series.time_kind == kind
    (part,) = series_of(source, ["a"], zero + MINUTE, zero + 3 * MINUTE)
    assert part.values[:, 0].tolist() == [1, 2]
    (rest,) = series_of(source, ["a"], zero + 3 * MINUTE + 1, None)
    assert rest.values[:, 0].tolist() == [4]


def test_nanoseconds_are_kept_at_the_edges_of_a_range(tmp_path: Path) -> None:
    fine = pa.array(START + np.arange(9)).cast(pa.timestamp("ns"))
    save(tmp_path / "a.parquet", pa.table({"time": fine, "v": range(9)}))
    (series,) = series_of(parquet_source(tmp_path), None, START + 3, START + 7)
    assert series.values[:, 0].tolist() == [3, 4, 5, 6]


def test_a_range_reads_only_the_row_groups_that_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.parquet", table(1000), row_group_size=100)
    read: list[int] = []
    original = pq.read_table
    monkeypatch.setattr(pq, "read_table", lambda *a, **k: read.append((t := original(*a, **k)).num_rows) or t)
    source = parquet_source(tmp_path)
    (series,) = fetched(source, ["a"], START + 250 * MINUTE, START + 260 * MINUTE)
    assert read[-1] <= 14 and len(series) <= 14  # the row filter spares what statistics let through
    (whole,) = fetched(source, ["a"], None, None)
    assert len(whole) == 1000


def test_wide_and_long_files(tmp_path: Path) -> None:
    save(tmp_path / "wide.parquet", table(**{"P 1": range(5), "P2": pa.array([True, None, False, True, True])}))
    wide = parquet_source(tmp_path / "wide.parquet", layout="wide")
    assert [s.point_id for s in series_of(wide)] == ["P 1", "P2"] == wide.points()
    assert [s.values[3, 0] for s in series_of(wide, ["P2"])] == [1.0]
    save(tmp_path / "long.parquet", long({"b": 4, "a": 5}))
    source = parquet_source(tmp_path / "long.parquet", layout="long")
    assert source.points() == ["a", "b"] and [len(s) for s in series_of(source)] == [5, 4]
    assert [s.values[:, 0].tolist() for s in series_of(source, ["b"], START + MINUTE, None)] == [[1, 2, 3]]
    numbers = long({"7": 3, "10": 3}).set_column(0, "id", pa.array([7] * 3 + [10] * 3))
    save(tmp_path / "n.parquet", numbers.set_column(1, "t", numbers.column("timestamp")))
    assert parquet_source(tmp_path / "n.parquet", layout="long").points() == ["10", "7"]
    save(tmp_path / "other.parquet", long({"a": 3}))
    both = parquet_source(tmp_path, layout="long", glob=["long.*", "other.*"])
    assert both.points() == ["b"] and "is in" in str(failures_of(both)["a"])
    with pytest.raises(UnknownPointError):
        list(series_of(source, ["c"]))


def test_a_large_long_table_is_read_some_points_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "long.parquet", long({f"P{k}": 10 for k in range(8)}))
    monkeypatch.setattr(module, "ROWS", 30)
    read: list[int] = []
    original = pq.read_table
    monkeypatch.setattr(pq, "read_table", lambda *a, **k: read.append((t := original(*a, **k)).num_rows) or t)
    source = parquet_source(tmp_path / "long.parquet", layout="long")
    assert [len(s) for s in fetched(source, source.points(), None, None)] == [10] * 8
    assert read[1:] == [30, 30, 20]  # the first looked for points


@pytest.mark.parametrize("key", ["point_id", "unit"])
def test_a_partitioned_set(tmp_path: Path, key: str) -> None:
    rows = long({"U1/温度": 6, "b c": 4})
    if key == "unit":
        rows = rows.append_column("unit", pa.array(["x", "y"] * 5))
    parts = ds.partitioning(pa.schema([rows.schema.field(key)]), flavor="hive")
    ds.write_dataset(rows, tmp_path / "set", format="parquet", partitioning=parts)
    save(tmp_path / "set" / "_temporary" / "half.parquet")
    source = parquet_source(tmp_path / "set", layout="long")
    assert source.points() == ["U1/温度", "b c"]
    one, two = series_of(source)
    assert len(one) == 6 and one.values[:, 0].tolist() == list(range(6)) and one.channels == ("value",)
    assert two.point_id == "b c" and two.values[:, 0].tolist() == [0, 1, 2, 3]  # of both files, sorted by time
    (part,) = series_of(source, ["b c"], START + 2 * MINUTE, START + 3 * MINUTE)
    assert part.values[:, 0].tolist() == [2]


def test_a_set_by_day_in_the_other_layouts(tmp_path: Path) -> None:
    for day in ("2020-01-02", "2020-01-01"):
        times = pa.array(np.datetime64(day, "ns") + np.arange(3) * np.timedelta64(1, "h"))
        save(tmp_path / "plant" / f"date={day}" / "part-0.parquet",
             pa.table({"timestamp": times, "P1": [1, 2, 3], "P2": [4.0, 5.0, None]}))  # fmt: skip
    (series,) = series_of(parquet_source(tmp_path / "plant"))
    assert series.point_id == "plant" and series.channels == ("P1", "P2") and len(series) == 6
    assert [s.point_id for s in series_of(parquet_source(tmp_path / "plant", layout="wide"))] == ["P1", "P2"]
    alone = parquet_source(tmp_path / "plant", hive="none")
    assert alone.points() == ["date=2020-01-01/part-0", "date=2020-01-02/part-0"]
    assert [len(s) for s in series_of(alone)] == [3, 3]


def test_damaged_files_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    good = save(tmp_path / "a.parquet")
    (tmp_path / "cut.parquet").write_bytes(good.read_bytes()[:-40])
    (tmp_path / "text.parquet").write_text("timestamp,value\n1,2\n")
    (tmp_path / "none.parquet").write_bytes(b"")
    torn = bytearray(good.read_bytes())
    torn[8:60] = b"\xff" * 52  # the footer is whole, the data are not
    (tmp_path / "torn.parquet").write_bytes(bytes(torn))
    save(tmp_path / "empty.parquet", table(0, value=pa.array([], pa.float64())))
    save(tmp_path / "words.parquet", table(value=["1", "on", "off", "2", "3"]))
    save(tmp_path / "z.parquet")
    source = parquet_source(tmp_path)
    assert [s.point_id for s in series_of(source)] == ["a", "z"]
    failures = failures_of(source)
    assert set(failures) == {"cut", "text", "none", "torn", "empty", "words"}
    for name in ("cut", "text", "none"):
        assert f"{name}.parquet is no Parquet file, or a truncated one" in str(failures[name])
    assert "torn.parquet cannot be read" in str(failures["torn"])
    assert "'on' in value column 'value' is not a number" in str(failures["words"])
    assert "empty.parquet has no rows" in str(failures["empty"])
    inner = parquet_source(tmp_path, layout="wide", glob=["a.parquet", "cut.parquet", "z.parquet"])
    assert [s.point_id for s in series_of(inner)] == ["a/value", "z/value"] and set(failures_of(inner)) == {"cut"}


def test_a_damaged_part_of_a_set_is_named(tmp_path: Path) -> None:
    for point in ("a", "b"):
        save(tmp_path / f"point_id={point}" / "x.parquet")
    (tmp_path / "point_id=b" / "x.parquet").write_bytes(b"PAR1 no")
    source = parquet_source(tmp_path, layout="long")
    assert [s.point_id for s in series_of(source)] == ["a"]
    assert list(failures_of(source)) == ["point_id=b/x"]


def test_labels_of_a_column_and_of_a_file(tmp_path: Path) -> None:
    save(tmp_path / "a.parquet", table(value=range(5), label=[0, 1, 1, 0, 0]))
    (series,) = series_of(parquet_source(tmp_path))
    assert series.labels == (Interval(START + MINUTE, START + 3 * MINUTE),) and series.channels == ("value",)
    save(tmp_path / "a.parquet", table(value=range(5), kind=pa.array(["", "", "spike", "", ""]).dictionary_encode()))
    (series,) = series_of(parquet_source(tmp_path, label_column="kind"))
    assert series.labels == (Interval(START + 2 * MINUTE, START + 3 * MINUTE, "spike"),)
    csv = tmp_path / "labels.csv"
    csv.write_text("point_id,start,end\na,2020-01-01T00:03,2020-01-01T00:04\n")
    (series,) = series_of(parquet_source(tmp_path, labels=str(csv), label_column=None, value_columns=["value"]))
    assert series.labels == (Interval(START + 3 * MINUTE, START + 4 * MINUTE),)
    csv.write_text("point_id,start,end\nb,2020-01-01T00:03,2020-01-01T00:04\n")
    with pytest.raises(LabelError, match="'b'"):
        list(series_of(parquet_source(tmp_path, labels=str(csv))))


def test_what_pandas_and_others_write(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"level": [Decimal("1.5"), None, Decimal("2.25")], "big": [2**60, 2**60 + 1, 3], "half": np.float16([1, 2, 3])},
        index=pd.date_range("2020-01-01", periods=3, freq="min"),
    )
    frame.to_parquet(tmp_path / "a.parquet")  # an index without a name
    (series,) = series_of(parquet_source(tmp_path))
    assert series.timestamps[0] == START and set(series.channels) == {"level", "big", "half"}
    assert np.array_equal(series.values[:, series.channels.index("level")], [1.5, np.nan, 2.25], equal_nan=True)
    assert series.values[0, series.channels.index("big")] == float(2**60)


def test_the_digest_follows_files_and_options(tmp_path: Path) -> None:
    save(tmp_path / "a.parquet")
    save(tmp_path / "b.parquet")
    source = parquet_source(tmp_path)
    before, other, whole = source.digest("a"), source.digest("b"), source.digest()
    save(tmp_path / "a.parquet", table(7, value=range(7)))
    again = parquet_source(tmp_path)
    assert again.digest("a") != before and again.digest("b") == other and again.digest() != whole
    assert parquet_source(tmp_path, time_zone="+08:00").digest("b") != other
    assert again.identity() == source.identity() != parquet_source(tmp_path, duplicates="mean").identity()


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no file"):
        parquet_source(tmp_path).points()
    with pytest.raises(SourceError, match="there is no file or folder"):
        parquet_source(tmp_path / "x").points()
    for options, found in (({"hive": "maybe"}, "hive"), ({"layout": "tall"}, "layout"), ({"glob": []}, "glob")):
        with pytest.raises(ConfigError, match=found):
            parquet_source(tmp_path, **options)
    save(tmp_path / "a.parquet")
    source = parquet_source(tmp_path, value_columns=["speed"])
    with pytest.raises(SourceError, match="no column 'speed'"):
        list(series_of(source))
    assert isinstance(failures_of(source)["a"], SeriesError)
