"""What a file read as one series must not be: rows of several points, times of several tags, days without hours."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from tsad.core.errors import SeriesError
from tsad.core.types import IntArray
from tsad.sources.csv_columns import Columns
from tsad.sources.long_files import names_points
from tsad.sources.times import Times
from tsad.sources.values import ValueColumns

_DAY = 86_400 * 10**9
_DAYS = frozenset({"date", "day", "datum", "dteday", "yyyymmdd", "日期"})
_HOURS = frozenset({"hour", "hr", "hours", "hour_of_day", "stunde", "h", "heure", "hora", "小时", "时"})
_TIME_WORDS = re.compile(r"^t_|_t$|date|time|stamp|zeit|datum|utc|local|时间|日期|[\W\d_]")


def check_single(table: pa.Table, columns: Columns, values: ValueColumns, times: Times) -> None:
    """Refuse a table that is no single series.

    Raises:
        SeriesError: a column names points; several columns hold times of their own tags; the time of day is elsewhere.
    """
    where, stamps = values.reference.where, times.stamps
    for name in (n for n in table.column_names if n not in (*columns.times, columns.label)):
        column = table.column(name)
        integer = pa.types.is_integer(column.type)
        if not (integer or pa.types.is_string(column.type)) or (name in values.numbers and not integer):
            continue
        channels = (v for n, v in values.numbers.items() if n != name)
        if values.ignored.get(name) not in ("row numbers", "times", "day times") and names_points(
            name, column, stamps, channels
        ):
            few = ", ".join(repr(t) for t in column.drop_null().slice(0, 1000).unique().to_pylist()[:3])
            raise SeriesError(
                f"{where}: column {name!r} names points ({few}, ...): the rows are of several series",
                f"Set source.layout=long source.point_column={name!r}; if it names none: "
                f"source.ignore_columns=[{name!r}].",
            )
    _check_day(table, columns, values, stamps)
    _check_count(table, columns, values, times)
    _check_own_times(table, columns, values)


def _check_day(table: pa.Table, columns: Columns, values: ValueColumns, stamps: IntArray) -> None:
    """Days alone, each several times, beside a column with the time of day."""
    if len(columns.times) > 1 or (stamps % _DAY).any() or len(np.unique(stamps)) > 0.75 * len(stamps):
        return
    hours = [n for n, why in values.ignored.items() if why == "day times"]
    hours += [n for n in table.column_names if n.strip().lower() in _HOURS and n in values.numbers]
    if hours:
        raise SeriesError(
            f"{values.reference.where}: column {columns.time!r} holds days, each for several rows, and {hours[0]!r} "
            "the time of day",
            f"Set source.time_column=[{columns.time},{hours[0]}], and source.time_format where it is not ISO 8601 "
            "(e.g. '%Y-%m-%d %H').",
        )


def _check_count(table: pa.Table, columns: Columns, values: ValueColumns, times: Times) -> None:
    """Whole numbers called a time (``930`` for half past nine), beside a column of days."""
    days = [n for n in table.column_names if n.strip().lower() in _DAYS and n not in columns.times]
    if times.kind == "index" and days and columns.time.strip().lower() in ("time", "uhrzeit", "hour", "hhmm", "时间"):
        raise SeriesError(
            f"{values.reference.where}: column {columns.time!r} holds whole numbers and {days[0]!r} the days",
            f"Set source.time_column=[{days[0]},{columns.time}] and source.time_format, e.g. '%Y%m%d %H%M'; if the "
            f"numbers are an index: source.ignore_columns=[{days[0]!r}].",
        )


def _check_own_times(table: pa.Table, columns: Columns, values: ValueColumns) -> None:
    """Each tag with a time column before it: ``TI1 Time, TI1 Value, PI1 Time, PI1 Value``."""
    names = table.column_names
    order = [columns.time, *(n for n in names if n != columns.time)]
    times = [columns.time, *(n for n in order[1:] if values.ignored.get(n) == "times")]
    if len(times) < 2:
        return
    behind = [order[order.index(n) + 1] if order.index(n) + 1 < len(order) else "" for n in times]
    if any(n not in values.numbers for n in behind):
        return
    first = _stem(times[0])
    bare = [_TIME_WORDS.sub("", n.lower()) for n in times[1:]]
    own = [
        b in _TIME_WORDS.sub("", value.lower()) if b else _stem(name) == first
        for b, name, value in zip(bare, times[1:], behind[1:], strict=True)
    ]
    if all(own):
        raise SeriesError(
            f"{values.reference.where}: {times[1]!r} holds the times of {behind[1]!r}, {times[0]!r} those of "
            f"{behind[0]!r}: {len(times)} tags with times of their own",
            f"Read them one by one, e.g. source.time_column={times[1]!r} source.value_columns=[{behind[1]!r}], or "
            "export them with one time column.",
        )


def _stem(name: str) -> str:
    """A name without what numbers it."""
    return re.sub(r"[\W\d_]", "", name.lower())
