"""The time column of a table: what it holds, how a range is asked for, and how its values become ns UTC."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from tsad.core.errors import SeriesError, SourceError
from tsad.sources.epochs import UNITS, number_of
from tsad.sources.times import TimeReader, Times, zone_of

# Of times such as 2024-01-31 08:00:00.123+01:00, what stands between day and hour, and what is left: the zone.
_ISO = re.compile(r"^\d{4}-\d{2}-\d{2}(?:([T ])\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?")


@dataclass(frozen=True)
class Clock:
    """How one time column is read.

    Attributes:
        kind: ``aware`` or ``naive`` (timestamps with and without zone), ``date``, ``whole`` or ``number``, ``text``.
        reader: with ``auto`` settled for numbers, so that each part of a series is read alike.
    """

    kind: str
    reader: TimeReader

    def bounds(self, start: int | None, end: int | None) -> tuple[Any, Any]:
        """Values of the column that enclose ``[start, end)`` in ns UTC; rows beyond the range may lie in between."""
        return (None if start is None else self._bound(start, -1)), (None if end is None else self._bound(end, 1))

    def times(self, column: pa.Array, where: str) -> Times:
        """Values of the column as ns UTC, in the order given.

        Raises:
            SeriesError: a time that cannot be read.
        """
        return self.reader.read(pa.chunked_array([compact(column)]), where, lambda k: k + 1)

    def spans(self, ends: Mapping[Any, tuple[Any, Any]]) -> dict[Any, tuple[int, int]]:
        """First and last times as the column holds them -> ns UTC; those that cannot be read are left out.

        They are what reading the point will fail with, by its name.
        """
        unclear = self.reader.daylight_saving == "error"  # an hour more or less matters only when values are read
        clock = replace(self, reader=replace(self.reader, daylight_saving="earlier")) if unclear else self
        try:
            first, last = (clock.times(as_arrow([e[k] for e in ends.values()]), "").stamps for k in (0, 1))
        except SeriesError:
            alone = [self.spans({key: pair}) for key, pair in ends.items()] if len(ends) > 1 else []
            return {key: span for found in alone for key, span in found.items()}
        return {key: (int(first[k]), int(last[k])) for k, key in enumerate(ends)}

    def _bound(self, stamp: int, side: int) -> Any:
        """The first value at or after an instant, ns UTC; where that is not exact, with room on a side (-1 or 1)."""
        if self.kind in ("whole", "number"):
            place = number_of(stamp, self.reader.time_format)
            return place if self.kind == "whole" else place + 2 * side  # fractions are rounded when they are read
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=-(-stamp // 1000))
        if self.kind == "aware":
            return moment
        zone = zone_of(self.reader.time_zone)
        local = moment.astimezone(zone).replace(tzinfo=None)
        if self.kind == "naive" and isinstance(zone, dt.timezone):
            return local
        # clocks that change, days and text need room; rows are cut to the range once their times are known
        local += dt.timedelta(days=2 * side)
        if self.kind == "naive":
            return local
        return local.date() if self.kind == "date" else local.date().isoformat()


def clock_of(sample: list[Any], reader: TimeReader, where: str) -> Clock:
    """What a time column holds, told by some of its values.

    Args:
        where: names the column in errors.

    Raises:
        SourceError: nothing that is a time, or numbers and text that cannot be put in order.
    """
    kinds = Counter(_kind(value) for value in sample)
    kind = kinds.most_common(1)[0][0]  # a value of another kind is the failure of its point alone
    sample = [v for v in sample if _kind(v) == kind]
    if not kind:
        raise SourceError(f"{where} holds no times but {type(sample[0]).__name__}", "Choose source.time_column.")
    if kind in ("whole", "number"):
        if reader.time_format == "iso" or "%" in reader.time_format:
            raise SourceError(f"{where} holds numbers", "Set source.time_format=auto, s, ms, us, ns or index.")
        if reader.time_format != "auto":
            return Clock(kind, reader)
        try:
            return Clock(kind, replace(reader, time_format=_unit(pa.chunked_array([as_arrow(sample)]), reader, where)))
        except SeriesError as error:
            raise SourceError(error.found, error.remedy) from error
    if reader.time_format not in ("auto", "iso"):
        raise SourceError(f"{where} holds no numbers", "Set source.time_format=auto.")
    if kind == "text" and len({_ISO.sub(r"\1", text) for text in sample}) > 1:
        raise SourceError(
            f"{where} holds text such as {sample[0]!r}, which does not sort by time",
            "Make a view with a timestamp, or with text such as 2024-01-31 08:00:00, all alike and of one zone.",
        )
    return Clock(kind, reader)


def compact(column: pa.Array) -> pa.Array:
    """Text in the usual spelling without a zone as timestamps: quicker and smaller; all else as it is."""
    if pa.types.is_string(column.type):
        with suppress(pa.ArrowInvalid):
            return column.cast(pa.timestamp("ns"))
    return column


def as_arrow(values: list[Any]) -> pa.Array:
    """Values as a database gives them, [T]; decimals as float64.

    Raises:
        SeriesError: values of several kinds.
    """
    if Decimal in set(map(type, values)):
        values = [float(v) for v in values]
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        what = str(error).splitlines()[0][:120]
        raise SeriesError(f"its times are of several kinds ({what})", "Write all of them alike.") from error


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, dt.datetime):
        return "naive" if value.tzinfo is None else "aware"
    if isinstance(value, dt.date):
        return "date"
    if isinstance(value, int):
        return "whole"
    return "number" if isinstance(value, float | Decimal) else ""


def _unit(column: pa.ChunkedArray, reader: TimeReader, where: str) -> str:
    """The unit that ``auto`` finds in numbers."""
    found = reader.read(column, where, lambda k: k + 1)
    for unit in ("index", *UNITS):
        try:
            same = replace(reader, time_format=unit).read(column, where, lambda k: k + 1)
        except SeriesError:
            continue
        if same.kind == found.kind and np.array_equal(same.stamps, found.stamps):
            return unit
    raise SourceError(f"{where} holds dates written as numbers", "Make a view that casts them to a timestamp.")
