"""PointRows of many points from one statement, as arrays: packed by the server where it can, else row by row.

A row as a Python tuple costs a microsecond or more, and a timestamp in it as much again. So PostgreSQL packs the rows
of each point into two strings of bytes (``string_agg`` over the binary form of each value), and SQLite, which runs in
this process, into lists (an aggregate of our own). Order is made here: the server need not sort.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import types

from tsad.core.errors import SeriesError
from tsad.core.types import BoolArray, FloatArray
from tsad.sources.clock import Clock, as_arrow, compact
from tsad.sources.sql.tables import NUMBERS, Table

_ROWS = 20_000  # row by row: how many are taken at once
_EPOCH_2000 = 946_684_800_000_000  # us between 1970 and 2000, where PostgreSQL counts from
_NO_BYTES, _NAN = "''::bytea", "'NaN'::float8"
Values = FloatArray | SeriesError  # a column, or why there are no numbers in it


@dataclass(frozen=True, eq=False)
class PointRows:
    """The rows of one point in no order: times [T] as the column holds them, and each value column [T]."""

    times: pa.Array
    values: tuple[Values, ...]

    def where(self, mask: BoolArray) -> PointRows:
        """The rows of a mask [T]."""
        values = tuple(v if isinstance(v, SeriesError) else v[mask] for v in self.values)
        return PointRows(self.times.filter(pa.array(mask)), values)


Run = Callable[[Callable[[sa.Connection], Any]], Any]  # Database.run


@dataclass(frozen=True)
class Wanted:
    """What is read together.

    Attributes:
        points: as the point column holds them, or names of a wide table's columns.
        low, high: times in ``[low, high)``, as the time column holds them; ``None`` = unbounded.
        page: rows per statement for what is too large for one; ``None`` = one statement for all.
    """

    points: Sequence[Any]
    low: Any
    high: Any
    page: int | None


def read_long(run: Run, table: Table, clock: Clock, wanted: Wanted) -> dict[Any, PointRows | SeriesError]:
    """Rows of these points of a long table; ``page`` is for a single one."""
    points = wanted.points

    def part(since: Any, limit: int | None) -> dict[Any, PointRows | SeriesError]:
        conditions = table.where(points, since, wanted.high)
        return run(lambda c: read_rows(c, table, clock, table.values, conditions, limit))

    if wanted.page is None or len(points) > 1:
        return part(wanted.low, None)
    found = _paged(lambda since, limit: part(since, limit).get(points[0]), wanted.low, wanted.page)
    return {} if found is None else {points[0]: found}


def read_wide(run: Run, table: Table, clock: Clock, wanted: Wanted) -> dict[Any, PointRows | SeriesError]:
    """As :func:`read_long`, of a wide table; points are names of columns."""
    points, page = wanted.points, wanted.page
    columns = [c for name in points for c in table.values if c.name == name]

    def part(since: Any, limit: int | None) -> PointRows | SeriesError | None:
        conditions = table.where(None, since, wanted.high)
        return run(lambda c: read_rows(c, table, clock, columns, conditions, limit)).get(None)

    found = part(wanted.low, None) if page is None else _paged(part, wanted.low, page)
    if found is None or isinstance(found, SeriesError):
        return {} if found is None else dict.fromkeys(points, found)
    return {c.name: PointRows(found.times, (values,)) for c, values in zip(columns, found.values, strict=True)}


def _paged(
    part: Callable[[Any, int], PointRows | SeriesError | None], low: Any, page: int
) -> PointRows | SeriesError | None:
    """PointRows by statements of ``page`` rows, each from the last time of the one before it."""
    pages: list[PointRows] = []
    while True:
        found = part(low, page)
        if isinstance(found, SeriesError):
            return found
        if found is None or len(found.times) < page:
            pages += [] if found is None else [PointRows(compact(found.times), found.values)]
            break
        last = pc.max(found.times)  # type: ignore[attr-defined]
        less = pc.less(found.times, last)  # type: ignore[attr-defined]
        earlier = less.to_numpy(zero_copy_only=False)
        if not earlier.any():  # a page full of one time: the next one has to be larger
            page *= 2
            continue
        # rows of the last time may go on beyond the page: they are read again
        kept = found.where(earlier)
        pages.append(PointRows(compact(kept.times), kept.values))
        low = last.as_py()
    return _joined(pages)


def _joined(pages: Sequence[PointRows]) -> PointRows | None:
    if len(pages) < 2:
        return pages[0] if pages else None
    values: list[Values] = []
    for parts in zip(*(p.values for p in pages), strict=True):
        wrong = next((p for p in parts if isinstance(p, SeriesError)), None)
        values.append(wrong or np.concatenate(parts))
    times = [p.times for p in pages]
    if len({t.type for t in times}) > 1:  # text of which only some parts have the usual spelling
        times = [t.cast(pa.string()) for t in times]
    return PointRows(pa.concat_arrays(times), tuple(values))


def read_rows(
    connection: sa.Connection,
    table: Table,
    clock: Clock,
    columns: Sequence[sa.ColumnClause[Any]],
    conditions: Sequence[sa.ColumnElement[bool]],
    limit: int | None = None,
) -> dict[Any, PointRows | SeriesError]:
    """PointRows by point (a wide table's under ``None``).

    Args:
        columns: value columns wanted.
        limit: only so many rows, the earliest ones; ``None`` = all.
    """
    picked = sa.select(*([] if table.point is None else [table.point]), table.time, *columns).where(*conditions)
    if limit is not None:
        picked = picked.order_by(table.time).limit(limit)
    dialect = connection.dialect
    if dialect.name == "postgresql" and clock.kind != "text" and all(isinstance(c.type, NUMBERS) for c in columns):
        return _from_postgres(connection, picked, table, clock, columns)
    if dialect.name == "sqlite" and dialect.driver == "pysqlite":
        return _from_sqlite(connection, picked, table, clock, columns)
    return _row_by_row(connection, picked, table, columns)


def _from_postgres(
    connection: sa.Connection,
    picked: sa.Select[Any],
    table: Table,
    clock: Clock,
    columns: Sequence[sa.ColumnClause[Any]],
) -> dict[Any, PointRows | SeriesError]:
    rows = picked.subquery("picked")
    time, key = rows.c[table.time.name], None if table.point is None else rows.c[table.point.name]
    sent: list[sa.ColumnElement[Any]] = [_time_sent(time, clock, table.time.type)]
    for column in columns:
        number: sa.ColumnElement[Any] = rows.c[column.name]
        number = sa.cast(number, types.Integer) if isinstance(column.type, types.Boolean) else number
        # without missing values each number takes eight bytes, so that numbers and times stay beside each other
        sent.append(sa.func.float8send(sa.func.coalesce(sa.cast(number, sa.Double()), sa.literal_column(_NAN))))
    packed = [sa.func.string_agg(s, sa.literal_column(_NO_BYTES), type_=types.LargeBinary()) for s in sent]
    statement = sa.select(*packed) if key is None else sa.select(key, *packed).group_by(key)
    found: dict[Any, PointRows | SeriesError] = {}
    for row in connection.execution_options(stream_results=True, yield_per=4).execute(statement):
        point, times, *values = row if key is not None else (None, *row)
        if times is not None:
            made = [np.frombuffer(v, ">f8").astype(np.float64) for v in values]
            found[point] = PointRows(_times_received(times, clock, table.time.type), tuple(made))
    return found


def _time_sent(time: sa.ColumnElement[Any], clock: Clock, kind: Any) -> sa.ColumnElement[Any]:
    """A time in eight bytes: us since 2000, an integer or a double."""
    if clock.kind == "aware":
        return sa.func.timestamptz_send(time)
    if clock.kind in ("naive", "date"):
        return sa.func.timestamp_send(sa.cast(time, sa.DateTime()))
    if isinstance(kind, types.Integer):
        return sa.func.int8send(sa.cast(time, sa.BigInteger()))
    return sa.func.float8send(sa.cast(time, sa.Double()))


def _times_received(sent: bytes, clock: Clock, kind: Any) -> pa.Array:
    if clock.kind in ("whole", "number"):
        wire, own = (">i8", np.int64) if isinstance(kind, types.Integer) else (">f8", np.float64)
        numbers: npt.NDArray[Any] = np.frombuffer(sent, wire).astype(own)
        return pa.array(numbers)
    stamps = np.frombuffer(sent, ">i8").astype(np.int64)
    endless = np.abs(stamps) > np.iinfo(np.int64).max - 2 * _EPOCH_2000  # 'infinity': TimeReader says it lies outside
    stamps[~endless] += _EPOCH_2000
    return pa.array(stamps, pa.timestamp("us", tz="UTC" if clock.kind == "aware" else None))


def _from_sqlite(
    connection: sa.Connection,
    picked: sa.Select[Any],
    table: Table,
    clock: Clock,
    columns: Sequence[sa.ColumnClause[Any]],
) -> dict[Any, PointRows | SeriesError]:
    """An aggregate keeps a column of a point as a list, and makes an array of it as soon as the point is through.

    Times of text and whole numbers come as one text, made without a call per row; fractions it would round.
    """
    kept: list[Any] = []

    class Column(list[Any]):
        step = list.append

        def finalize(self) -> int:
            kept.append(_attempt(floats, self))
            return len(kept) - 1

    driver: Any = connection.connection.driver_connection
    driver.create_aggregate("tsad_numbers", 1, Column)
    rows = picked.subquery("picked")
    time = rows.c[table.time.name]
    joined = clock.kind in ("text", "whole")
    times_packed = sa.func.group_concat(time, sa.func.char(10)) if joined else sa.func.tsad_numbers(time)
    packed = [times_packed, *(sa.func.tsad_numbers(rows.c[c.name]) for c in columns)]
    found: dict[Any, PointRows | SeriesError] = {}
    key = None if table.point is None else rows.c[table.point.name]
    for row in connection.execute(sa.select(*packed) if key is None else sa.select(key, *packed).group_by(key)):
        point, times, *values = row if key is not None else (None, *row)
        if times is None:
            continue
        numbers = tuple(kept[v] for v in values)
        made = _attempt(lambda t: _split(t, clock), times) if joined else kept[times]
        if isinstance(made, SeriesError):
            found[point] = made
        elif any(isinstance(v, np.ndarray) and len(v) != len(made) for v in numbers):
            found[point] = SeriesError("a time that holds a line break", "Mend the row.")
        else:
            found[point] = PointRows(made if joined else pa.array(made), numbers)
    return found


def _split(joined: str, clock: Clock) -> pa.Array:
    split = pc.split_pattern(pa.array([joined], pa.large_string()), "\n")  # type: ignore[attr-defined]
    texts = split.values
    try:
        return texts.cast(pa.int64()) if clock.kind == "whole" else texts.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise SeriesError(f"a time that is no whole number ({str(error)[:80]})", "Write all of them alike.") from error


def _row_by_row(
    connection: sa.Connection, picked: sa.Select[Any], table: Table, columns: Sequence[sa.ColumnClause[Any]]
) -> dict[Any, PointRows | SeriesError]:
    lists: dict[Any, list[list[Any]]] = {}
    for part in connection.execution_options(stream_results=True, yield_per=_ROWS).execute(picked).partitions():
        for row in part:
            point, *rest = row if table.point is not None else (None, *row)
            for kept, value in zip(lists.setdefault(point, [[] for _ in rest]), rest, strict=True):
                kept.append(value)
    found: dict[Any, PointRows | SeriesError] = {}
    for point, (times, *values) in lists.items():
        made = _attempt(as_arrow, times)
        bad = isinstance(made, SeriesError)
        found[point] = made if bad else PointRows(made, tuple(_attempt(floats, v) for v in values))
    return found


def floats(values: list[Any]) -> FloatArray:
    """Numbers as a database gives them, [T]; none = NaN.

    Raises:
        SeriesError: text or something else that is no number.
    """
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        for value in values:
            try:
                np.array([value], dtype=np.float64)
            except (TypeError, ValueError):
                raise SeriesError(
                    f"{str(value)[:40]!r} is not a number", "Leave the point out, or choose source.value_columns."
                ) from error
        raise SeriesError(f"values that are no numbers ({error})", "Choose source.value_columns.") from error


def _attempt(make: Any, values: Any) -> Any:
    try:
        return make(values)
    except SeriesError as error:
        return error
