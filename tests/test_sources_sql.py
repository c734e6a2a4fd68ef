"""sources.sql on SQLite: layouts, ranges, many points by few statements, all kinds of times, names that inject."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from reading_kit import failed, failures_of, fetched, series_of
from sql_kit import SECOND, START, WEIRD, fill, sql_source, statements, submission

from tsad.core.errors import (
    AccessError,
    ConfigError,
    LabelError,
    MissingPackageError,
    SeriesError,
    SourceError,
    SourceUnavailableError,
    TooManyRowsError,
    UnknownPointError,
)
from tsad.core.types import Interval
from tsad.sources.sql import connection, readers
from tsad.sources.sql import source as module

LONG = {"point_id": sa.String(40), "timestamp": sa.BigInteger(), "value": sa.Float()}


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = tmp_path / "厂 1.db"
    path.touch()
    return f"sqlite:///{path}"


def ramp(point: str, count: int, first: int = START) -> list[tuple[str, int, float]]:
    return [(point, first + k, float(k)) for k in range(count)]


def test_a_long_table_gives_pieces_of_exactly_the_range(url: str) -> None:
    fill(url, "readings", LONG, [*ramp("U1.b", 10), *ramp("U1.a", 5), *ramp("温度 2", 3, START + 100)])
    source = sql_source(url)
    assert source.points() == ["U1.a", "U1.b", "温度 2"] and source.ranged
    whole = {s.point_id: s for s in fetched(source, source.points(), None, None)}
    assert list(whole) == source.points() and not failed(source)
    assert whole["U1.a"].timestamps.tolist() == [(START + k) * SECOND for k in range(5)]
    assert whole["U1.a"].values.tolist() == [[float(k)] for k in range(5)]
    assert whole["U1.a"].channels == ("value",) and whole["U1.a"].time_kind == "time"
    assert source.extents(["温度 2", "U1.a"]).spans == {
        "温度 2": ((START + 100) * SECOND, (START + 102) * SECOND + 1),
        "U1.a": (START * SECOND, (START + 4) * SECOND + 1),
    }
    start, end = (START + 4) * SECOND, (START + 8) * SECOND
    asked = ["温度 2", "U1.b", "U1.a"]  # the first has nothing there, and is no failure
    part = list(fetched(source, asked, start, end))
    assert [(s.point_id, s.values[:, 0].tolist()) for s in part] == [("U1.b", [4, 5, 6, 7]), ("U1.a", [4])]
    assert not failed(source, asked, start, end)
    # bounds finer than the column's seconds
    assert [len(s) for s in fetched(source, ["U1.b"], start + 1, end + 1)] == [4]
    assert [len(s) for s in fetched(source, ["U1.b"], end - 5 * SECOND, end - 4 * SECOND)] == [1]
    with pytest.raises(UnknownPointError, match=r"U1\.a"):
        list(series_of(source, ["U1.A"]))


def test_many_points_cost_few_statements(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row for k in range(60) for row in ramp(f"P{k:02d}", 20)]
    fill(url, "readings", LONG, rows, key=["point_id", "timestamp"])
    source = sql_source(url)
    assert len(source.points()) == 60 and source._clock
    sent = statements(source)
    assert [len(s) for s in fetched(source, source.points(), None, None)] == [20] * 60
    assert len(sent) == 2  # one counts, one reads
    sent.clear()
    assert len(source.extents(source.points()).spans) == 60
    assert len(sent) == 1
    monkeypatch.setattr(module, "BATCH", 300)
    sent.clear()
    assert [s.point_id for s in fetched(source, source.points()[::-1], None, None)] == source.points()[::-1]
    assert len(sent) == 1 + 4


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_a_large_point_comes_in_parts(layout: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    seconds = np.sort(rng.integers(0, 300, 500))  # many rows of one time, at the edges of parts too
    rows = [("A", START + int(s), float(k)) for k, s in enumerate(seconds)]
    shuffled = [rows[k] for k in rng.permutation(500)]
    if layout == "long":
        fill(url, "readings", LONG, shuffled)
        source = sql_source(url, duplicates="mean")
    else:
        fill(url, "readings", {"timestamp": sa.BigInteger(), "A": sa.Float(), "B": sa.Float()},
             [(t, v, v) for _, t, v in shuffled])  # fmt: skip
        source = sql_source(url, layout="wide", duplicates="mean")
    (whole,) = fetched(source, ["A"], None, None)
    assert source._clock
    monkeypatch.setattr(module, "BATCH", 64)
    sent = statements(source)
    (parts,) = fetched(source, ["A"], None, None)
    assert len(sent) > 500 / 64 and whole.digest == parts.digest
    expected = [np.mean([v for _, t, v in rows if t == s]) for s in np.unique([t for _, t, _ in rows])]
    assert np.allclose(parts.values[:, 0], expected) and parts.notes == whole.notes
    monkeypatch.setattr(module, "BATCH", 2)  # parts smaller than the rows of one time
    (tiny,) = fetched(source, ["A"], None, None)
    assert tiny.digest == whole.digest


def test_a_large_point_with_times_of_text_comes_in_parts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spelled = [f"2024-01-01T00:{k // 60:02d}:{k % 60:02d}" + ("" if k < 900 else ".5") for k in range(1200)]
    zoned = [f"{text}+01:00" for text in spelled]
    mixed = [*spelled, "2024-01-02T00:00:00Z"]  # beyond the rows by which the column is judged
    times = {"readings": spelled, "zoned": zoned, "mixed": mixed}
    for name, texts in times.items():
        fill(url, name, {**LONG, "timestamp": sa.String(40)}, [("A", t, 1.0) for t in texts])
    monkeypatch.setattr(module, "BATCH", 110)
    for name, hour in (("readings", 0), ("zoned", 3600)):
        (parts,) = fetched(sql_source(url, name), ["A"], None, None)
        assert len(parts) == 1200 and parts.timestamps[900] == (START - hour + 900) * SECOND + SECOND // 2
    source = sql_source(url, "mixed")
    assert list(fetched(source, ["A"], None, None)) == [] and "mixed time zones" in str(failed(source, ["A"])["A"])


def test_row_by_row_gives_the_same(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {**LONG, "timestamp": sa.DateTime(), "flag": sa.Boolean(), "level": sa.Numeric(10, 3)}
    rows = [(p, dt.datetime(2024, 1, 1) + dt.timedelta(seconds=k), k / 3 if k % 5 else None, k % 2 == 0, k)
            for p in "ab" for k in range(50)]  # fmt: skip
    fill(url, "readings", columns, rows)
    source = sql_source(url)
    packed = list(fetched(source, source.points(), None, None))
    assert packed[0].channels == ("value", "flag", "level")
    monkeypatch.setattr(readers, "_from_sqlite", lambda c, q, t, _, cs: readers._row_by_row(c, q, t, cs))
    plain = list(fetched(source, source.points(), None, None))
    assert [s.digest for s in packed] == [s.digest for s in plain] and len(plain) == 2
    assert plain[0].values[1].tolist() == [1 / 3, 0.0, 1.0] and np.isnan(plain[0].values[0, 0])


def test_a_wide_table_has_a_point_per_column(url: str) -> None:
    columns = {"time": sa.DateTime(), "P 1": sa.Float(), "P2": sa.Integer(), "note": sa.String(9), "label": sa.Float()}
    rows = [(dt.datetime(2024, 1, 1, 0, k), k / 2, None if k == 3 else k, "x", 0) for k in range(6)]
    fill(url, "readings", columns, rows)
    source = sql_source(url, layout="wide")
    assert source.points() == ["P 1", "P2"]
    one, two = fetched(source, ["P2", "P 1"], None, None)
    assert (one.point_id, two.point_id) == ("P2", "P 1")
    assert np.array_equal(one.values[:, 0], [0, 1, 2, np.nan, 4, 5], equal_nan=True)
    assert two.timestamps[0] == START * SECOND and two.values[5, 0] == 2.5
    assert source.extents(["P2"]).spans == {"P2": (START * SECOND, (START + 300) * SECOND + 1)}
    assert [len(s) for s in fetched(source, ["P2"], (START + 60) * SECOND, (START + 180) * SECOND)] == [2]
    named = sql_source(url, layout="wide", value_columns=["note", "P2"])
    assert [s.point_id for s in series_of(named)] == ["P2"]  # text is that point's failure alone
    assert "in column 'note' 'x' is not a number" in str(failures_of(named)["note"])


@pytest.mark.parametrize(
    ("kind", "values", "options", "stamps"),
    [
        (sa.DateTime(), [dt.datetime(2024, 1, 1, 8), dt.datetime(2024, 1, 1, 8, 0, 0, 250_000)],
         {"time_zone": "+08:00"}, [0, 250_000_000]),
        (sa.String(40), ["2024-01-01T01:00:00+01:00", "2024-01-01T01:00:01.5+01:00"], {}, [0, 1_500_000_000]),
        (sa.Date(), [dt.date(2024, 1, 1), dt.date(2024, 1, 2)], {}, [0, 86_400 * SECOND]),
        (sa.Integer(), [START, START + 7], {}, [0, 7 * SECOND]),
        (sa.BigInteger(), [START * 1000, START * 1000 + 7], {}, [0, 7_000_000]),
        (sa.BigInteger(), [START * SECOND, START * SECOND + 7], {}, [0, 7]),
        (sa.Float(), [START + 0.25, START + 0.5], {}, [250_000_000, 500_000_000]),
        (sa.DateTime(), [dt.datetime(2024, 1, 1, 1), dt.datetime(2024, 1, 1, 1, 1)],
         {"time_zone": "Europe/Berlin"}, [0, 60 * SECOND]),
    ],
)  # fmt: skip
def test_times_of_every_kind(url: str, kind: Any, values: list[Any], options: dict[str, Any], stamps: Any) -> None:
    fill(url, "readings", {**LONG, "timestamp": kind}, [("a", v, 1.0) for v in values])
    source = sql_source(url, **options)
    (series,) = fetched(source, ["a"], None, None)
    zero = START * SECOND
    assert (series.timestamps - zero).tolist() == stamps and series.time_kind == "time"
    assert source.extents(["a"]).spans == {"a": (zero + stamps[0], zero + stamps[1] + 1)}
    for start, end, count in ((0, stamps[1], 1), (stamps[0], stamps[1] + 1, 2), (stamps[0] + 1, stamps[1] + 1, 1)):
        found = list(fetched(source, ["a"], zero + start, zero + end))
        assert [len(s) for s in found] == [count]
    assert list(fetched(source, ["a"], zero - 10 * SECOND, zero)) == []


def test_an_index_is_kept_as_one(url: str) -> None:
    fill(url, "readings", {**LONG, "timestamp": sa.Integer()}, [("a", k, float(k)) for k in range(100)])
    (series,) = fetched(sql_source(url), ["a"], 10 * SECOND, 20 * SECOND)
    assert series.time_kind == "index" and series.values[:, 0].tolist() == list(range(10, 20))


def test_names_that_need_quotes_or_try_to_inject(url: str) -> None:
    fill(url, "x", LONG, ramp("kept", 3))
    columns = {'id"; drop table x; --': sa.String(80), "order": sa.BigInteger(), "%(value)s :v": sa.Float()}
    points = ["'; drop table x; --", 'a"b', "100% :p %(x)s", "a\\b"]
    fill(url, WEIRD, columns, [(p, START + k, k) for p in points for k in range(3)])
    labels = {"point_id": sa.String(80), "start": sa.BigInteger(), "end": sa.BigInteger(), "label": sa.String(9),
              "annotator": sa.String(9), "submitted_at": sa.Integer()}  # fmt: skip
    fill(url, 'l"; drop table x', labels, submission(points[0], "ann", 1, (START, START + 1)))
    source = sql_source(
        url, WEIRD, point_column='id"; drop table x; --', time_column="order", labels_table='l"; drop table x'
    )
    found = {s.point_id: s for s in series_of(source)}
    assert set(found) == set(points) and all(s.values[:, 0].tolist() == [0, 1, 2] for s in found.values())
    assert found[points[0]].channels == ("%(value)s :v",)
    assert len(source.extents(points).spans) == 4
    assert list(source.annotations(points) or {}) == [points[0]]
    assert [len(s) for s in series_of(sql_source(url, "x"))] == [3]  # nothing was dropped
    for wrong in ("x; drop table x", "(select 1)", "x --"):
        with pytest.raises(SourceError, match="has no table or view"):
            sql_source(url, wrong).points()
    with pytest.raises(SourceError, match=r"has no column 'value; drop table x'.*value_columns"):
        sql_source(url, "x", value_columns=["value; drop table x"]).points()
    assert [len(s) for s in series_of(sql_source(url, "x"))] == [3]


def test_text_in_a_value_column_is_its_point_s_failure(url: str) -> None:
    fill(url, "readings", LONG, [*ramp("a", 3), *ramp("c", 3)])
    engine = sa.create_engine(url)
    with engine.begin() as c:
        c.exec_driver_sql("insert into readings values ('b', 1704067200, 1.5), ('b', 1704067201, 'OPEN')")
        c.exec_driver_sql("insert into readings values ('n', 1704067200, null), ('n', 'noon', 1.0)")
    source = sql_source(url)
    assert [s.point_id for s in fetched(source, source.points(), None, None)] == ["a", "c"]
    failures = failed(source)
    assert set(failures) == {"b", "n"}
    assert "series 'b'" in str(failures["b"]) and "'OPEN' is not a number" in str(failures["b"])
    assert "'noon'" in str(failures["n"]) and isinstance(failures["n"], SeriesError)
    assert set(source.extents(source.points()).spans) >= {"a", "b", "c"}


def test_too_many_rows_are_refused_with_their_count_before_any_is_read(url: str) -> None:
    fill(url, "readings", LONG, [*ramp("a", 30), *ramp("b", 30)])
    source = sql_source(url, max_rows=59)
    with pytest.raises(TooManyRowsError, match=r"60 rows.*2 point\(s\); source\.max_rows=59"):
        next(fetched(source, ["a", "b"], None, None))
    assert [len(s) for s in fetched(source, ["a", "b"], START * SECOND, (START + 29) * SECOND)] == [29, 29]
    assert [len(s) for s in fetched(source, ["a"], None, None)] == [30]


def test_points_are_found_by_their_index(url: str) -> None:
    fill(url, "readings", LONG, ramp("b", 50) + ramp("a", 50), key=["point_id", "timestamp"])
    source = sql_source(url)
    sent = statements(source)
    assert source.points() == ["a", "b"]
    assert "WITH RECURSIVE" in sent[-1]
    fill(url, "other", {**LONG, "point_id": sa.Integer()}, [(p, START, 1.0) for p in (10, 9, 10, None)])
    numbers = sql_source(url, "other", min_points=1)
    assert numbers.points() == ["10", "9"]  # numbers are named by their text, and asked for as numbers
    assert [s.point_id for s in fetched(numbers, ["9", "10"], None, None)] == ["9", "10"]


def test_a_view_and_a_schema_are_read_like_a_table(url: str, tmp_path: Path) -> None:
    fill(url, "readings", LONG, ramp("a", 4))
    with sa.create_engine(url).begin() as c:
        c.exec_driver_sql("create view doubled as select point_id, timestamp, 2 * value as value from readings")
    source = sql_source(url, "doubled", value_columns=["value"])
    assert [s.values[3, 0] for s in series_of(source)] == [6.0]
    assert [len(s) for s in series_of(sql_source(url, "readings", schema="main"))] == [4]
    with pytest.raises(SourceError, match=r"no table or view 'reading'.*It has readings"):
        sql_source(url, "reading").points()


@pytest.mark.parametrize(
    ("columns", "options", "found"),
    [
        ({"timestamp": sa.Integer(), "value": sa.Float()}, {}, "no point column"),
        ({"point_id": sa.String(9), "a": sa.Float(), "b": sa.Float()}, {}, "no time column"),
        ({"point_id": sa.String(9), "time": sa.Integer(), "words": sa.String(9)}, {}, "no column of numbers"),
        (LONG, {"time_column": "when"}, "no column 'when'"),
        (LONG, {}, "holds no points"),
    ],
)
def test_tables_that_are_none_of_series_say_why(url: str, columns: Any, options: Any, found: str) -> None:
    fill(url, "readings", columns, [])
    with pytest.raises(SourceError, match=found):
        sql_source(url, **options).points()


@pytest.mark.parametrize(
    ("values", "options", "found"),
    [
        (["31.01.2024 08:00", "01.02.2024 08:00"], {}, "does not sort by time"),
        ([20_240_101, 20_240_102], {}, "dates written as numbers"),
        ([b"x", b"y"], {}, "holds no times"),
        (["2024-01-01T01:00:00+01:00", "2024-01-01T00:30:00Z"], {}, "does not sort by time"),
        ([START, START + 1], {"time_format": "iso"}, "holds numbers"),
        (["2024-01-01T01:00:00", "2024-01-01 00:30:00"], {}, "does not sort by time"),
        (["2024-01-01"], {"time_format": "ms"}, "holds no numbers"),
    ],
)
def test_times_that_cannot_be_ordered_say_what_to_do(url: str, values: list[Any], options: Any, found: str) -> None:
    fill(url, "readings", {**LONG, "timestamp": sa.types.LargeBinary()}, [])
    with sa.create_engine(url).begin() as c:
        for v in values:
            c.exec_driver_sql("insert into readings values ('a', ?, 1.0)", (v,))
    with pytest.raises(SourceError, match=found):
        list(fetched(sql_source(url, **options), ["a"], None, None))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"layout": "tall"}, "layout"), ({"duplicates": "first"}, "duplicates"), ({"table": ""}, "table"),
        ({"url_env": "postgresql://u:hunter2@h/d"}, "environment variable"), ({"max_rows": 0}, "max_rows"),
        ({"time_format": "%d.%m.%Y"}, "time_format"), ({"time_zone": "Mars"}, "time_zone"),
        ({"labels_table": "l", "labels_columns": {"start": None}}, "lacks start"),
        ({"labels_table": "l", "labels_columns": {"who": "x"}}, "names who"), ({"labels_agreement": 2.0}, "agreement"),
    ],
)  # fmt: skip
def test_impossible_options_are_refused_by_name(options: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=found) as caught:
        sql_source("sqlite:///x.db", **options)
    assert "hunter2" not in str(caught.value)


def test_the_url_comes_from_the_environment_and_no_password_is_ever_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TSAD_SQL_URL", raising=False)
    with pytest.raises(ConfigError, match="TSAD_SQL_URL is empty"):
        sql_source(None).points()
    monkeypatch.setenv("TSAD_SQL_URL", "postgresql://ann:hunter2@db.plant:5433/history?sslpassword=hunter2")
    source = sql_source(None, schema="u1")
    assert source.describe() == "sql:postgresql://db.plant:5433/history/u1.readings"
    identity = source.identity()
    monkeypatch.setenv("TSAD_SQL_URL", "postgresql+psycopg://bob:other@db.plant:5433/history")
    assert sql_source(None, schema="u1").identity() == identity  # who reads does not matter
    assert sql_source(None, schema="u1", retries=9, max_rows=5).identity() == identity
    for other in ({"schema": "u2"}, {"time_zone": "+08:00"}, {"value_columns": ["x"]}):
        assert sql_source(None, **{"schema": "u1", **other}).identity() != identity
    assert source.digest("a") == source.digest("a") != source.digest("b")
    monkeypatch.setenv("TSAD_SQL_URL", "hunter2 is no URL")
    with pytest.raises(ConfigError, match="TSAD_SQL_URL is no SQLAlchemy URL") as caught:
        sql_source(None).points()
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"source\.url holds a password") as caught:
        sql_source("postgresql://u:hunter2@h/d").points()
    assert "hunter2" not in str(caught.value)


def test_drivers_and_kinds_that_are_not_there_are_named() -> None:
    with pytest.raises(MissingPackageError, match=r"oracledb"):
        sql_source("oracle+oracledb://h/d").points()
    with pytest.raises(ConfigError, match="nosuch is no database"):
        sql_source("nosuch://h/d").points()


def test_a_missing_driver_of_postgresql_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingPackageError, match=r"pip install -e '.*\[postgres\]'"):
        sql_source("postgresql://localhost/d").points()


def test_what_cannot_be_reached_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceUnavailableError, match=r"there is no file .*gone\.db"):
        sql_source(f"sqlite:///{tmp_path / 'gone.db'}").points()
    assert not (tmp_path / "gone.db").exists()
    slept: list[float] = []
    monkeypatch.setattr(connection.time, "sleep", slept.append)
    with pytest.raises(SourceUnavailableError, match=r"postgresql://127\.0\.0\.1:9/plant cannot be reached"):
        sql_source("postgresql+psycopg://127.0.0.1:9/plant", retries=3, retry_seconds=0.5).points()
    assert slept == [0.5, 1.0, 2.0]
    (tmp_path / "text.db").write_text("no database, whatever its name says" * 40)
    with pytest.raises(SourceError, match="not a database") as caught:
        sql_source(f"sqlite:///{tmp_path / 'text.db'}").points()
    assert not isinstance(caught.value, SourceUnavailableError | AccessError)


def test_a_statement_that_fails_is_tried_again_and_what_was_read_stays(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(url, "readings", LONG, [*ramp("a", 90), *ramp("b", 10)])
    source = sql_source(url, retries=2)
    (whole, _) = fetched(source, ["a", "b"], None, None)
    monkeypatch.setattr(module, "BATCH", 20)
    sent = statements(source)
    broken = fails_at(monkeypatch, {3, 4})
    (again, _) = fetched(source, ["a", "b"], None, None)
    assert again.digest == whole.digest and broken() == 2
    reads = [s for s in sent if "tsad_numbers" in s]
    assert len(reads) <= 90 / 19 + 4  # parts before the failure were not read again
    assert "Trying again in 0.01 s (1 of 2)" in caplog.text and "(2 of 2)" in caplog.text
    broken = fails_at(monkeypatch, {1, 2, 3, 4, 5})
    with pytest.raises(SourceUnavailableError, match="server closed the connection"):
        list(fetched(source, ["a"], None, None))


def fails_at(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> Callable[[], int]:
    """The reads of these numbers lose their server; the answer says how many did."""
    original, seen, failed = readers._from_sqlite, [0], [0]

    def flaky(*args: Any) -> Any:
        seen[0] += 1
        if seen[0] in calls:
            failed[0] += 1
            raise sa.exc.OperationalError("select", {}, Exception("server closed the connection unexpectedly"))
        return original(*args)

    if original.__name__ == "flaky":
        monkeypatch.undo()
        original = readers._from_sqlite
    monkeypatch.setattr(readers, "_from_sqlite", flaky)
    return lambda: failed[0]


def test_since_and_until_bind_every_read(url: str) -> None:
    fill(url, "readings", LONG, ramp("a", 3600))
    (series,) = series_of(sql_source(url, since="2024-01-01T00:10:00", until="2024-01-01T01:00:00+00:30"))
    assert list(series.timestamps[[0, -1]]) == [(START + 600) * SECOND, (START + 1799) * SECOND]
    assert sql_source(url, since="2024-01-02").identity() == sql_source(url).identity(), "the cache is the same"
    with pytest.raises(ConfigError, match="is not before"):
        sql_source(url, since="2024-01-02", until="2024-01-01")


# -- labels ---------------------------------------------------------------------------------------

LABELS = {
    "point_id": sa.String(40), "start": sa.DateTime(), "end": sa.DateTime(), "label": sa.String(20),
    "annotator": sa.String(20), "submitted_at": sa.DateTime(),
}  # fmt: skip


def minute(k: int) -> dt.datetime:
    return dt.datetime(2024, 1, 1, 0, k)


def ns(a: int, b: int, label: str = "Anomaly") -> Interval:
    return Interval((START + 60 * a) * SECOND, (START + 60 * b) * SECOND, label)


def test_labels_of_several_annotators(url: str) -> None:
    fill(url, "readings", LONG, ramp("a", 3600) + ramp("b", 3600) + ramp("c", 3600) + ramp("d", 3600))
    rows = [
        *submission("a", "ann", minute(1), (minute(2), minute(4))),  # replaced as a whole by her next one
        *submission("a", "ann", minute(9), (minute(10), minute(20)), (minute(30), minute(40)), kind="spike"),
        *submission("a", "bob", minute(2), (minute(12), minute(20)), kind="spike"),
        *submission("b", "ann", minute(1), (minute(5), minute(6))),
        *submission("c", "ann", minute(1), (minute(5), minute(6))),
        *submission("c", "ann", minute(2)),  # she thought again: nothing is abnormal
        *submission("x", "ann", minute(1), (minute(5), minute(6))),
    ]
    fill(url, "labels", LABELS, rows)
    source = sql_source(url, labels_table="labels", labels_agreement=1.0)
    assert source._table and source._clock
    sent = statements(source)
    found = source.annotations(source.points())
    assert found is not None and len([s for s in sent if s.startswith("SELECT labels")]) == 1
    assert set(found) == {"a", "b", "c"}  # d was labelled by nobody
    assert found["a"].intervals == (ns(12, 20, "spike"),)
    assert found["a"].disputed == (ns(10, 12, "spike"), ns(30, 40, "spike"))
    assert found["b"].intervals == (ns(5, 6),) and found["b"].disputed == ()
    assert found["c"].intervals == () and found["c"].disputed == ()
    assert sql_source(url).annotations(["a"]) is None
    alike = sql_source(url, labels_table="labels", labels_agreement=0.7).annotations(["a"])
    assert alike is not None and alike["a"].disputed == (ns(30, 40, "spike"),)


def test_labels_reach_the_series_that_are_read(url: str) -> None:
    fill(url, "readings", LONG, ramp("a", 3600))
    fill(url, "labels", LABELS, [*submission("a", "ann", minute(1), (minute(10), minute(20))),
                                 *submission("a", "bob", minute(1), (minute(15), minute(20)))])  # fmt: skip
    (series,) = series_of(sql_source(url, labels_table="labels", labels_agreement=1.0))
    assert series.labels == (ns(15, 20),) and series.disputed == (ns(10, 15),)


def test_labels_without_annotator_kind_or_time_and_with_inclusive_ends(url: str) -> None:
    fill(url, "readings", LONG, ramp("a", 60))
    fill(url, "labels", {"tag": sa.String(9), "from": sa.Integer(), "to": sa.Integer()}, [("a", START, START + 5)])
    columns = {"point": "tag", "start": "from", "end": "to", "label": None, "annotator": None, "submitted_at": None}
    found = sql_source(url, labels_table="labels", labels_columns=columns, labels_end="inclusive").annotations(["a"])
    assert found is not None and found["a"].intervals == (Interval(START * SECOND, (START + 5) * SECOND + 1),)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([("a", minute(5), None, None, "ann", minute(1))], "only a start or an end"),
        ([("a", minute(5), minute(5), None, "ann", minute(1))], "is not after it"),
    ],
)
def test_labels_that_cannot_be_are_named(url: str, rows: list[Any], found: str) -> None:
    fill(url, "readings", LONG, ramp("a", 60))
    fill(url, "labels", LABELS, rows)
    with pytest.raises(LabelError, match=f"labels: .*{found}"):
        sql_source(url, labels_table="labels").annotations(["a"])
    with pytest.raises(SourceError, match=r"no table or view 'lables'.*labels"):
        sql_source(url, labels_table="lables").annotations(["a"])
    with pytest.raises(SourceError, match="no column 'who'"):
        sql_source(url, labels_table="labels", labels_columns={"annotator": "who"}).annotations(["a"])


# -- by the command line's configuration ----------------------------------------------------------


def test_the_config_makes_the_source_and_refuses_what_it_does_not_know(url: str, bench: Callable[..., Any]) -> None:
    fill(url, "readings", LONG, ramp("a", 60))
    columns = {"tag": sa.String(9), "start": sa.BigInteger(), "end": sa.BigInteger()}
    fill(url, "labels", columns, [("a", START + 5, START + 9)])
    absent = [f"source.labels_columns.{part}=null" for part in ("label", "annotator", "submitted_at")]
    made = bench(
        "source=sql", f"source.url='{url}'", "source.table=readings", "source.labels_table=labels",
        "source.labels_columns.point=tag", *absent,
    ).make_source()  # fmt: skip
    (series,) = series_of(made)
    assert len(series) == 60 and series.labels == (Interval((START + 5) * SECOND, (START + 9) * SECOND),)
    with pytest.raises(ConfigError, match="tabel"):
        bench("source=sql", "source.tabel=x")
    with pytest.raises(ConfigError, match="who"):
        bench("source=sql", "source.labels_columns.who=x")
    with pytest.raises(ConfigError, match=r"source\.table"):
        bench("source=sql").make_source()
