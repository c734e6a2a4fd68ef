"""``source=iotdb`` without a server: names, statements, blocks, options, and how interrupted answers are taken up."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tsad.core.errors import ConfigError, SourceError, SourceUnavailableError
from tsad.sources.iotdb import IotdbSource
from tsad.sources.iotdb.blocks import Block, Column, decode
from tsad.sources.iotdb.connection import Answer, Connection, Login, LostError, MemoryShortError, parse_nodes, rows_of
from tsad.sources.iotdb.models import Field, Place, TableModel, TickRange, TreeModel, Windows, points_of
from tsad.sources.iotdb.names import bare, identifier, literal, nodes, pattern, quoted, strict
from tsad.sources.iotdb.reader import Known, Reader
from tsad.sources.iotdb.writer import JudgedPoints, write_detection

CONF = Path(__file__).resolve().parents[1] / "conf" / "source" / "iotdb.yaml"
EVER = TickRange(None, None)


def source(**options: Any) -> IotdbSource:
    values = yaml.safe_load(CONF.read_text(encoding="utf-8")) | options
    return IotdbSource(**{k: v for k, v in values.items() if k != "_target_"})


def tree(**options: Any) -> TreeModel:
    return TreeModel(**{"layout": "point", "paths": ["root.**"], "prefix": ""} | options)


def field(name: str, kind: str = "DOUBLE") -> Field:
    return Field(name, quoted(name), kind, name)


# names and statements


def test_paths_are_parted_outside_back_quotes() -> None:
    assert nodes("root.a.`b.c`.d") == ["root", "a", "`b.c`", "d"]
    assert bare("`x``y`") == "x`y" and quoted("x`y") == "`x``y`" and bare("plain") == "plain"
    assert strict("root.a.`b.c`") == "root.`a`.`b.c`"
    for wrong in ("root..a", "root.`a", "", "root."):
        with pytest.raises(ConfigError, match="no path"):
            nodes(wrong)


@pytest.mark.parametrize(
    "given, safe",
    [
        ("root.plant.**", "root.`plant`.**"),
        ("root.*.U1*.pv", "root.*.U1*.`pv`"),
        ("root.`温度.PV`.x", "root.`温度.PV`.`x`"),
        ("root.a; drop database root.b", "root.`a; drop database root`.`b`"),
        ("root.a*; drop", "root.`a*; drop`"),
        ("root.1.x", "root.`1`.`x`"),
    ],
)
def test_patterns_of_the_configuration_cannot_become_statements(given: str, safe: str) -> None:
    assert pattern(given) == safe


def test_patterns_begin_with_root() -> None:
    for wrong in ("plant.**", "root", "rooted.x"):
        with pytest.raises(ConfigError, match="root"):
            pattern(wrong)


def test_the_tree_is_asked_by_device() -> None:
    fields, devices = [field("a"), field("nan")], [("root.u1",), ("root.`u.2`",)]
    assert tree().rows(fields, devices, TickRange(5, 9), None) == (
        "select `a`,`nan` from root.`u1`,root.`u.2` where time >= 5 and time < 9 align by device"
    )
    assert tree().rows(fields[:1], devices[:1], TickRange(0, 120_000), Windows("avg", 60_000)) == (
        "select avg(`a`) from root.`u1` group by ([0, 120000), 60000ms) align by device"
    )
    assert tree().statistics(fields[:1], devices[:1], EVER) == (
        "select count(`a`),min_time(`a`),max_time(`a`) from root.`u1` align by device"
    )


def test_a_table_is_asked_in_the_order_of_its_tags() -> None:
    model = TableModel(layout="point", database="d", table='t"; drop', tags=None, fields=None, separator=".")
    model.all_tags = ["site", "unit"]
    sql = model.rows([Field("v", '"v"', "DOUBLE")], [("s", "it's"), (None, "x")], TickRange(None, 7), None)
    assert sql == (
        'select "site", "unit", time, "v" from "d"."t""; drop" where (("site" = \'s\' and "unit" = \'it\'\'s\') or '
        '("site" is null and "unit" = \'x\')) and time < 7 order by "site", "unit", time'
    )
    windows = model.rows([Field("v", '"v"', "DOUBLE")], [("s", "u")], EVER, Windows("max_value", 1_000))
    assert "date_bin(1000ms, time, 0), max(\"v\")" in windows and "group by 1, 2, 3 order by 1, 2, 3" in windows
    assert identifier('a"b') == '"a""b"' and literal("a'b") == "'a''b'"


def test_what_was_written_back_is_no_point() -> None:
    ours = ("pv.anomaly", "pv.anomaly_score", "pv.anomaly_model_version", "anomaly", "anomaly_score")
    fields = [field(n) for n in ("pv", *ours, "anomaly_model_version", "alone.anomaly")]
    assert [name for name, _ in points_of(fields, "point")] == ["alone.anomaly", "pv"]
    ((name, channels),) = points_of([*fields, field("note", "TEXT")], "device")
    assert name is None and [f.name for f in channels] == ["alone.anomaly", "pv"]
    assert [n for n, _ in points_of([field("anomaly")], "point")] == ["anomaly"], "somebody else's"


class Listing(Connection):
    """Answers ``table`` from a list."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        super().__init__(login())
        self.rows = rows

    def table(self, sql: str) -> list[tuple[Any, ...]]:
        return self.rows


def listing(*paths: str) -> Listing:
    return Listing([(path, None, "root.db", "DOUBLE") for path in paths])


def test_names_lose_prefix_and_quotes_where_they_stay_unambiguous() -> None:
    points = tree(prefix="root.plant").catalogue(listing("root.plant.u1.`温度.PV`", "root.plant.u1.pv", "root.other.x"))
    assert sorted(points) == ["root.other.x", "u1.pv", "u1.温度.PV"]
    assert points["u1.温度.PV"].device == ("root.plant.u1",)
    both = tree().catalogue(listing("root.a.`b.c`", "root.`a.b`.c"))
    assert sorted(both) == ["root.`a.b`.c", "root.a.`b.c`"]
    devices = tree(layout="device").catalogue(listing("root.u1.b", "root.u1.a", "root.u2.c"))
    assert [f.name for f in devices["root.u1"].fields] == ["a", "b"]
    with pytest.raises(ConfigError, match=r"source.prefix='root.plan' is the front of no path"):
        tree(prefix="root.plan").catalogue(listing("root.plant.u.p"))
    with pytest.raises(SourceError, match=r"no timeseries of root.\*\*"):
        tree().catalogue(listing())


# options


@pytest.mark.parametrize(
    "options, said",
    [
        ({"model": "graph"}, "model"),
        ({"layout": "wide"}, "layout"),
        ({"model": "table"}, "source.database and source.table"),
        ({"paths": []}, "source.paths"),
        ({"nodes": ["localhost"]}, "host:port"),
        ({"nodes": []}, "source.nodes"),
        ({"aggregate": "median"}, "aggregate"),
        ({"aggregate": "avg", "every": "soon"}, "source.every"),
        ({"aggregate": "avg", "every": "0s"}, "source.every"),
        ({"fetch_rows": 0}, "fetch_rows"),
        ({"max_rows": -1}, "max_rows"),
        ({"infinite": "keep"}, "infinite"),
    ],
)
def test_impossible_options_are_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        source(**options)


def test_nothing_secret_is_said_and_identity_follows_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOTDB_USER", "plant_reader")
    monkeypatch.setenv("IOTDB_PASSWORD", "hush-hush")
    one = source(paths=["root.plant.**"])
    assert one.describe() == "iotdb:127.0.0.1:6667/root.plant.**"
    assert one.login.password == "hush-hush" and "hush" not in repr(one.login)
    assert source(fetch_rows=7, retries=0, paths=["root.plant.u.*"]).identity() == one.identity()
    assert source(nodes=["b:1", "a:2"]).identity() == source(nodes=["a:2", "b:1"]).identity()
    others = [{"layout": "device"}, {"aggregate": "avg"}, {"prefix": "root.plant"}, {"nodes": ["other:6667"]},
              {"infinite": "missing"}, {"model": "table", "database": "d", "table": "t"}]  # fmt: skip
    assert len({source(**o).identity() for o in others} | {one.identity()}) == len(others) + 1
    assert one.ranged and one.cacheable
    assert parse_nodes(["[::1]:6667"]) == (("::1", 6667),)


def test_ranges_become_the_servers_integers() -> None:
    origin = source()
    origin._connection._precision = "ms"
    assert origin._span(None, None) == EVER
    assert origin._span(1_000_001, 3_000_000) == TickRange(2, 3), "1 ms lies before, 3 ms is not in it"
    hours = source(aggregate="avg", every="1h")
    hours._connection._precision = "us"
    assert hours._span(1, 2 * 3_600 * 10**9) == TickRange(3_600_000_000, 7_200_000_000), "windows that begin in it"


class Taker:
    """A connection that keeps what it is given to write."""

    def __init__(self) -> None:
        self.tablets: list[dict[str, Any]] = []
        self.statements: list[str] = []

    def table(self, sql: str) -> list[tuple[str, ...]]:
        return []

    def execute(self, sql: str) -> None:
        self.statements.append(sql)

    def insert(self, **tablet: Any) -> None:
        self.tablets.append(tablet)


@pytest.mark.parametrize("model", ["tree", "table"])
def test_what_is_written_back_carries_the_version_that_says_so(model: str) -> None:
    taker: Any = Taker()
    asked = tree() if model == "tree" else TableModel(
        layout="point", database="d", table="t", tags=None, fields=None, separator="."
    )  # fmt: skip
    if isinstance(asked, TableModel):
        asked.all_tags = ["unit"]
    device = ("root.u",) if model == "tree" else ("a",)
    flags = np.array([True, False, True])
    judged = JudgedPoints(np.array([1, 2, 3]), np.array([0.5, 1.0, 0.0]), flags, "tsad-x-patch:3")
    assert write_detection(taker, asked, Place(device, (field("pv"),)), judged) == 3
    (tablet,) = taker.tablets
    text = struct.pack(">i", 14) + b"tsad-x-patch:3"
    own = struct.pack(">3d", 0.5, 1.0, 0.0) + bytes([1, 0, 1]) + text * 3
    assert tablet["values"].endswith(own) and tablet["size"] == 3
    names = [name.strip("`") for name in tablet["measurements"]]
    assert names[-3:] == ["pv.anomaly_score", "pv.anomaly", "pv.anomaly_model_version"]
    assert len(tablet["types"]) == len(names)
    if model == "tree":
        assert tablet["types"] == [4, 0, 5] and tablet["values"] == own
    else:
        assert tablet["types"] == [11, 4, 0, 11] and tablet["columnCategories"] == [0, 1, 1, 1]
        assert any('"pv.anomaly_model_version" string field' in sql for sql in taker.statements)


# blocks


def packed(kind: int, rows: list[Any]) -> bytes:
    """A column as the server sends it: encoding's own bytes, with nulls where ``None``."""
    nulls = [row is None for row in rows]
    head = b"\x01" + np.packbits(nulls).tobytes() if any(nulls) else b"\x00"
    given = [row for row in rows if row is not None]
    if kind == 0:
        return head + np.packbits([bool(row) for row in rows]).tobytes()
    if kind == 3:
        return head + b"".join(struct.pack(">i", len(v)) + v for v in given)
    return head + struct.pack(f">{len(given)}{ {1: 'i', 2: 'q', 5: 'd', 6: 'f'}[kind] }", *given)


def block_of(rows: int, times: list[int], *columns: tuple[int, list[Any]], constant: tuple[int, ...] = ()) -> bytes:
    encoding = {5: 2, 6: 1}
    out = struct.pack(">i", len(columns)) + bytes(len(columns)) + struct.pack(">i", rows) + bytes([2])
    out += bytes(4 if k in constant else encoding.get(kind, kind) for k, (kind, _) in enumerate(columns))
    out += packed(2, times)
    for k, (kind, values) in enumerate(columns):
        out += bytes([encoding.get(kind, kind)]) * (k in constant) + packed(kind, values)
    return out


def test_blocks_of_every_type_and_with_nulls() -> None:
    block = decode(block_of(
        3, [1, 2, 3], (3, [b"root.u"]), (5, [1.5, None, 2.5]), (6, [0.5, 1.0, 2.0]), (1, [-1, 2, None]),
        (0, [True, None, False]), (2, [2**40, 0, 1]), (5, [None]), (0, [None]), (0, [True]), constant=(0, 6, 7, 8),
    ))  # fmt: skip
    device, double, single, short, flag, long, nothing, unset, always = block.columns
    assert unset.numbers("BOOLEAN").tolist() == [] and always.numbers("BOOLEAN").tolist() == [True] * 3
    assert block.times.tolist() == [1, 2, 3] and device.texts() == ["root.u"] and device.constant
    assert double.numbers("DOUBLE").tolist() == [1.5, 2.5] and double.present().tolist() == [True, False, True]
    assert single.numbers("FLOAT").tolist() == [0.5, 1.0, 2.0] and single.present() is None
    assert short.numbers("INT32").tolist() == [-1, 2] and long.numbers("INT64").tolist() == [2**40, 0, 1]
    assert flag.numbers("BOOLEAN").tolist() == [True, False] and flag.present().tolist() == [True, False, True]
    assert nothing.numbers("DOUBLE").tolist() == [] and nothing.present().tolist() == [False] * 3
    answer = Answer(["Device", "a", "b"], ["TEXT", "DOUBLE", "BOOLEAN"], [0, 1, 4], iter(()))
    assert list(rows_of(answer, block)) == [("root.u", 1.5, True), ("root.u", None, None), ("root.u", 2.5, False)]


def test_an_unknown_encoding_is_said() -> None:
    data = bytearray(block_of(1, [1], (2, [1])))
    data[10] = 9
    with pytest.raises(ValueError, match="encoding 9"):
        decode(bytes(data))


# answers that break off


def login(retries: int = 3) -> Login:
    return Login(nodes=(("here", 1),), user="u", password="p", user_env="U", password_env="P", dialect="tree",
                 timeout=1, retries=retries)  # fmt: skip


class Server(Connection):
    """Devices of ten rows each, in blocks of four; ``script`` says what happens to each query for rows.

    ``None`` = nothing, a number = lost after so many blocks, an error = at once, ``"short"`` = rows held back.
    """

    def __init__(self, *script: Any, retries: int = 3) -> None:
        super().__init__(login(retries))
        self._precision = "ms"
        self.script = list(script)
        self.asked: list[str] = []

    def pause(self, attempt: int, error: LostError) -> None:
        if attempt >= self.login.retries:
            raise SourceUnavailableError(str(error))

    def query(self, sql: str, rows: int = 5_000) -> Answer:
        places = sql.split(" from ")[1].split(" where ")[0].split(" align ")[0]
        devices = places.replace("`", "").split(",")
        if "count(" in sql:
            known = [block_of(1, [0], (3, [d.encode()]), (2, [10]), (2, [0]), (2, [9])) for d in devices]
            names = ["Device", "count(v)", "min_time(v)", "max_time(v)"]
            return Answer(names, ["TEXT", "INT64", "INT64", "INT64"], [0, 1, 2, 3], (decode(b) for b in known))
        self.asked.append(sql)
        fate = self.script.pop(0) if self.script else None
        if isinstance(fate, Exception):
            raise fate
        start = int(sql.split("time >= ")[1].split(" ")[0]) if "time >=" in sql else 0
        stop = 7 if fate == "short" else 10
        return Answer(["Device", "v"], ["TEXT", "DOUBLE"], [0, 1], self._sent(devices, start, stop, fate))

    def _sent(self, devices: list[str], start: int, stop: int, fate: Any) -> Iterator[Block]:
        sent = 0
        for device in devices:
            for at in range(start, stop, 4):
                if fate == sent:
                    raise LostError("gone")
                times = list(range(at, min(at + 4, stop)))
                yield decode(block_of(len(times), times, (3, [device.encode()]), (5, [t * 1.0 for t in times]),
                                      constant=(0,)))  # fmt: skip
                sent += 1


V = field("v")
PLACES = [Place((f"root.u{k}",), (V,)) for k in range(3)]
KNOWN = {(p.device, V): Known(10, 0, 9) for p in PLACES}


@pytest.mark.parametrize("lost", [0, 1, 2, 3, 4, 5, 8])
def test_a_lost_answer_goes_on_after_the_last_time_received(lost: int) -> None:
    server = Server(lost, 1, None)
    got = list(Reader(server, tree(), 100, None).read(PLACES, KNOWN, EVER))
    assert [place for place, _, _ in got] == PLACES
    for _, stamps, values in got:
        assert stamps.tolist() == list(range(10)) and values[:, 0].tolist() == list(range(10))
    if lost == 5:
        assert "root.`u1` where time >= 8 " in server.asked[1], "root.u0 is done; of root.u1 eight rows are here"


def test_a_server_that_stays_away_is_given_up() -> None:
    with pytest.raises(SourceUnavailableError, match="gone"):
        list(Reader(Server(2, 0, 0, 0, 0), tree(), 100, None).read(PLACES, KNOWN, EVER))
    progress = Server(*[1] * 8)  # each attempt brings something: goes on
    assert len(list(Reader(progress, tree(), 100, None).read(PLACES, KNOWN, EVER))) == 3


def test_rows_held_back_are_noticed_and_asked_for_again() -> None:
    server = Server("short", None)
    got = list(Reader(server, tree(), 100, None).read(PLACES[:1], KNOWN, EVER))
    assert got[0][1].tolist() == list(range(10)) and len(server.asked) == 2
    with pytest.raises(SourceUnavailableError, match=r"fewer rows of root.u0 than counted"):
        list(Reader(Server(*["short"] * 5), tree(), 100, None).read(PLACES[:1], KNOWN, EVER))


def test_a_query_too_big_for_the_server_is_halved() -> None:
    server = Server(MemoryShortError("719"), None, None)
    got = list(Reader(server, tree(), 100, None).read(PLACES, KNOWN, EVER))
    assert [p for p, _, _ in got] == PLACES and len(server.asked) == 3


def test_points_of_other_times_are_not_joined() -> None:
    fields = [field(n) for n in ("a", "b", "c")]
    places = [Place(("root.u",), (f,)) for f in fields]
    known = {(p.device, p.fields[0]): Known(10, 0, 9 + (k == 1)) for k, p in enumerate(places)}
    jobs = list(Reader(Server(), tree(), 100, None)._jobs(places, known))
    assert [[f.name for f in some] for some, _ in jobs] == [["a", "c"], ["b"]]


def test_devices_with_other_fields_share_a_statement() -> None:
    places = [Place((f"root.u{k}",), (field(f"f{k}", "INT32" if k == 2 else "DOUBLE"),)) for k in range(5)]
    places.append(Place(("root.u5",), (field("f2"),)))  # f2 of another type
    known = {(p.device, p.fields[0]): Known(10, 0, 9) for p in places}
    reader = Reader(Server(), tree(), 100, None)
    reader.names = {p.device: {p.fields[0].name} for p in places}
    reader.names |= {("root.u4",): {"f4", "f0"}}  # f0 is not asked of u4
    jobs = [([f.name for f in some], [d[0] for d in devices]) for some, devices in reader._jobs(places, known)]
    assert jobs == [
        (["f0", "f1", "f2", "f3"], ["root.u0", "root.u1", "root.u2", "root.u3"]), (["f4", "f2"], ["root.u4", "root.u5"])
    ]  # fmt: skip


def test_what_comes_late_is_still_handed_on_in_the_order_asked() -> None:
    got = [p for p, _, _ in Reader(Server(), tree(), 100, None).read(PLACES[::-1], KNOWN, EVER)]
    assert got == PLACES[::-1]


def test_columns_of_many_devices_in_one_block() -> None:
    from tsad.sources.iotdb.models import Shape
    from tsad.sources.iotdb.reader import _devices

    key = Column([b"a", b"a", b"b"], None, False, 3)
    block = Block(3, np.arange(3), [key])
    assert list(_devices(block, Shape([0], -1, []))) == [(("a",), 0, 2), (("b",), 2, 3)]
