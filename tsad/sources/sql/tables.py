"""A table as a source of series: which column is what, and the statements that ask it.

Names of tables and columns only ever go through SQLAlchemy, which quotes them; values are bound.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import types
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import NoSuchTableError

from tsad.core.errors import SourceError
from tsad.sources.csv_columns import LABEL_NAMES, MARK_NAMES, POINT_NAMES, TIME_NAMES
from tsad.sources.written import Writing, kind_of

_LOOKED_AT = 1_000  # rows of a column of text that are looked at
# From SQLAlchemy 2.1 on a float is no numeric; NullType: a column of SQLite that has no type.
NUMBERS = (types.Integer, types.Numeric, types.Float, types.Boolean, types.NullType)


@dataclass(frozen=True)
class Asked:
    """What the configuration says of a table; ``None`` = found by name and type."""

    table: str
    schema: str | None
    wide: bool
    point: str | None
    time: str | None
    values: tuple[str, ...] | None
    ignored: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """A table with its columns chosen.

    Attributes:
        point: the point column of a long table, ``None`` in a wide one.
        values: value columns: channels of each point (long), or points (wide).
        by_point: an index leads with the point, so that points can be found without reading every row.
        by_time: an index leads with point and time, so that the ends of a point can be.
        ignored: columns that are none of these, each with the reason.
    """

    table: sa.TableClause
    point: sa.ColumnClause[Any] | None
    time: sa.ColumnClause[Any]
    values: tuple[sa.ColumnClause[Any], ...]
    by_point: bool
    by_time: bool
    ignored: tuple[tuple[str, str], ...] = ()

    def where(self, points: Sequence[Any] | None, low: Any, high: Any) -> list[sa.ColumnElement[bool]]:
        """Conditions: rows of these points that have a time in ``[low, high)``; ``None`` = all, unbounded."""
        conditions: list[sa.ColumnElement[bool]] = [self.time.is_not(None)]
        if points is not None and self.point is not None:
            conditions.append(self.point.in_(points))
        if low is not None:
            conditions.append(self.time >= low)
        if high is not None:
            conditions.append(self.time < high)
        return conditions


def open_table(connection: sa.Connection, asked: Asked, place: str) -> Table:
    """Look at a table in the catalogue and choose its columns.

    Raises:
        SourceError: no such table or column, or nothing that could be a time, a point or a value.
    """
    inspector = sa.inspect(connection)
    columns = described(inspector, asked.table, asked.schema, place)
    where = f"{place}/{asked.table}"
    point = None
    if not asked.wide:
        point = _find(where, list(columns), asked.point, POINT_NAMES, "point_column")
        if point is None:
            raise SourceError(f"{where} has no point column among {', '.join(columns)}", "Set source.point_column.")
    time = _find(where, list(columns), asked.time, TIME_NAMES, "time_column")
    if time is None:
        timed = [n for n, kind in columns.items() if n != point and isinstance(kind, types.DateTime | types.Date)]
        if len(timed) != 1:
            raise SourceError(f"{where} has no time column among {', '.join(columns)}", "Set source.time_column.")
        time = timed[0]
    leads = _leads(inspector, asked)
    values, ignored = _values(where, columns, asked, (time, point), inspector)
    ignored |= _words(connection, where, asked, columns, [n for n in ignored if ignored[n] == "text"])
    made = {n: sa.column(n, plain(connection, kind)) for n, kind in columns.items()}
    return Table(
        sa.table(asked.table, *made.values(), schema=asked.schema), None if point is None else made[point], made[time],
        tuple(made[n] for n in values), any(lead[:1] == [point] for lead in leads),
        any(lead[:2] == [point, time] for lead in leads), tuple(ignored.items()),
    )  # fmt: skip


def described(inspector: Inspector, table: str, schema: str | None, place: str) -> dict[str, Any]:
    """Columns of a table or view with their types, in the table's order.

    Raises:
        SourceError: there is none of that name; names the nearest.
    """
    try:
        found = inspector.get_columns(table, schema=schema)
    except NoSuchTableError:
        found = []
    if found:
        return {str(c["name"]): c["type"] for c in found}
    names = [*inspector.get_table_names(schema=schema), *inspector.get_view_names(schema=schema)]
    near = difflib.get_close_matches(table, names, n=3, cutoff=0.4) or sorted(names)[:5]
    inside = f"{place}, schema {schema!r}," if schema else place
    raise SourceError(
        f"{inside} has no table or view {table!r}",
        f"It has {', '.join(near)}." if near else "Set source.schema, or ask for the right to see it.",
    )


def known_points(connection: sa.Connection, table: Table) -> list[Any]:
    """What the point column of a long table says, each once.

    Where an index leads with it, each point costs one look into the index instead of all of its rows.
    """
    point = table.point
    assert point is not None
    if not table.by_point or connection.dialect.name not in ("postgresql", "sqlite"):
        return list(connection.scalars(sa.select(point).where(point.is_not(None)).distinct()))
    first = sa.select(point).where(point.is_not(None)).order_by(point).limit(1).scalar_subquery()  # min() knows no uuid
    found = sa.select(first.label("point")).cte("found", recursive=True)
    following = sa.select(point).where(point > found.c.point).order_by(point).limit(1).scalar_subquery()
    found = found.union_all(sa.select(following).where(found.c.point.is_not(None)))
    return list(connection.scalars(sa.select(found.c.point).where(found.c.point.is_not(None))))


def ends(connection: sa.Connection, table: Table, points: Sequence[Any]) -> dict[Any, tuple[Any, Any]]:
    """First and last time of each point as the column holds them, by one statement; points without rows are absent."""
    point, first, last = table.point, sa.func.min(table.time), sa.func.max(table.time)
    finite = _finite(connection, table)
    if point is None:
        low, high = connection.execute(sa.select(first, last).where(*finite)).one()
        return {} if low is None else dict.fromkeys(points, (low, high))
    if table.by_time and connection.dialect.name in ("postgresql", "sqlite"):
        asked = sa.values(sa.column("point", point.type), name="asked").data([(p,) for p in points]).cte("asked")
        of_point = point == asked.c.point
        one, other = (sa.select(e).where(of_point, *finite).scalar_subquery() for e in (first, last))
        statement = sa.select(asked.c.point, one, other)
    else:
        statement = sa.select(point, first, last).where(point.in_(points), *finite).group_by(point)
    return {p: (low, high) for p, low, high in connection.execute(statement) if low is not None}


def counts(connection: sa.Connection, table: Table, points: Sequence[Any], low: Any, high: Any) -> dict[Any, int]:
    """Rows of each point in a range, by one statement; points without rows are absent. A wide table's stand for all."""
    number = sa.func.count()
    if table.point is None:
        statement = sa.select(number).select_from(table.table).where(*table.where(None, low, high))
        rows = int(connection.scalar(statement) or 0)
        return dict.fromkeys(points, rows) if rows else {}
    by_point = sa.select(table.point, number).where(*table.where(points, low, high)).group_by(table.point)
    return {p: int(n) for p, n in connection.execute(by_point)}


def sample(connection: sa.Connection, table: Table, rows: int = 1000) -> list[Any]:
    """Some times as the column holds them, from anywhere."""
    return list(connection.scalars(sa.select(table.time).where(*_finite(connection, table)).limit(rows)))


def _finite(connection: sa.Connection, table: Table) -> list[sa.ColumnElement[bool]]:
    """There is a time: PostgreSQL has infinite ones, which no driver can take."""
    dated = connection.dialect.name == "postgresql" and isinstance(table.time.type, types.DateTime | types.Date)
    return [table.time.is_not(None), *([sa.func.isfinite(table.time)] if dated else [])]


def plain(connection: sa.Connection, kind: Any) -> Any:
    """The type of a column as statements use it; an SQLite column holds what it was given, whatever its type says."""
    return types.NullType() if connection.dialect.name == "sqlite" else kind


def _values(
    where: str, columns: dict[str, Any], asked: Asked, taken: Sequence[str | None], inspector: Inspector
) -> tuple[list[str], dict[str, str]]:
    """Columns of values, and why the others are none."""
    if asked.values is not None:
        for name in asked.values:
            _find(where, list(columns), name, (), "value_columns")
        others = {n: "not in source.value_columns" for n in columns if n not in (*taken, *asked.values)}
        return list(asked.values), others
    key = inspector.get_pk_constraint(asked.table, schema=asked.schema).get("constrained_columns") or []
    found, ignored = [], {}
    for name, kind in columns.items():
        if name in taken:
            continue
        if any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in asked.ignored):
            ignored[name] = "source.ignore_columns"
        elif name in key:
            ignored[name] = "key"
        elif name.lower() in LABEL_NAMES or name.lower() in MARK_NAMES:
            ignored[name] = "marks labels; see source.labels_table"
        elif isinstance(kind, NUMBERS):
            found.append(name)
        else:
            ignored[name] = "text" if isinstance(kind, types.String) else f"{kind}".lower()
    if not found:
        raise SourceError(
            f"{where} has no column of numbers among {', '.join(columns)}", "Set source.value_columns=[...]."
        )
    return found, ignored


def _words(
    connection: sa.Connection, where: str, asked: Asked, columns: dict[str, Any], names: Sequence[str]
) -> dict[str, str]:
    """What columns of text hold, told by some of their rows.

    Raises:
        SourceError: numbers that somebody keeps as text, which would be left out in silence.
    """
    kinds: dict[str, str] = {}
    for name in names:
        column: sa.ColumnClause[Any] = sa.column(name, plain(connection, columns[name]))
        picked = sa.select(column).select_from(sa.table(asked.table, column, schema=asked.schema))
        some = [str(v) for v in connection.scalars(picked.where(column.is_not(None)).limit(_LOOKED_AT))]
        kind = kind_of(pa.chunked_array([pa.array(some, pa.string())]), Writing(missing=("", "-", "NA", "NaN", "null")))
        fault = kind.fault
        text = fault.text if fault and fault.remedy else next(
            (t for t in some if kind.name == "numbers" and not t.strip().isdigit()), "")  # fmt: skip
        if text:
            said = fault.what if fault and fault.remedy else "is a number kept as text"
            remedy = "Make a view that casts it" if fault else f"Set source.value_columns=[..., {name!r}]"
            raise SourceError(
                f"{where}: column {name!r} holds text: {text[:40]!r} {said}",
                f"{remedy}, or set source.ignore_columns=[{name!r}].",
            )
        kinds[name] = kind.name
    return kinds


def _leads(inspector: Inspector, asked: Asked) -> list[list[str | None]]:
    """The columns of each index, the primary key among them, in their order."""
    key = inspector.get_pk_constraint(asked.table, schema=asked.schema).get("constrained_columns") or []
    unfiltered = [
        i for i in inspector.get_indexes(asked.table, schema=asked.schema)
        if not any(option.endswith("_where") for option in i.get("dialect_options", {}))
    ]  # fmt: skip
    return [list(key), *(list(i["column_names"]) for i in unfiltered)]


def _find(where: str, names: Sequence[str], wanted: str | None, usual: Sequence[str], key: str) -> str | None:
    if wanted is not None:
        if wanted not in names:
            there = ", ".join(names[:12])
            raise SourceError(f"{where} has no column {wanted!r}: it has {there}", f"Change source.{key}.")
        return wanted
    lowered = {n.lower(): n for n in reversed(names)}
    return next((lowered[u] for u in usual if u in lowered), None)
