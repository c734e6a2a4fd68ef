"""Time columns of every kind become int64 ns UTC, or an error that names the row.

``time_format``:

| value | meaning |
|---|---|
| ``auto`` | ISO 8601 text, or numbers by size: dates of 8, 10, 12 or 14 digits, s, ms, us or ns since 1970, an index |
| ``iso`` | ISO 8601 text only |
| ``s`` ``ms`` ``us`` ``ns`` | numbers since 1970-01-01 UTC |
| ``ticks`` ``filetime`` ``excel`` | 100 ns since the year 1 (.NET) or 1601 (Windows), days since 1900; in the zone |
| ``index`` | an integer index i, kept as 1970-01-01 + i s with ``time_kind="index"`` |
| a strptime pattern | e.g. ``%d.%m.%Y %H:%M`` |

Times without a zone are taken in the configured zone (default UTC). Times with offsets or names of zones are exact,
whatever they are; a column where some rows have a zone and others have none is an error. Local times that a
clock change makes ambiguous or skips are an error, or are resolved as ``daylight_saving`` says: ``infer`` keeps both
hours of a repeated one where rows are in order. Where numbers or dates can be read in two ways, the error says both.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsad.core.errors import ConfigError, SeriesError
from tsad.core.types import NS_PER_SECOND, BoolArray, IntArray, TimeKind
from tsad.sources.epochs import NUMERIC, SINCE, UNITS, in_digits, reading, stamps_of
from tsad.sources.patterns import ZONE_AT_END, check_pattern, fitting, offset_of
from tsad.sources.repeated import inferred

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNITS", "TimeReader", "Times", "joined_text", "zone_of"]

_LARGEST_INDEX = 9_000_000_000  # seconds that fit into int64 ns
_ZONED = r"[T ]\d{1,2}:?\d{2}.*?(?:[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)\s*$"
_YEAR_LAST = r"^\s*\d{1,2}[./-]\d{1,2}[./-]\d{2,4}"
_OF_DAY = r"^\s*\d{1,2}:\d{2}"
_OFFSET = re.compile(r"^(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?$")
_JOIN = "Join it with the column of days: source.time_column=[DATE,TIME]."


@dataclass(frozen=True, eq=False)
class Times:
    """A parsed time column: stamps [T] int64 ns UTC in the order of the rows, kind, and what was mended."""

    stamps: IntArray
    kind: TimeKind = "time"
    notes: dict[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TimeReader:
    """How to read time columns: format, zone of times that name none, what to do at clock changes.

    Raises:
        ConfigError: an unknown zone or format.
    """

    time_format: str = "auto"
    time_zone: str = "UTC"
    daylight_saving: str = "error"  # error | earlier | later | infer

    def __post_init__(self) -> None:
        zone_of(self.time_zone)
        if "%" in self.time_format:
            check_pattern(self.time_format)
        elif self.time_format not in ("auto", "iso", "index", *NUMERIC):
            raise ConfigError(
                f"source.time_format={self.time_format!r} is not known",
                "Take auto, iso, s, ms, us, ns, ticks, filetime, excel, index or a pattern such as '%d.%m.%Y %H:%M'.",
            )

    @property
    def as_text(self) -> bool:
        """Whether the column has to reach :meth:`read` as text, not as numbers or times."""
        return "%" in self.time_format

    def read(self, column: pa.ChunkedArray, where: str, row_of: Callable[[int], int]) -> Times:
        """Parse a column.

        Args:
            column: [T] text, integers, floats, dates or timestamps.
            where: what errors name, e.g. ``series 'a' (csv:/data/a.csv)``.
            row_of: position -> row number for errors.

        Raises:
            SeriesError: see the module.
        """
        return _Column(self, column, where, row_of).parse()


def joined_text(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Several columns as one of text, a blank between them: date and time of day. One column as it is."""
    if len(columns) == 1:
        return columns[0]
    texts = []
    for column in columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.date32())
        texts.append(pc.utf8_trim_whitespace(column.cast(pa.string())))  # type: ignore[attr-defined]
    return pc.binary_join_element_wise(*texts, " ")  # type: ignore[attr-defined]


def zone_of(name: str) -> dt.tzinfo:
    """A zone by name (``Europe/Berlin``) or fixed offset (``+08:00``).

    Raises:
        ConfigError: no such zone.
    """
    if name.upper() in ("UTC", "Z", "GMT"):
        return dt.UTC
    if match := _OFFSET.match(name.strip()):
        sign, hours, minutes = match.groups()
        span = dt.timedelta(hours=int(hours), minutes=int(minutes or 0))
        if span < dt.timedelta(hours=24):
            return dt.timezone(-span if sign == "-" else span)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"source.time_zone={name!r} is not known",
            "Take an IANA name such as Asia/Shanghai, or an offset such as +08:00.",
        ) from error


class _Column:
    """One column on its way to :class:`Times`."""

    def __init__(self, reader: TimeReader, column: pa.ChunkedArray, where: str, row_of: Callable[[int], int]) -> None:
        self.reader, self.column, self.where, self.row_of = reader, column, where, row_of
        self.notes: dict[str, int | float | str] = {}

    def parse(self) -> Times:
        column, kind, time_format = self.column, self.column.type, self.reader.time_format
        if column.null_count:
            first = int(np.flatnonzero(column.is_null().to_numpy())[0])
            raise self.error(first, f"no time ({column.null_count} row(s) in all)", "Mend or remove the row.")
        if time_format in NUMERIC or time_format == "index":
            if pa.types.is_string(kind) and (numbers := self.as_numbers()) is not None:
                self.column = column = numbers
                kind = column.type
            if not pa.types.is_integer(kind) and not pa.types.is_floating(kind):
                at = self.first_text()
                raise self.error(at, f"time {self.text(at)!r} is not a number", "Change source.time_format.")
            return self.index() if time_format == "index" else self.epoch(time_format)
        if "%" in time_format:
            return self.times(self.by_pattern(time_format))
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return self.times(self.from_arrow())
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return self.times(self.iso())
        if time_format == "auto" and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return self.numbers()
        if pa.types.is_time(kind):
            raise self.error(0, f"time {self.text(0)!r} is a time of day without a date", _JOIN)
        raise self.error(0, f"time {self.text(0)!r} is {kind}", "Choose source.time_column or source.time_format.")

    def error(self, position: int, found: str, remedy: str) -> SeriesError:
        return SeriesError(f"{self.where}: row {self.row_of(position)}: {found}", remedy)

    def text(self, position: int) -> str:
        return str(self.column[position].as_py())

    def first_text(self) -> int:
        import pandas as pd

        if not pa.types.is_string(self.column.type):
            return 0
        bad = np.flatnonzero(pd.to_numeric(self.column.to_pandas(), errors="coerce").isna().to_numpy())
        return int(bad[0]) if len(bad) else 0

    def times(self, stamps: IntArray) -> Times:
        return Times(stamps, "time", self.notes)

    # -- numbers ------------------------------------------------------------------------------

    def numbers(self) -> Times:
        """``auto`` on numbers: an index, a date written as a number, or seconds and finer since 1970."""
        values = self.column.to_numpy()
        told = reading(values)
        if told.found:
            raise self.error(told.position, told.found, told.remedy)
        if told.digits:
            return self.times(self.localised(in_digits(values.astype(np.int64), told.digits, told.time_format)))
        return self.index() if told.time_format == "index" else self.epoch(told.time_format)

    def as_numbers(self) -> pa.ChunkedArray | None:
        """A column of text as the whole numbers or numbers it holds; ``None`` = it holds something else."""
        for kind in (pa.int64(), pa.float64()):
            try:
                return pc.utf8_trim_whitespace(self.column).cast(kind)  # type: ignore[attr-defined]
            except pa.ArrowInvalid:
                continue
        return None

    def index(self) -> Times:
        values = self.column.to_numpy()
        whole = np.floor(values) == values
        if not whole.all():
            raise self.error(int(np.flatnonzero(~whole)[0]), "an index that is not whole", "Set source.time_format=s.")
        bad = np.flatnonzero((values < -_LARGEST_INDEX) | (values > _LARGEST_INDEX))
        if len(bad):
            raise self.error(int(bad[0]), f"index {values[bad[0]]} is too large", "Set source.time_format=ms or ns.")
        return Times(values.astype(np.int64) * NS_PER_SECOND, "index", self.notes)

    def epoch(self, unit: str) -> Times:
        values = self.column.to_numpy()
        factor, origin = SINCE.get(unit, (UNITS.get(unit, 1), 0))
        limit = np.iinfo(np.int64).max // factor
        bad = np.flatnonzero(~((values >= origin - limit) & (values <= origin + limit)))
        if len(bad):
            raise self.error(
                int(bad[0]), f"time {values[bad[0]]} {unit} lies outside 1677 to 2262", "Check source.time_format."
            )
        stamps = stamps_of(values, unit)
        return self.times(stamps if unit in UNITS or unit == "filetime" else self.localised(stamps))

    # -- text and timestamps ------------------------------------------------------------------

    def from_arrow(self) -> IntArray:
        zoned = pa.types.is_timestamp(self.column.type) and self.column.type.tz is not None
        try:
            stamps = self.column.cast(pa.timestamp("ns", "UTC" if zoned else None)).cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid as error:
            raise SeriesError(
                f"{self.where}: a time lies outside 1677 to 2262 ({error})", "Mend or remove the row."
            ) from error
        return stamps if zoned else self.localised(stamps)

    def iso(self) -> IntArray:
        import pandas as pd

        zoned = self.zoned()
        year_last = self.matches(_YEAR_LAST)
        if year_last.any():
            at = int(np.flatnonzero(year_last)[0])
            orders = fitting(self.column.slice(0, 10_000).drop_null().unique().to_pylist())
            said = " or ".join(f"source.time_format={order!r}" for order in orders)
            what = "may begin with the day or the month" if len(orders) != 1 else "does not begin with the year"
            raise self.error(at, f"time {self.text(at)!r} {what}", f"Say which: {said}." if said else "Write ISO 8601.")
        parsed = pd.to_datetime(self.column.to_pandas(), format="ISO8601", errors="coerce", utc=zoned)
        if not zoned and len(parsed) and parsed.isna().iloc[0] and self.matches(_OF_DAY)[0]:
            raise self.error(0, f"time {self.text(0)!r} is a time of day without a date", _JOIN)
        return self.converted(parsed, zoned)

    def by_pattern(self, pattern: str) -> IntArray:

        text = pc.utf8_trim_whitespace(self.column.cast(pa.string()))  # type: ignore[attr-defined]
        if "%Z" in pattern:
            return self.by_zone_name(text, pattern)
        zoned = "%z" in pattern
        return self.converted(self.parsed(text.to_pandas(), pattern, zoned), zoned)

    def parsed(self, text: pd.Series, pattern: str, zoned: bool) -> pd.Series:
        """Text by a pattern, what does not fit as NaT.

        Raises:
            SeriesError: the pattern's parts do not go together.
        """
        import pandas as pd

        try:
            return pd.to_datetime(text, format=pattern, errors="coerce", utc=zoned)
        except ValueError as error:
            raise SeriesError(
                f"{self.where}: source.time_format={pattern!r} cannot be used: {str(error).splitlines()[0][:120]}",
                "Change source.time_format.",
            ) from error

    def by_zone_name(self, text: pa.ChunkedArray, pattern: str) -> IntArray:
        """Times that end in the name of their zone, e.g. ``CET``: each is exact."""
        column = text.to_pandas()
        names = column.str.extract(f"({ZONE_AT_END.pattern})", expand=False)
        if names.isna().any():
            at = int(np.argmax(names.isna().to_numpy()))
            raise self.error(at, f"time {self.text(at)!r} names no zone", "Mend the row, or change source.time_format.")
        clock = column.str.replace(ZONE_AT_END, "", regex=True).str.strip()
        naive = self.naive(self.parsed(clock, pattern.rstrip().removesuffix("%Z").rstrip(), False))
        stamps = np.empty(len(naive), np.int64)
        for name in names.unique():
            rows = np.flatnonzero((names == name).to_numpy())
            try:
                offset = offset_of(str(name), zone_of(self.reader.time_zone))
            except ConfigError as error:
                raise self.error(int(rows[0]), error.found, error.remedy) from error
            if isinstance(offset, ZoneInfo):
                stamps[rows] = self.in_zone(naive[rows], offset, str(name), rows)
            else:
                stamps[rows] = naive[rows] - int(offset / dt.timedelta(microseconds=1)) * 1000
        return stamps

    def converted(self, parsed: pd.Series, zoned: bool) -> IntArray:
        stamps = self.naive(parsed)
        return stamps if zoned else self.localised(stamps)

    def naive(self, parsed: pd.Series) -> IntArray:
        """Parsed times as ns of the clock they were written by.

        Raises:
            SeriesError: what could not be parsed.
        """
        bad = np.flatnonzero(parsed.isna().to_numpy())
        if len(bad):
            at = int(bad[0])
            raise self.error(
                at, f"time {self.text(at)!r} cannot be read ({len(bad)} row(s) in all)",
                "Mend the row, or set source.time_format, e.g. '%Y-%m-%d %H:%M:%S'.",
            )
        return _ns(parsed)

    def zoned(self) -> bool:
        """Whether the rows carry a zone; a column where only some do cannot be put in order."""
        flags = self.matches(_ZONED)
        if flags.any() and not flags.all():
            with_zone, without = int(np.argmax(flags)), int(np.argmin(flags))
            raise SeriesError(
                f"{self.where}: mixed time zones: row {self.row_of(with_zone)} has {self.text(with_zone)!r}, "
                f"row {self.row_of(without)} has {self.text(without)!r} without a zone",
                "Write all times with a zone, or all without.",
            )
        return bool(flags.all())

    def matches(self, pattern: str) -> BoolArray:
        return pc.match_substring_regex(self.column, pattern).to_numpy(zero_copy_only=False)  # type: ignore[attr-defined]

    def localised(self, naive: IntArray) -> IntArray:
        """Naive times, as ns of their zone's clock, to ns UTC."""
        zone = zone_of(self.reader.time_zone)
        if zone is dt.UTC or len(naive) == 0:
            return naive
        if isinstance(zone, dt.timezone):
            return naive - int(zone.utcoffset(None) / dt.timedelta(microseconds=1)) * 1000
        return self.in_zone(naive, zone, self.reader.time_zone, None)

    def in_zone(self, naive: IntArray, zone: dt.tzinfo, name: str, rows: IntArray | None) -> IntArray:
        """As :meth:`localised`, in a zone whose clock changes. rows: where the times stand, ``None`` = all."""
        import pandas as pd

        clock = pd.DatetimeIndex(naive.view("M8[ns]"))
        local = clock.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        unclear = np.flatnonzero(local.isna())
        if len(unclear) == 0:
            return local.as_unit("ns").asi8
        how = self.reader.daylight_saving
        first: IntArray = np.full(len(clock), int(how == "earlier"), np.int64)
        skipped = clock[unclear].tz_localize(zone, ambiguous=first[unclear] > 0, nonexistent="NaT").isna()
        if how == "infer" and not skipped.any():
            first = inferred(naive, unclear)
            open_ones = unclear[first[unclear] < 0]
            refused = open_ones if len(open_ones) else None
        else:
            refused = unclear if how in ("error", "infer") else None
        if refused is not None:
            at = int(refused[0])
            gone = skipped[int(np.searchsorted(unclear, at))]
            what = "is skipped by the clock change" if gone else "happens twice (clock change)"
            guessed = how == "infer" and not skipped.any()
            order = ", and the order of the rows does not say which it is" if guessed else ""
            raise self.error(
                at if rows is None else int(rows[at]),
                f"local time {clock[at]} {what} in {name} ({len(refused)} row(s) in all){order}",
                "Export in UTC or with offsets, or set source.daylight_saving=earlier or later"
                + ("." if how == "infer" else ", or infer where rows are in order and the hour is there twice."),
            )
        self.notes["clock_change_resolved"] = len(unclear)
        return clock.tz_localize(zone, ambiguous=first > 0, nonexistent="shift_forward").as_unit("ns").asi8


def _ns(parsed: pd.Series) -> IntArray:
    import pandas as pd

    return pd.DatetimeIndex(parsed).as_unit("ns").asi8
