"""``source=iotdb`` against a real server: what comes back, what is refused, and what happens when the server dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from iotdb_server import IoTDBServer
from reading_kit import failed, fetched

from tsad.core.errors import (
    AccessError,
    SeriesError,
    SourceError,
    SourceUnavailableError,
    TooManyRowsError,
    UnknownPointError,
)
from tsad.core.series import Series
from tsad.core.types import Detection, Interval, Origin
from tsad.sources.iotdb import IotdbSource
from tsad.sources.iotdb.reader import Collector

pytestmark = pytest.mark.live

CONF = Path(__file__).resolve().parents[2] / "conf" / "source" / "iotdb.yaml"
T0 = 1_700_000_000_000  # ms
MS = 1_000_000


def source(server: IoTDBServer, **options: Any) -> IotdbSource:
    values = yaml.safe_load(CONF.read_text(encoding="utf-8")) | {"nodes": [server.url], "retries": 2} | options
    return IotdbSource(**{k: v for k, v in values.items() if k != "_target_"})


def read(origin: IotdbSource, start: int | None = None, end: int | None = None) -> dict[str, Series]:
    return {s.point_id: s for s in fetched(origin, origin.points(), start, end)}


def detection(series: Series) -> Detection:
    stamps = series.timestamps
    found = (Interval(int(stamps[1]), int(stamps[3])),)
    return Detection(series.point_id, np.linspace(0, 1, len(stamps)), found, Origin("d", "d:base"), 0.5)


@pytest.fixture(scope="module")
def plant(iotdb: IoTDBServer) -> IoTDBServer:
    """Devices of many kinds: other times, other types, gaps, an aligned one, one without rows."""
    rng = np.random.default_rng(0)
    for unit in range(3):
        times = T0 + np.arange(5_000) * (1_000 + unit)
        for name in ("pv", "sp"):
            iotdb.write(f"root.plant.u{unit}.{name}", times, rng.normal(size=5_000))
    late = T0 + np.sort(rng.choice(5_000_000, 700, replace=False))
    iotdb.write("root.plant.u0.late", late, rng.normal(size=700))
    iotdb.write("root.plant.u1.late", late[::2], rng.normal(size=350))
    iotdb.write("root.plant.kinds.i32", T0 + np.arange(50), np.arange(50, dtype=np.int32) - 25)
    iotdb.write("root.plant.kinds.i64", T0 + np.arange(50), np.arange(50) * 1_000_000_007)
    iotdb.write("root.plant.kinds.f32", T0 + np.arange(49), np.arange(49, dtype=np.float32) / 3)
    iotdb.write("root.plant.kinds.bool", T0 + np.arange(0, 50, 3), np.arange(17) % 2 == 0)
    iotdb.execute("create aligned timeseries root.plant.aligned(v double, b boolean, n int32)")
    iotdb.execute(f"insert into root.plant.aligned(time,v,b,n) values({T0},1.5,true,null),({T0 + 1},null,false,7),"
                  f"({T0 + 5},2.5,null,null)")  # fmt: skip
    iotdb.execute("create timeseries root.plant.kinds.none double")
    return iotdb


def test_each_point_is_what_the_client_reads(plant: IoTDBServer) -> None:
    origin = source(plant, paths=["root.plant.**"], prefix="root.plant")
    got = read(origin)
    assert list(got) == [p for p in origin.points() if p != "kinds.none"], "in the order asked"
    assert not failed(origin) and len(got) == 15
    for point, series in got.items():
        frame = plant.execute(f"select {point.split('.')[1]} from root.plant.{point.split('.')[0]}").dropna()
        assert (series.timestamps == frame["Time"].to_numpy() * MS).all(), point
        assert (series.values[:, 0] == frame.iloc[:, 1].to_numpy(float)).all(), point
        assert series.channels == ("value",) and series.source.startswith(f"iotdb:{plant.url}/root.plant.**")
    assert got["kinds.bool"].values[:3, 0].tolist() == [1.0, 0.0, 1.0]


def test_devices_that_have_nothing_in_common(iotdb: IoTDBServer) -> None:
    rng = np.random.default_rng(1)
    for k in range(40):
        kind = (np.float64, np.float32, np.int32)[k % 3]
        for name in (f"T{k}", f"P{k % 7}"):
            values = rng.normal(0, 99, 30 + k % 4).astype(kind)
            iotdb.write(f"root.motley.line{k}.{name}", T0 + np.arange(len(values)), values)
    origin = source(iotdb, paths=["root.motley.**"], prefix="root.motley")
    some = [p for p in origin.points() if not p.endswith("P3")]
    for asked in (origin.points(), some, [p for p in some if ".T" in p]):
        for one in (origin, source(iotdb, paths=["root.motley.**"], prefix="root.motley", fetch_rows=3)):
            got = {s.point_id: s for s in fetched(one, asked, None, None)}
            assert list(got) == asked
            for point in asked[::5]:
                device, name = point.split(".")
                frame = iotdb.execute(f"select {name} from root.motley.{device}")
                assert (got[point].timestamps == frame["Time"].to_numpy() * MS).all()
                assert (got[point].values[:, 0] == frame.iloc[:, 1].to_numpy(float)).all()


def test_small_pages_and_any_order_give_the_same(plant: IoTDBServer) -> None:
    origin = source(plant, paths=["root.plant.**"], prefix="root.plant")
    whole = read(origin)
    asked = list(reversed(whole))
    small = source(plant, paths=["root.plant.**"], prefix="root.plant", fetch_rows=7)
    pieces = list(fetched(small, asked[-4:], None, None))
    assert [s.point_id for s in pieces] == asked[-4:]
    assert all(s.digest == whole[s.point_id].digest for s in pieces)
    assert [s.point_id for s in fetched(origin, asked, None, None)] == asked


def test_extents_and_ranges_are_exact(plant: IoTDBServer) -> None:
    origin = source(plant, paths=["root.plant.u0.*"])
    whole, extents = read(origin), origin.extents(origin.points()).spans
    for point, series in whole.items():
        assert extents[point] == (series.timestamps[0], series.timestamps[-1] + 1)
    start, end = (T0 + 10_000) * MS + 1, (T0 + 20_000) * MS  # just behind a row; just on one
    part = read(origin, start, end)["root.plant.u0.pv"]
    inside = (whole["root.plant.u0.pv"].timestamps >= start) & (whole["root.plant.u0.pv"].timestamps < end)
    assert len(part) == 9 and (part.timestamps == whole["root.plant.u0.pv"].timestamps[inside]).all()
    assert read(origin, (T0 + 20_000) * MS, (T0 + 20_001) * MS)["root.plant.u0.sp"].values.shape == (1, 1)
    assert read(origin, 0, 1_000 * MS) == {} and failed(origin, None, 0, 1_000 * MS) == {}
    assert read(origin, 2**62, 2**63 - 1) == {}
    ever = read(origin, -(2**62), 2**63 - 1)
    assert {p: s.digest for p, s in ever.items()} == {p: s.digest for p, s in whole.items()}, "and the server survives"
    assert source(plant, paths=["root.plant.kinds.none"]).extents(["root.plant.kinds.none"]).spans == {}


def test_a_device_is_one_series_of_many_channels(plant: IoTDBServer) -> None:
    paths = ["root.plant.aligned.*", "root.plant.kinds.*"]
    got = read(source(plant, paths=paths, prefix="root.plant", layout="device"))
    assert got["aligned"].channels == ("b", "n", "v")
    np.testing.assert_array_equal(got["aligned"].values, [[1, np.nan, 1.5], [0, 7, np.nan], [np.nan, np.nan, 2.5]])
    assert got["kinds"].values.shape == (50, 5) and np.isnan(got["kinds"].values[49, 1])


@pytest.fixture(scope="module")
def table(iotdb: IoTDBServer) -> IoTDBServer:
    run = lambda sql: iotdb.execute(sql, "table")  # noqa: E731
    run("create database works")
    run("create table works.readings(site string tag, tag string tag, value double field, ok boolean field, "
        "note text field, n int32 field)")  # fmt: skip
    rows = [f"('s{k % 2}', 'p{k}', {T0 + 1000 * t}, {t + k}, {str(t % 2 == 0).lower()}, {t})"
            for k in range(4) for t in range(100 + k)]  # fmt: skip
    run(f"insert into works.readings(site, tag, time, value, ok, n) values {', '.join(rows)}")
    run(f"insert into works.readings(tag, time, value) values ('it''s; drop table readings', {T0}, 1), "
        f"('it''s; drop table readings', {T0 + 5}, 2)")  # fmt: skip
    run(f"insert into works.readings(site, tag, time, note) values ('s0', 'p0', {T0}, 'started')")
    run('create table works."Odd ""name"""("the tag" string tag, "the.value" double field)')
    run(f"insert into works.\"Odd \"\"name\"\"\"(\"the tag\", time, \"the.value\") values ('温度', {T0}, 1), "
        f"('温度', {T0 + 1}, 2)")  # fmt: skip
    return iotdb


def test_a_table_gives_a_series_for_each_device_and_field(table: IoTDBServer) -> None:
    origin = source(table, model="table", database="works", table="readings")
    got = read(origin)
    assert got["s1.p3.value"].values[:, 0].tolist() == list(range(3, 106))
    assert (got["s1.p3.value"].timestamps == (T0 + 1_000 * np.arange(103)) * MS).all()
    assert got["s0.p2.ok"].values[:3, 0].tolist() == [1.0, 0.0, 1.0]
    assert got["null.it's; drop table readings.value"].values[:, 0].tolist() == [1.0, 2.0]
    assert list(failed(origin)) == [p for p in origin.points() if p.endswith(".note")]
    assert origin.extents(["s1.p1.n"]).spans == {"s1.p1.n": (T0 * MS, (T0 + 100_000) * MS + 1)}
    part = list(fetched(origin, ["s0.p0.n", "s0.p2.n"], (T0 + 5_000) * MS, (T0 + 8_000) * MS))
    assert [s.values[:, 0].tolist() for s in part] == [[5.0, 6.0, 7.0]] * 2


def test_a_table_by_chosen_tags_fields_and_device(table: IoTDBServer) -> None:
    chosen = source(table, model="table", database="works", table="readings", tags=["tag"], fields=["value"])
    assert chosen.points() == ["it's; drop table readings", "p0", "p1", "p2", "p3"]
    devices = source(table, model="table", database="works", table="readings", layout="device", fields=["n", "value"])
    got = read(devices)["s0.p2"]
    assert got.channels == ("n", "value") and got.values[5].tolist() == [5.0, 7.0]
    with pytest.raises(SourceError, match=r"both be called 's0.n'.*source.tags"):
        source(table, model="table", database="works", table="readings", tags=["site"]).points()
    odd = source(table, model="table", database="works", table='Odd "name"')
    assert read(odd)["温度.the.value"].values[:, 0].tolist() == [1.0, 2.0]
    with pytest.raises(SourceError, match="nowhere"):
        source(table, model="table", database="works", table="nowhere").points()


@pytest.mark.parametrize("function", ["avg", "min_value", "max_value", "sum", "count", "first_value", "last_value"])
def test_the_server_aggregates_as_numpy_does(plant: IoTDBServer, table: IoTDBServer, function: str) -> None:
    todo = {"avg": np.mean, "min_value": np.min, "max_value": np.max, "sum": np.sum, "count": len,
            "first_value": lambda v: v[0], "last_value": lambda v: v[-1]}[function]  # fmt: skip
    tables: dict[str, Any] = {"model": "table", "database": "works", "table": "readings"}
    for server, point, options in (
        (plant, "root.plant.u1.pv", {"paths": ["root.plant.u1.pv"]}),
        (table, "s1.p3.value", tables),
    ):
        raw = next(fetched(source(server, **options), [point], None, None))
        origin = source(server, **options, aggregate=function, every="60s")
        got = next(fetched(origin, [point], None, None))
        window = raw.timestamps // (60_000 * MS) * (60_000 * MS)
        expected = [todo(raw.values[window == w, 0]) for w in np.unique(window)]
        assert (got.timestamps == np.unique(window)).all()
        np.testing.assert_allclose(got.values[:, 0], expected, rtol=1e-9)
        assert origin.extents([point]).spans == {point: (window[0], window[-1] + 1)}
        start, end = int(got.timestamps[1]) - 5, int(got.timestamps[-1])  # windows that begin in the range, whole
        assert next(fetched(origin, [point], start, end)).digest == got.slice(1, len(got) - 1).digest


def test_names_that_need_quoting_and_names_that_inject(iotdb: IoTDBServer) -> None:
    devices = ["`温度.PV`", "泵1", "`a; drop database root.odd`", "`it's \"quoted\"`"]
    for k, device in enumerate(devices):
        iotdb.write(f"root.odd.{device}.`x``y.z`", [T0, T0 + 1], [1.0 + k, 2.0])
        iotdb.write(f"root.odd.{device}.`1`", [T0, T0 + 1], [3.0, 4.0 + k])
    iotdb.write("root.odd.a.`b.c`", [T0, T0 + 1], [5.0, 6.0])
    iotdb.write("root.odd.`a.b`.c", [T0, T0 + 1], [7.0, 8.0])
    got = read(source(iotdb, paths=["root.odd.**"], prefix="root.odd"))
    assert got["温度.PV.x`y.z"].values[0, 0] == 1.0 and got["泵1.1"].values[1, 0] == 5.0
    assert got["a; drop database root.odd.x`y.z"].values[0, 0] == 3.0
    assert got["it's \"quoted\".1"].values[1, 0] == 7.0
    assert got["a.`b.c`"].values[0, 0] == 5.0 and got["`a.b`.c"].values[0, 0] == 7.0, "quotes where names would meet"
    for path in ("root.odd.**; drop database root.odd", "root.odd.x) or (1=1", "root.odd.a' or 'a'='a"):
        with pytest.raises(SourceError, match="no timeseries"):
            source(iotdb, paths=[path]).points()
    assert len(source(iotdb, paths=["root.odd.泵*.*"]).points()) == 2
    for name in ("null", "nan", "true", "time", "`root`", "`2`", "`1e5`", "`x:y`", "select"):
        iotdb.write(f"root.words.{'w' if name == 'time' else name}.{'w' if name == 'time' else name}", [T0], [1.0])
    words = source(iotdb, paths=["root.words.**"], prefix="root.words")
    assert len(read(words)) == 9 and "1e5.1e5" in words.points()
    one = next(fetched(words, ["nan.nan"], None, None))
    assert words.write(one, Detection("nan.nan", np.array([0.5]), (), Origin("d", "d:base"), 0.5)) == 1
    assert len(source(iotdb, paths=["root.odd.**"]).points()) == 10


def test_text_is_a_failure_by_name_and_the_rest_go_on(iotdb: IoTDBServer) -> None:
    iotdb.write("root.mixed.u.text", [T0, T0 + 1], ["on", "off"])
    iotdb.write("root.mixed.u.good", [T0, T0 + 1], [1.0, 2.0])
    iotdb.write("root.mixed.u.inf", [T0, T0 + 1], [1.0, np.inf])
    iotdb.write("root.mixed.u.nan", [T0, T0 + 1], [1.0, np.nan])
    origin = source(iotdb, paths=["root.mixed.**"], prefix="root.mixed")
    got = read(origin)
    assert set(got) == {"u.good", "u.nan"} and np.isnan(got["u.nan"].values[1, 0])
    failures = failed(origin)
    assert "TEXT" in failures["u.text"].found and isinstance(failures["u.text"], SeriesError)
    assert "infinite" in failures["u.inf"].found
    assert "u.text" in origin.extents(["u.text"]).spans, "the cache has to ask for it, or its failure would go unseen"


def test_unknown_points_and_too_many_rows_are_refused(plant: IoTDBServer) -> None:
    origin = source(plant, paths=["root.plant.u0.*"], max_rows=9_000)
    with pytest.raises(UnknownPointError, match=r"no point 'root.plant.u0.pw'.*Nearest: .*root.plant.u0.pv"):
        list(fetched(origin, ["root.plant.u0.pw"], None, None))
    with pytest.raises(UnknownPointError):
        origin.extents(["root.plant.u0.pw"])
    with pytest.raises(TooManyRowsError, match=r"10,700 rows.*source.max_rows=9,000.*source.max_rows=10700"):
        next(fetched(origin, origin.points(), None, None))
    assert len(list(fetched(origin, origin.points(), T0 * MS, (T0 + 1_000_000) * MS))) == 3
    windows = source(plant, paths=["root.plant.u0.*"], max_rows=300, aggregate="avg", every="60s")
    assert len(read(windows)) == 3


@pytest.mark.parametrize("precision, unit", [("us", 1_000), ("ns", 1)])
def test_precision_and_zones(
    start_iotdb: Callable[..., IoTDBServer], monkeypatch: pytest.MonkeyPatch, precision: str, unit: int
) -> None:
    server = start_iotdb(settings={"timestamp_precision": precision}, java_zone="Asia/Shanghai")
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        begin = T0 * MS // unit
        stamps = begin + np.arange(1_000) * 7_000_001
        server.write("root.p.u.pv", stamps, np.arange(1_000.0))
        server.execute("create database p", "table")
        server.execute("create table p.t(tag string tag, value double field)", "table")
        rows = ", ".join(f"('a', {s}, {k})" for k, s in enumerate(stamps))
        server.execute(f"insert into p.t(tag, time, value) values {rows}", "table")
        for options in ({"prefix": "root"}, {"model": "table", "database": "p", "table": "t", "fields": ["value"]}):
            origin = source(server, **options)
            (point,) = origin.points()
            whole = next(fetched(origin, [point], None, None))
            assert (whole.timestamps == stamps * unit).all()
            part = next(fetched(origin, [point], int(stamps[3]) * unit, int(stamps[5]) * unit + 1))
            assert part.values[:, 0].tolist() == [3.0, 4.0, 5.0]
            day = next(fetched(source(server, **options, aggregate="count", every="1d"), [point], None, None))
            assert (day.timestamps % (86_400 * 10**9) == 0).all(), "days of UTC, whatever the server's zone"
            assert day.values.sum() == 1_000
            assert origin.write(whole, detection(whole)) == 1_000
        seen = server.execute("select `pv.anomaly` from root.p.u")
        assert seen["Time"].tolist() == stamps.tolist()
        assert seen.iloc[:5, 1].tolist() == [False, True, True, False, False]
    finally:
        monkeypatch.undo()
        time.tzset()
        server.stop()


def test_users_and_their_rights(plant: IoTDBServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for sql in (
        "create user reader 'reader1234567'", "grant READ_DATA, READ_SCHEMA on root.plant.** to user reader",
        "create user lister 'lister1234567'", "grant READ_SCHEMA on root.plant.** to user lister",
        "create user writer 'writer1234567'",
        "grant READ_DATA, READ_SCHEMA, WRITE_DATA, WRITE_SCHEMA on root.plant.** to user writer",
        "create user nobody 'nobody1234567'",
    ):  # fmt: skip
        plant.execute(sql)

    def as_user(user: str, password: str = "") -> IotdbSource:
        monkeypatch.setenv("IOTDB_USER", user)
        monkeypatch.setenv("IOTDB_PASSWORD", password or f"{user}1234567")
        return source(plant, paths=["root.plant.u2.*"])

    for user in ("root", "unheard_of"):
        with pytest.raises(AccessError, match=r"refused user and password.*IOTDB_USER and IOTDB_PASSWORD") as refused:
            as_user(user, "secret-and-wrong").points()
        assert "secret" not in str(refused.value)
    series = read(as_user("reader"))["root.plant.u2.pv"]
    with pytest.raises(AccessError, match=r"refused user 'reader'.*WRITE_DATA"):
        as_user("reader").write(series, detection(series))
    lister = as_user("lister")
    assert len(lister.points()) == 2
    for ask in (lister.extents, lambda points: list(fetched(lister, points, None, None))):
        with pytest.raises(AccessError, match="GRANT READ_DATA"):
            ask(lister.points())
    with pytest.raises(SourceError, match=r"shows user 'nobody' no timeseries.*READ_SCHEMA"):
        as_user("nobody").points()
    assert as_user("writer").write(series, detection(series)) == len(series)


@pytest.mark.parametrize("layout", ["point", "device"])
def test_detections_stand_beside_the_measurement(iotdb: IoTDBServer, layout: str) -> None:
    for device in (f"root.back.{layout}", f"root.back.{layout}.`a.b`"):
        iotdb.write(f"{device}.pv", T0 + np.arange(10), np.arange(10.0))
        iotdb.write(f"{device}.`q.PV`", T0 + np.arange(10), np.arange(10.0))
    origin = source(iotdb, paths=[f"root.back.{layout}.**"], prefix="root.back", layout=layout)
    before = origin.points()
    for series in list(fetched(origin, before, None, None)):
        assert origin.write(series, detection(series)) == 10
        assert origin.write(series, detection(series)) == 10, "again, and nothing changes"
    device, name = f"root.back.{layout}.`a.b`", {"point": "q.PV.anomaly", "device": "anomaly"}[layout]
    frame = iotdb.execute(f"select `{name}_score`, `{name}`, `{name}_model_version` from {device}")
    assert frame["Time"].tolist() == list(range(T0, T0 + 10))
    np.testing.assert_allclose(frame.iloc[:, 1], np.linspace(0, 1, 10))
    assert frame.iloc[:, 2].tolist() == [False, True, True] + [False] * 7
    assert set(frame.iloc[:, 3]) == {detection(series).origin.model_version}
    again = source(iotdb, paths=[f"root.back.{layout}.**"], prefix="root.back", layout=layout)
    assert again.points() == before, "what was written back is no point"
    assert all(s.channels == origin_channels for s in fetched(again, before, None, None)
               for origin_channels in [("value",) if layout == "point" else ("pv", "q.PV")])  # fmt: skip


def test_detections_of_a_table_stand_in_its_columns(iotdb: IoTDBServer) -> None:
    iotdb.execute("create database back", "table")
    iotdb.execute("create table back.t(site string tag, unit string tag, value double field)", "table")
    rows = ", ".join(f"('{s}', {T0 + k}, {k})" for s in ("a", "it''s") for k in range(10))
    iotdb.execute(f"insert into back.t(unit, time, value) values {rows}", "table")
    origin = source(iotdb, model="table", database="back", table="t", tags=["unit"], fields=["value"])
    assert origin.points() == ["a", "it's"]
    series = list(fetched(origin, origin.points(), None, None))[1]
    assert origin.write(series, detection(series)) == origin.write(series, detection(series)) == 10
    columns = 'unit, "value.anomaly_score" s, "value.anomaly" a, "value.anomaly_model_version" v'
    frame = iotdb.execute(f"select {columns} from back.t where \"value.anomaly\" is not null order by time", "table")
    assert frame["unit"].tolist() == ["it's"] * 10 and frame["a"].tolist() == [False, True, True] + [False] * 7
    assert set(frame["v"]) == {detection(series).origin.model_version}
    again = source(iotdb, model="table", database="back", table="t")
    assert again.points() == ["null.a.value", "null.it's.value"]
    assert len(list(fetched(again, again.points(), None, None))) == 2


def test_labels_come_beside_the_values(plant: IoTDBServer, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("point_id,start,end\nroot.plant.u0.pv,2023-11-14T22:15:00Z,2023-11-14T22:16:00Z\n"
                    "root.plant.u0.sp,,\n")  # fmt: skip
    origin = source(plant, paths=["root.plant.u0.*"], labels=str(path))
    given = origin.annotations(origin.points())
    assert given is not None and len(given["root.plant.u0.pv"].intervals) == 1
    assert given["root.plant.u0.sp"].intervals == () and "root.plant.u0.late" not in given
    assert all(s.labels is None for s in fetched(origin, origin.points(), None, None))


def test_a_server_that_is_down_is_named(iotdb: IoTDBServer) -> None:
    nowhere = source(iotdb, nodes=["127.0.0.1:1"], retries=1)
    with pytest.raises(SourceUnavailableError, match=r"127.0.0.1:1 does not answer"):
        nowhere.points()
    iotdb.write("root.up.u.pv", [T0, T0 + 1], [1.0, 2.0])
    second = source(iotdb, nodes=["127.0.0.1:1", iotdb.url], paths=["root.up.**"])
    assert second.points() == ["root.up.u.pv"], "the next node is asked"


@pytest.fixture(scope="module")
def mortal(start_iotdb: Callable[..., IoTDBServer]) -> IoTDBServer:
    """A server to be killed, with a series too long for one page and others around it."""
    server = start_iotdb()
    for unit in range(4):
        times = T0 + np.arange(300_000) * 1_000
        server.write(f"root.long.u{unit}.pv", times, np.sin(np.arange(300_000.0) + unit))
    server.execute("flush")
    return server


def in_the_middle(monkeypatch: pytest.MonkeyPatch, rows: int, then: Callable[[], None]) -> None:
    """Call ``then`` once, when so many rows have come in."""
    append, seen, called = Collector.append, [0], threading.Event()

    def counting(self: Collector, times: Any, columns: Any) -> None:
        append(self, times, columns)
        seen[0] += len(times)
        if seen[0] > rows and not called.is_set():
            called.set()
            then()

    monkeypatch.setattr(Collector, "append", counting)


def test_killed_in_mid_read_and_restarted(mortal: IoTDBServer, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = source(mortal, paths=["root.long.**"], fetch_rows=5_000, retries=8)
    expected = [s.digest for s in fetched(origin, origin.points(), None, None)]

    def kill() -> None:
        mortal.kill()
        threading.Thread(target=mortal.start).start()

    in_the_middle(monkeypatch, 450_000, kill)
    assert [s.digest for s in fetched(origin, origin.points(), None, None)] == expected
    assert sum(1 for _ in fetched(origin, origin.points(), T0 * MS, (T0 + 1_000_000) * MS)) == 4


def test_frozen_in_mid_read(mortal: IoTDBServer, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = source(mortal, paths=["root.long.**"], fetch_rows=5_000, retries=1, timeout_seconds=1)
    points = origin.points()
    in_the_middle(monkeypatch, 100_000, mortal.pause)
    began = time.monotonic()
    try:
        with pytest.raises(SourceUnavailableError, match=r"does not answer"):
            list(fetched(origin, points, None, None))
        assert time.monotonic() - began < 20, "nothing hangs"
    finally:
        mortal.go_on()
    assert len(list(fetched(origin, points, None, None))) == 4, "the same source goes on"


def test_killed_in_mid_read_and_gone(mortal: IoTDBServer, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = source(mortal, paths=["root.long.**"], fetch_rows=5_000, retries=2)
    points = origin.points()
    in_the_middle(monkeypatch, 450_000, mortal.kill)
    got = []
    with pytest.raises(SourceUnavailableError, match=mortal.url):
        for series in fetched(origin, points, None, None):
            got.append(series)
    assert [len(s) for s in got] == [300_000], "what was complete has been handed on"
    for ask in (lambda: origin.extents(points), lambda: source(mortal).points()):
        with pytest.raises(SourceUnavailableError, match=mortal.url):
            ask()
