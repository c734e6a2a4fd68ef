"""source=sql on a real PostgreSQL: types, time zones, rights, odd names, and a server that dies at any moment."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from conftest import unavailable
from postgres import PostgresServer, find_home
from sqlalchemy.dialects import postgresql as pg

sys.path.insert(0, str(Path(__file__).parents[1]))


from reading_kit import failed, fetched, series_of
from sql_kit import SECOND, START, WEIRD, fill, sql_source, statements, submission

from tsad.core.errors import (
    AccessError,
    SeriesError,
    SourceError,
    SourceUnavailableError,
    TooManyRowsError,
    UnknownPointError,
)
from tsad.core.types import Interval
from tsad.sources.sql import readers
from tsad.sources.sql import source as module
from tsad.sources.sql.source import SqlSource

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
MIDNIGHT = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
LONG = {"point_id": sa.Text(), "timestamp": sa.DateTime(timezone=True), "value": sa.Double()}
KEY = ["point_id", "timestamp"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Its clock shows China's time, whatever this machine's does."""
    if find_home() is None:
        unavailable("PostgreSQL is not installed: apt-get install postgresql")
    server = PostgresServer({"timezone": "'Asia/Shanghai'"}).start()
    yield server
    server.remove()


@pytest.fixture
def database(server: PostgresServer, request: pytest.FixtureRequest) -> str:
    """A database of this test's own; its name."""
    name = f"test_{abs(hash(request.node.name)):x}"
    with sa.create_engine(server.url(), isolation_level="AUTOCOMMIT").connect() as c:
        c.exec_driver_sql(f'create database "{name}"')
    return name


@pytest.fixture
def url(server: PostgresServer, database: str) -> str:
    return server.url(database=database)


@pytest.fixture
def source(server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SqlSource]:
    """``source("readings", ...)``, its URL in the environment."""
    monkeypatch.setenv("TSAD_SQL_URL", url)
    return lambda table="readings", **options: sql_source(None, table, **options)


def ramp(point: str, count: int) -> list[tuple[str, dt.datetime, float]]:
    return [(point, MIDNIGHT + dt.timedelta(seconds=k), float(k)) for k in range(count)]


@pytest.mark.parametrize(
    ("kind", "make", "options"),
    [
        (sa.DateTime(timezone=True), lambda s: MIDNIGHT + dt.timedelta(seconds=s), {}),
        (sa.DateTime(), lambda s: dt.datetime(2024, 1, 1, 8) + dt.timedelta(seconds=s), {"time_zone": "Asia/Shanghai"}),
        (sa.DateTime(), lambda s: dt.datetime(2023, 12, 31, 19) + dt.timedelta(seconds=s), {"time_zone": "-05:00"}),
        (sa.Integer(), lambda s: START + int(s), {}),
        (sa.BigInteger(), lambda s: START * 1000 + int(s * 1000), {}),
        (sa.BigInteger(), lambda s: START * SECOND + int(s * SECOND), {"time_format": "ns"}),
        (sa.Double(), lambda s: START + s, {}),
        (sa.Numeric(20, 3), lambda s: START + s, {}),
        (sa.Text(), lambda s: (MIDNIGHT + dt.timedelta(seconds=s)).isoformat(), {}),
    ],
)
def test_times_of_every_kind(source: Any, url: str, kind: Any, make: Any, options: dict[str, Any]) -> None:
    steps = [0, 1, 2, 5, 60, 3600]
    rows = [(p, make(s), s / 3) for p in ("a", "b") for s in steps]
    fill(url, "readings", {**LONG, "timestamp": kind}, rows[::-1], key=KEY)
    one = source(**options)
    found = list(series_of(one))
    assert [s.point_id for s in found] == ["a", "b"]
    stamps = [(START + s) * SECOND for s in steps]
    for series in found:
        assert series.timestamps.tolist() == stamps and series.values[:, 0].tolist() == [s / 3 for s in steps]
    assert one.extents(["b", "a"]).spans == dict.fromkeys("ba", (stamps[0], stamps[-1] + 1))
    assert [s.values[:, 0].tolist() for s in fetched(one, ["a"], stamps[1], stamps[4])] == [[1 / 3, 2 / 3, 5 / 3]]
    assert list(fetched(one, ["a"], stamps[-1] + 1, None)) == list(fetched(one, ["a"], None, stamps[0])) == []


def test_values_of_every_kind_are_the_same_packed_and_row_by_row(
    source: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {
        **LONG, "small": sa.SmallInteger(), "big": sa.BigInteger(), "real": sa.REAL(), "exact": sa.Numeric(30, 10),
        "flag": sa.Boolean(), "kind": sa.Text(),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    rows = [
        (p, t, None if k % 7 == 0 else float(rng.normal() * 10.0 ** rng.integers(-99, 99)), k, 2**53 + k, k / 3,
         k / 7, k % 2 == 0, "x")
        for p in ("a", "b", "c") for k, (_, t, _) in enumerate(ramp(p, 200))
    ]  # fmt: skip
    rows[0] = (*rows[0][:2], float("nan"), *rows[0][3:])
    fill(url, "readings", columns, rows)
    one = source()
    packed = list(fetched(one, one.points(), None, None))
    assert packed[0].channels == ("value", "small", "big", "real", "exact", "flag")
    used: list[int] = []
    plain_reader = readers._row_by_row

    def one_by_one(connection: Any, picked: Any, table: Any, _: Any, columns: Any) -> Any:
        used.append(1)
        return plain_reader(connection, picked, table, columns)

    monkeypatch.setattr(readers, "_from_postgres", one_by_one)
    plain = list(fetched(one, one.points(), None, None))
    assert used and [s.point_id for s in plain] == [s.point_id for s in packed] == ["a", "b", "c"]
    for one_way, other in zip(packed, plain, strict=True):
        assert np.array_equal(one_way.timestamps, other.timestamps)
        for k, name in enumerate(one_way.channels):
            first, second = one_way.values[:, k], other.values[:, k]
            if name == "real":  # a driver rounds to the shortest decimal, the server gives all 24 bits
                assert np.array_equal(first.astype(np.float32), second.astype(np.float32))
            else:
                assert np.array_equal(first, second, equal_nan=True), name
    expected = [np.nan if r[2] is None else r[2] for r in rows[:200]]
    assert np.array_equal(packed[0].values[:, 0], expected, equal_nan=True)


def test_a_day_per_row_a_wide_table_a_view_and_a_schema(source: Any, url: str) -> None:
    with sa.create_engine(url).begin() as c:
        c.exec_driver_sql("create schema u1")
    days = [(dt.date(2024, 1, 1) + dt.timedelta(days=k), float(k), k, "x") for k in range(10)]
    columns = {"date": sa.Date(), "P.1": sa.Double(), "p_2": sa.Integer(), "note": sa.Text()}
    fill(url, "daily", columns, days, schema="u1")
    with sa.create_engine(url).begin() as c:
        c.exec_driver_sql('create view u1.shown as select date, "P.1" from u1.daily')
        c.exec_driver_sql('create materialized view u1.kept as select date, "P.1" from u1.daily')
    one = source("daily", schema="u1", layout="wide")
    assert one.points() == ["P.1", "p_2"] and one.describe().endswith("/u1.daily")
    assert [s.values[:, 0].tolist() for s in series_of(one)] == [list(range(10))] * 2
    day = 86_400 * SECOND
    assert [len(s) for s in fetched(one, ["p_2"], START * SECOND + day, START * SECOND + 3 * day)] == [2]
    for name in ("shown", "kept"):
        assert [len(s) for s in series_of(source(name, schema="u1", layout="wide"))] == [10]
    with pytest.raises(SourceError, match=r"schema 'u1', has no table or view 'dayly'.*daily"):
        source("dayly", schema="u1", layout="wide").points()


def test_many_points_by_few_statements_and_a_large_one_in_parts(
    source: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sa.create_engine(url).begin() as c:
        c.exec_driver_sql("create table readings (point_id text, timestamp timestamptz, value float8)")
        c.exec_driver_sql(
            "insert into readings select 'P' || lpad(p::text, 3, '0'), timestamptz '2024-01-01Z' + i * interval '1 s', "
            "sin(i + p) from generate_series(1, 200) p, generate_series(0, 499) i order by random()"
        )
        c.exec_driver_sql("create index on readings (point_id, timestamp)")
        c.exec_driver_sql("insert into readings select 'big', '2024-01-01Z'::timestamptz + (i / 3) * interval '1 s', i "
                          "from generate_series(0, 29999) i")  # fmt: skip
    one = source(duplicates="mean")
    assert len(one.points()) == 201 and one._clock
    sent = statements(one)
    assert len(one.extents(one.points()).spans) == 201 and len(sent) == 1
    sent.clear()
    found = list(fetched(one, one.points(), None, None))
    assert [s.point_id for s in found] == one.points() and len([s for s in sent if "FETCH" not in s]) == 2
    k = np.arange(500)
    assert np.allclose(found[7].values[:, 0], np.sin(k + 8))
    sent.clear()
    monkeypatch.setattr(module, "BATCH", 1000)
    (parts,) = fetched(one, ["big"], None, None)
    assert parts.digest == next(s for s in found if s.point_id == "big").digest and len(parts) == 10_000
    assert len([s for s in sent if "string_agg" in s]) >= 30


def test_points_that_are_numbers_or_uuids(source: Any, url: str) -> None:
    import uuid

    ids = [uuid.UUID(int=k) for k in (3, 1, 2)]
    for name, kind, points in (("numbers", sa.BigInteger(), [10, 9, 100]), ("uuids", sa.Uuid(), ids)):
        rows = [(p, *ramp("", 3)[k][1:]) for p in points for k in range(3)]
        fill(url, name, {**LONG, "point_id": kind}, rows, key=KEY)
        one = source(name)
        assert one.points() == sorted(map(str, points))
        assert [s.point_id for s in fetched(one, one.points(), None, None)] == one.points()
        assert set(one.extents(one.points()).spans) == set(one.points())
        with pytest.raises(UnknownPointError):
            list(series_of(one, ["7"]))


def test_names_that_need_quotes_or_try_to_inject(source: Any, url: str) -> None:
    fill(url, "x", LONG, ramp("kept", 3))
    columns = {'id"; drop table x; --': sa.Text(), "order": sa.DateTime(timezone=True), "%(value)s :v": sa.Double()}
    points = ["'; drop table x; --", 'a"b', "100% :p %(x)s", "a\\b", "温度"]
    fill(url, WEIRD, columns, [(p, t, v) for p in points for _, t, v in ramp(p, 3)])
    fill(url, 'l"; drop table x', LABELS, submission(points[0], "ann", MIDNIGHT, (MIDNIGHT, MIDNIGHT + SEC)))
    one = source(
        WEIRD, point_column='id"; drop table x; --', time_column="order", labels_table='l"; drop table x'
    )
    found = {s.point_id: s for s in series_of(one)}
    assert set(found) == set(points) and all(s.values[:, 0].tolist() == [0, 1, 2] for s in found.values())
    assert found[points[0]].labels == (Interval(START * SECOND, (START + 1) * SECOND),)
    assert len(one.extents(points).spans) == 5
    with pytest.raises(SourceError, match="has no table or view"):
        source("x; drop table x").points()
    with pytest.raises(SourceError, match="has no table or view"):
        source("x", schema='public"; drop table x; --').points()
    assert [len(s) for s in series_of(source("x"))] == [3]  # nothing was dropped


def test_what_cannot_be_read_is_named_by_point(source: Any, url: str) -> None:
    fill(url, "readings", {**LONG, "state": sa.Text()}, [(*r, "ON") for p in "ab" for r in ramp(p, 5)])
    with sa.create_engine(url).begin() as c:
        c.exec_driver_sql("insert into readings values ('endless', 'infinity', 1), ('late', '9999-01-01', 1), "
                          "('high', '2024-01-01Z', 'Infinity')")  # fmt: skip
    one = source()
    assert [s.point_id for s in fetched(one, one.points(), None, None)] == ["a", "b"]
    failures = failed(one)
    assert set(failures) == {"endless", "late", "high"}
    assert "1677 to 2262" in str(failures["late"]) and "infinite value" in str(failures["high"])
    assert all(isinstance(e, SeriesError) for e in failures.values())
    assert set(one.extents(one.points()).spans) >= {"a", "b", "high"}
    text = source(value_columns=["state"])
    asked = ["a", "b"], None, START * SECOND + SECOND
    assert list(fetched(text, *asked)) == [] and set(failed(text, *asked)) == {"a", "b"}
    assert "in column 'state' 'ON' is not a number" in str(failed(text, *asked)["a"])
    with pytest.raises(TooManyRowsError, match=r"holds 10 rows.*source\.max_rows=9"):
        next(fetched(source(max_rows=9), ["a", "b"], None, None))


def test_rights(source: Any, server: PostgresServer, database: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(url, "readings", LONG, ramp("a", 5))
    fill(url, "labels", LABELS, submission("a", "ann", MIDNIGHT, (MIDNIGHT, MIDNIGHT + SEC)))
    user = f"reader_{database}"
    with sa.create_engine(url).begin() as c:
        c.exec_driver_sql(f"create user {user} password 'hunter2'")
    monkeypatch.setenv("TSAD_SQL_URL", server.url(user, "hunter2", database))
    for one, step in ((source(), "points"), (source(labels_table="labels"), "annotations")):
        with pytest.raises(AccessError, match=r"permission denied.*SELECT") as caught:
            one.points() if step == "points" else one.annotations(["a"])
        assert "hunter2" not in str(caught.value)
    with sa.create_engine(url).begin() as c:
        c.exec_driver_sql(f"grant select on readings, labels to {user}")
    (series,) = series_of(source(labels_table="labels"))  # SELECT is all that is needed
    assert len(series) == 5 and series.labels
    for name, secret in ((user, "wrong"), ("nobody", "wrong")):
        monkeypatch.setenv("TSAD_SQL_URL", server.url(name, secret, database))
        began = time.monotonic()
        with pytest.raises(AccessError, match=r"refuses access.*password") as caught:
            source(retry_seconds=30.0).points()
        assert "wrong" not in str(caught.value) and time.monotonic() - began < 20  # not tried again
    monkeypatch.setenv("TSAD_SQL_URL", server.url(user, "hunter2", "no_such_database"))
    with pytest.raises(AccessError, match="no_such_database"):
        source().points()


SEC = dt.timedelta(seconds=1)
LABELS = {
    "point_id": sa.Text(), "start": sa.DateTime(timezone=True), "end": pg.TIMESTAMP(timezone=True), "label": sa.Text(),
    "annotator": sa.Text(), "submitted_at": sa.DateTime(timezone=True),
}  # fmt: skip


def test_labels_of_several_annotators(source: Any, url: str) -> None:
    fill(url, "readings", LONG, ramp("a", 100) + ramp("b", 100) + ramp("c", 100))

    def span(a: int, b: int) -> tuple[dt.datetime, dt.datetime]:
        return MIDNIGHT + a * SEC, MIDNIGHT + b * SEC

    fill(url, "labels", LABELS, [
        *submission("a", "ann", MIDNIGHT, span(0, 90)),
        *submission("a", "ann", MIDNIGHT + SEC, span(10, 20), span(50, 60)),
        *submission("a", "bob", MIDNIGHT, span(10, 20)), *submission("b", "ann", MIDNIGHT),
    ])  # fmt: skip
    found = {s.point_id: s for s in series_of(source(labels_table="labels"))}
    assert found["a"].labels == (Interval((START + 10) * SECOND, (START + 20) * SECOND),)
    assert found["a"].disputed == (Interval((START + 50) * SECOND, (START + 60) * SECOND),)
    assert found["b"].labels == () and found["c"].labels is None


def test_a_loop_leaves_the_password_nowhere(server: PostgresServer, database: str, url: str, tmp_path: Path) -> None:
    """Parameters, tags, artifacts, logs, caches, what is printed, the process list; and the store is its owner's."""
    values = np.random.default_rng(0).normal(size=(4, 900))
    values[:, 400:412] += 9.0
    values[:, 700:708] -= 9.0
    rows = [(f"p{p}", MIDNIGHT + k * SEC, float(values[p, k])) for p in range(4) for k in range(900)]
    fill(url, "readings", LONG, rows, key=KEY)
    spans = [(MIDNIGHT + a * SEC, MIDNIGHT + b * SEC) for a, b in ((400, 412), (700, 708))]
    fill(url, "labels", LABELS, [row for p in range(4) for row in submission(f"p{p}", "ann", MIDNIGHT, *spans)])
    user, canary = f"loop_{database}", "hunter2canary9"
    with sa.create_engine(url).begin() as c:
        c.exec_driver_sql(f"create user {user} password '{canary}'")
        c.exec_driver_sql(f"grant select on readings, labels to {user}")
    home = tmp_path / "store"
    own = {"TSAD_SQL_URL": server.url(user, canary, database), "TSAD_HOME": str(home), "OMP_NUM_THREADS": "1",
           "PYTHONPATH": str(Path(__file__).parents[2])}  # fmt: skip
    words = [
        "iterate", "source=sql", "source.table=readings", "source.labels_table=labels", "review=simulated",
        "detector=robust_zscore", "windows.length=128", "windows.context=128", "loop.iterations=1", "loop.name=plant",
    ]  # fmt: skip
    working = subprocess.Popen(
        [sys.executable, "-m", "tsad", *words], cwd=tmp_path, env={**os.environ, **own}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    listed: set[bytes] = set()
    while working.poll() is None:
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                listed.add(line.read_bytes())
        time.sleep(0.2)
    assert working.stdout is not None
    told = working.stdout.read()
    assert working.returncode == 0 and "plant" in told, told
    assert any(b"source=sql" in line for line in listed), "the process list was looked at"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in files) and any(path.suffix == ".parquet" for path in files)
    for what in (told.encode(), b"\0".join(listed), *(path.read_bytes() for path in files)):
        assert canary.encode() not in what
    assert [path for path in (home, *home.rglob("*")) if path.stat().st_mode & 0o077] == []


# -- a server that goes away; these use one of their own ------------------------------------------


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """A server that may be killed, with 50 points of 2,000 rows and a view on them that takes its time."""
    if find_home() is None:
        unavailable("PostgreSQL is not installed: apt-get install postgresql")
    server = PostgresServer({"fsync": "on"}).start()
    monkeypatch.setenv("TSAD_SQL_URL", server.url())
    with sa.create_engine(server.url()).begin() as c:
        c.exec_driver_sql("create table readings (point_id text, timestamp timestamptz, value float8, "
                          "primary key (point_id, timestamp))")  # fmt: skip
        c.exec_driver_sql("insert into readings select 'P' || p, '2024-01-01Z'::timestamptz + i * interval '1 s', i "
                          "from generate_series(10, 59) p, generate_series(1, 2000) i")  # fmt: skip
        c.exec_driver_sql("create view slow as select r.* from readings r, "
                          "lateral (select pg_sleep(0.001 + 0 * value)) s where value <= 500 and point_id < 'P12'")
    yield server
    server.remove()


def test_down_before_a_read(mortal: PostgresServer) -> None:
    mortal.kill()
    with pytest.raises(SourceUnavailableError, match="cannot be reached") as caught:
        sql_source(None, retries=1).points()
    assert mortal.password not in str(caught.value) and str(mortal.port) in str(caught.value)
    mortal.start()
    assert len(sql_source(None).points()) == 50


def test_killed_between_parts_and_restarted_goes_on_after_the_last_row(
    mortal: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BATCH", 300)
    one = sql_source(None, retries=8, retry_seconds=0.05)
    sent = statements(one)
    reads, original, restarted = [0], readers.read_rows, threading.Event()

    def counted(*args: Any) -> Any:
        reads[0] += 1
        if reads[0] == 4:
            mortal.kill()
            threading.Timer(0.5, lambda: (mortal.start(), restarted.set())).start()
        return original(*args)

    monkeypatch.setattr(readers, "read_rows", counted)
    (series,) = fetched(one, ["P33"], None, None)
    assert restarted.wait(60)
    assert series.values[:, 0].tolist() == list(range(1, 2001)) and "Trying again" in caplog.text
    assert len([s for s in sent if "string_agg" in s]) <= 2000 / 299 + 3  # what had come was not asked for again


def test_killed_in_the_middle_of_a_statement(mortal: PostgresServer) -> None:
    one = sql_source(None, "slow", retries=1, retry_seconds=0.2)
    assert one._clock and one.points()
    began = time.monotonic()
    assert len(list(fetched(one, ["P10", "P11"], None, None))) == 2  # counts, then reads
    threading.Timer(0.75 * (time.monotonic() - began), mortal.kill).start()
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        list(fetched(one, ["P10", "P11"], None, None))
    mortal.start()
    assert [len(s) for s in fetched(one, ["P10"], None, START * SECOND + 100 * SECOND)] == [99]


def test_killed_after_a_series_leaves_it_whole(mortal: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2000)
    one = sql_source(None, retries=0)
    running = fetched(one, one.points(), None, None)
    assert len(next(running)) == 2000
    mortal.kill()
    with pytest.raises(SourceUnavailableError):
        next(running)
    mortal.start()
    assert [len(s) for s in fetched(one, ["P59"], None, None)] == [2000]  # the same object goes on
