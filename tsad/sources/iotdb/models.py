"""The two models of IoTDB, tree and table: what there is, and the statements that ask for it.

Both deliver one device after the other, each in the order of time, with the device's name as a run-length column:
``align by device`` in the tree model, ``order by`` all tags and time in the table model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tsad.core.errors import ConfigError, SourceError
from tsad.sources.iotdb.connection import Answer, Connection
from tsad.sources.iotdb.names import bare, identifier, literal, nodes, pattern, quoted, strict
from tsad.sources.times import UNITS

# What detections are called beside the measurement.
SCORE, FLAG, VERSION = ".anomaly_score", ".anomaly", ".anomaly_model_version"
NUMBERS = ("BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE")
Device = tuple[str | None, ...]  # tree: its path as the server writes it; table: its tags
# Name in the configuration -> in the tree model, in the table model.
AGGREGATES = {
    "avg": ("avg", "avg"), "sum": ("sum", "sum"), "count": ("count", "count"), "stddev": ("stddev", "stddev"),
    "min_value": ("min_value", "min"), "max_value": ("max_value", "max"),
    "first_value": ("first_value", "first"), "last_value": ("last_value", "last"),
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A measurement of a device: its name, the name in statements, its type, the name in answers (tree model)."""

    name: str
    sql: str
    type: str
    shown: str = ""

    @property
    def numeric(self) -> bool:
        return self.type in NUMBERS


@dataclass(frozen=True)
class Place:
    """Where a point is found: a device, and one of its measurements or (layout=device) several."""

    device: Device
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class TickRange:
    """A range in the server's precision, half-open; ``None`` = unbounded."""

    start: int | None
    end: int | None

    def condition(self) -> str:
        sides = [f"time >= {self.start}"] * (self.start is not None) + [f"time < {self.end}"] * (self.end is not None)
        return " and ".join(sides)


@dataclass(frozen=True)
class Windows:
    """Aggregation in the server: a name of AGGREGATES, and windows of ``every`` ms that begin at multiples of it."""

    function: str
    every: int

    def every_in(self, precision: str) -> int:
        """The length of a window in the server's precision."""
        return self.every * 1_000_000 // UNITS[precision]


@dataclass(frozen=True)
class Shape:
    """Where keys, time (-1 = the block's own) and fields (``None`` = the server left it out) are in a block."""

    keys: list[int]
    time: int
    fields: list[int | None]


class Model(ABC):
    """What differs between tree and table."""

    dialect: str

    def __init__(self, layout: str) -> None:
        self.layout = layout

    @abstractmethod
    def catalogue(self, connection: Connection) -> dict[str, Place]:
        """All points by point_id.

        Raises:
            SourceError: there are none, or two would share a name.
        """

    @abstractmethod
    def statistics(self, fields: Sequence[Field], devices: Sequence[Device], span: TickRange) -> str:
        """A statement for count, first and last time of each field, a row per device."""

    @abstractmethod
    def counted(self, fields: Sequence[Field]) -> list[str]:
        """What the columns of ``statistics`` are called in the answer: three for each field."""

    @abstractmethod
    def rows(self, fields: Sequence[Field], devices: Sequence[Device], span: TickRange, windows: Windows | None) -> str:
        """A statement for the rows of the devices, one device after the other."""

    @abstractmethod
    def shape(self, answer: Answer, wanted: Sequence[str]) -> Shape:
        """Where things are in the answer; ``wanted``: what its columns are called."""

    @abstractmethod
    def expressions(self, fields: Sequence[Field], windows: Windows | None) -> list[str]:
        """What each field's column of ``rows`` is called in the answer."""

    @abstractmethod
    def describe(self) -> str:
        """What is read, for people."""

    @abstractmethod
    def identity(self) -> tuple[object, ...]:
        """What decides which rows a point_id stands for."""


class TreeModel(Model):
    """``root.plant.unit.point``: a device is a path, a measurement its last node."""

    dialect = "tree"

    def __init__(self, *, layout: str, paths: Sequence[str], prefix: str) -> None:
        super().__init__(layout)
        if not paths:
            raise ConfigError("source.paths is empty", "Name what to read, e.g. source.paths=[root.plant.**].")
        self.paths, self.patterns = tuple(paths), tuple(pattern(p) for p in paths)
        self.prefix = tuple(bare(n) for n in nodes(prefix)) if prefix else ()

    def describe(self) -> str:
        return ",".join(self.paths)

    def identity(self) -> tuple[object, ...]:
        return ("tree", self.layout, self.prefix, self.paths if self.layout == "device" else ())

    def catalogue(self, connection: Connection) -> dict[str, Place]:
        found: dict[str, str] = {}
        for asked in self.patterns:
            for row in connection.table(f"show timeseries {asked}"):
                found[row[0]] = row[3]
        by_device: dict[tuple[str, ...], list[Field]] = {}
        for path, kind in found.items():
            *parts, last = path.split(".") if "`" not in path else nodes(path)
            by_device.setdefault(tuple(parts), []).append(Field(bare(last), quoted(bare(last)), kind, last))
        names: dict[Place, tuple[str, ...]] = {}
        for device, fields in by_device.items():
            place = (".".join(device),)
            for name, chosen in points_of(fields, self.layout):
                names[Place(place, chosen)] = device if name is None else (*device, chosen[0].shown)
        if not names:
            raise _nothing(f"no timeseries of {self.describe()}", connection)
        return self._named(names)

    def _named(self, names: Mapping[Place, tuple[str, ...]]) -> dict[str, Place]:
        """Without prefix, and without back-quotes where no other point would then have the same name."""
        cut = {}
        for place, path in names.items():
            plain = tuple(bare(n) for n in path)
            inside = plain[: len(self.prefix)] == self.prefix and len(plain) > len(self.prefix)
            cut[place] = (path[len(self.prefix) :], plain[len(self.prefix) :]) if inside else (path, plain)
        if self.prefix and all(cut[place][0] == path for place, path in names.items()):
            raise ConfigError(
                f"source.prefix={'.'.join(self.prefix)!r} is the front of no path",
                f"Paths look like {'.'.join(next(iter(names.values())))}.",
            )
        often = Counter(".".join(plain) for _, plain in cut.values())
        points = {".".join(path if often[".".join(plain)] > 1 else plain): p for p, (path, plain) in cut.items()}
        if len(points) < len(cut):
            raise SourceError(f"two points of {self.describe()} would share a name", "Leave source.prefix empty.")
        return points

    def statistics(self, fields: Sequence[Field], devices: Sequence[Device], span: TickRange) -> str:
        return self._select(",".join(_counts(f.sql for f in fields)), devices, span.condition())

    def counted(self, fields: Sequence[Field]) -> list[str]:
        return _counts(f.shown for f in fields)

    def expressions(self, fields: Sequence[Field], windows: Windows | None) -> list[str]:
        return _aggregates((f.shown for f in fields), windows)

    def rows(self, fields: Sequence[Field], devices: Sequence[Device], span: TickRange, windows: Windows | None) -> str:
        asked = ",".join(_aggregates((f.sql for f in fields), windows))
        if windows is None:
            return self._select(asked, devices, span.condition())
        return self._select(asked, devices, "", f" group by ([{span.start}, {span.end}), {windows.every}ms)")

    def shape(self, answer: Answer, wanted: Sequence[str]) -> Shape:
        at = dict(zip(answer.names, answer.places, strict=True))
        return Shape([at["Device"]] if "Device" in at else [], -1, [at.get(w) for w in wanted])

    def _select(self, asked: str, devices: Sequence[Device], condition: str, group: str = "") -> str:
        where = f" where {condition}" if condition else ""
        return f"select {asked} from {','.join(strict(str(d[0])) for d in devices)}{where}{group} align by device"


class TableModel(Model):
    """A table: a device is a combination of its tags, measurements are its FIELD columns."""

    dialect = "table"

    def __init__(
        self, *, layout: str, database: str, table: str, tags: Sequence[str] | None, fields: Sequence[str] | None,
        separator: str,
    ) -> None:  # fmt: skip
        super().__init__(layout)
        if not database or not table:
            raise ConfigError(
                "source.model=table needs source.database and source.table", "Name both, e.g. source.table=readings."
            )
        self.database, self.table, self.separator = database, table, separator
        self.tags, self.fields = tags, fields
        self.all_tags: list[str] = []

    @property
    def place(self) -> str:
        return f"{identifier(self.database)}.{identifier(self.table)}"

    def describe(self) -> str:
        return f"{self.database}.{self.table}"

    def identity(self) -> tuple[object, ...]:
        many = self.fields if self.layout == "device" else None
        return ("table", self.layout, self.database, self.table, self.tags, many, self.separator)

    def catalogue(self, connection: Connection) -> dict[str, Place]:
        columns = connection.table(f"describe {self.place}")
        self.all_tags = [row[0] for row in columns if row[2] == "TAG"]
        shown = self._chosen("tags", self.tags, self.all_tags)
        known = [Field(row[0], identifier(row[0]), row[1]) for row in columns if row[2] == "FIELD"]
        given = set(self._chosen("fields", self.fields, [f.name for f in known]))
        layout = [(n, c) for n, c in points_of(known, self.layout, given) if c]
        tags = ", ".join(identifier(t) for t in self.all_tags)
        devices = connection.table(f"select distinct {tags} from {self.place}") if tags else [()]
        points: dict[str, Place] = {}
        for device in devices:
            parts = ["null" if v is None else v for t, v in zip(self.all_tags, device, strict=True) if t in shown]
            for name, chosen in layout:
                alone = name is None or (self.fields is not None and len(self.fields) == 1 and bool(parts))
                point = self.separator.join(parts if alone else [*parts, str(name)]) or self.table
                if point in points:
                    raise SourceError(
                        f"two points of {self.describe()} would both be called {point!r}",
                        "Name more columns in source.tags, or take another source.separator.",
                    )
                points[point] = Place(device, chosen)
        if not points:
            raise _nothing(f"no rows or no fields in {self.describe()}", connection)
        return points

    def statistics(self, fields: Sequence[Field], devices: Sequence[Device], span: TickRange) -> str:
        return self._select([*self._tag_list(), *self.counted(fields)], devices, span, group=self._tag_list())

    def counted(self, fields: Sequence[Field]) -> list[str]:
        return [e for f in fields for e in (f"count({f.sql})", f"first_by(time, {f.sql})", f"last_by(time, {f.sql})")]

    def expressions(self, fields: Sequence[Field], windows: Windows | None) -> list[str]:
        return [f.sql if windows is None else f"{AGGREGATES[windows.function][1]}({f.sql})" for f in fields]

    def rows(self, fields: Sequence[Field], devices: Sequence[Device], span: TickRange, windows: Windows | None) -> str:
        tags, asked = self._tag_list(), self.expressions(fields, windows)
        if windows is None:
            return self._select([*tags, "time", *asked], devices, span, order=[*tags, "time"])
        stamp = f"date_bin({windows.every}ms, time, 0)"
        numbers = [str(k + 1) for k in range(len(tags) + 1)]
        return self._select([*tags, stamp, *asked], devices, span, group=numbers, order=numbers)

    def shape(self, answer: Answer, wanted: Sequence[str]) -> Shape:
        count = len(self.all_tags)
        places = answer.places
        return Shape(places[:count], places[len(places) - len(wanted) - 1], list(places[len(places) - len(wanted) :]))

    def _tag_list(self) -> list[str]:
        return [identifier(t) for t in self.all_tags]

    def _select(
        self, asked: Sequence[str], devices: Sequence[Device], span: TickRange,
        group: Sequence[str] = (), order: Sequence[str] = (),
    ) -> str:  # fmt: skip
        sql = f"select {', '.join(asked)} from {self.place}"
        conditions = [c for c in (self._devices(devices), span.condition()) if c]
        if conditions:
            sql += f" where {' and '.join(conditions)}"
        if group:
            sql += f" group by {', '.join(group)}"
        return sql + (f" order by {', '.join(order)}" if order else "")

    def _devices(self, devices: Sequence[Device]) -> str:
        if not self.all_tags:
            return ""
        if len(self.all_tags) == 1 and all(d[0] is not None for d in devices):
            return f"{identifier(self.all_tags[0])} in ({', '.join(literal(str(d[0])) for d in devices)})"
        one = (
            " and ".join(
                f"{identifier(t)} is null" if v is None else f"{identifier(t)} = {literal(v)}"
                for t, v in zip(self.all_tags, device, strict=True)
            )
            for device in devices
        )
        return f"({' or '.join(f'({c})' for c in one)})"

    def _chosen(self, key: str, given: Sequence[str] | None, known: Sequence[str]) -> list[str]:
        if given is None:
            return list(known)
        lowered = {name.casefold(): name for name in known}
        missing = [name for name in given if name.casefold() not in lowered]
        if missing:
            raise ConfigError(
                f"source.{key}: {self.describe()} has no {', '.join(map(repr, missing))}",
                f"It has {', '.join(known) or 'none'}.",
            )
        return [lowered[name.casefold()] for name in given]


def _counts(names: Iterable[str]) -> list[str]:
    return [f"{function}({name})" for name in names for function in ("count", "min_time", "max_time")]


def _aggregates(names: Iterable[str], windows: Windows | None) -> list[str]:
    return list(names) if windows is None else [f"{AGGREGATES[windows.function][0]}({name})" for name in names]


def points_of(
    fields: Iterable[Field], layout: str, given: set[str] | None = None
) -> list[tuple[str | None, tuple[Field, ...]]]:
    """The points of a device: (measurement's name, itself), or for layout=device (``None``, all that are numbers).

    What detections were written back as is left out: ``x.anomaly_score`` and ``x.anomaly`` together, and the version.
    """
    known = {f.name: f for f in fields}
    own = set()
    for name in known:
        base = name.removesuffix(SCORE[1:])  # "x." or, of a whole device, ""
        if base != name and base + FLAG[1:] in known and (not base or base[:-1] in known):
            own |= {name, base + FLAG[1:], base + VERSION[1:]}
    kept = sorted((f for f in known.values() if f.name not in own), key=lambda f: f.name)
    if given is not None:
        kept = [f for f in kept if f.name in given]
    if layout == "point":
        return [(f.name, (f,)) for f in kept]
    numeric = tuple(f for f in kept if f.numeric)
    return [(None, numeric)] if numeric else []


def _nothing(found: str, connection: Connection) -> SourceError:
    return SourceError(
        f"IoTDB at {connection.login.places} shows user {connection.login.user!r} {found}",
        "Check source.paths (source.database, source.table) and that the user may READ_SCHEMA and READ_DATA there.",
    )
