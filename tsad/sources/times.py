"""Time columns of every kind become int64 ns UTC, or an error that names the row.

``time_format``:

| value | meaning |
|---|---|
| ``auto`` | ISO 8601 text, or numbers by their size: dates of 8 or 14 digits, s, ms, us or ns since 1970, an index |
| ``iso`` | ISO 8601 text only |
| ``s`` ``ms`` ``us`` ``ns`` | numbers since 1970-01-01 UTC |
| ``index`` | an integer index i, kept as 1970-01-01 + i s with ``time_kind="index"`` |
| a strptime pattern | e.g. ``%d.%m.%Y %H:%M`` |

Times without a zone are taken in the configured zone (default UTC). Times with offsets are exact, whatever
the offsets are; a column where some rows have a zone and others have none is an error. Local times that a
clock change makes ambiguous or skips are an error, or are resolved as ``daylight_saving`` says.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tsad.core.errors import ConfigError, SeriesError
from tsad.core.types import NS_PER_SECOND, BoolArray, IntArray, TimeKind

if TYPE_CHECKING:
    import pandas as pd

UNITS = {"s": NS_PER_SECOND, "ms": 1_000_000, "us": 1_000, "ns": 1}
# Epoch numbers are told apart by size: each range is 1973 to 2286 in its unit, and none overlap.
_EPOCH = {"s": (1e8, 1e10), "ms": (1e11, 1e13), "us": (1e14, 1e16), "ns": (1e17, 9.3e18)}
_COMPACT = {"%Y%m%d": (19_000_101, 21_001_231), "%Y%m%d%H%M%S": (19_000_101_000_000, 21_001_231_235_959)}
_LARGEST_INDEX = 9_000_000_000  # seconds that fit into int64 ns
_ZONED = r"[T ]\d{1,2}:?\d{2}.*?(?:[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)\s*$"
_YEAR_LAST = r"^\s*\d{1,2}[./-]\d{1,2}[./-]\d{2,4}"
_OFFSET = re.compile(r"^(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?$")


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
    daylight_saving: str = "error"  # error | earlier | later

    def __post_init__(self) -> None:
        zone_of(self.time_zone)
        if self.time_format not in ("auto", "iso", "index", *UNITS) and "%" not in self.time_format:
            raise ConfigError(
                f"source.time_format={self.time_format!r} is not known",
                "Take auto, iso, s, ms, us, ns, index or a pattern such as '%d.%m.%Y %H:%M'.",
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
        if time_format in UNITS or time_format == "index":
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
        what = "a time of day without a date" if pa.types.is_time(kind) else f"{kind}"
        raise self.error(0, f"time {self.text(0)!r} is {what}", "Choose source.time_column or source.time_format.")

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
        low, high, whole = float(values.min()), float(values.max()), bool((np.floor(values) == values).all())
        for pattern, (first, last) in _COMPACT.items():
            if whole and first <= low and high <= last and (stamps := self.compact(pattern)) is not None:
                return self.times(stamps)
        for unit, (least, beyond) in _EPOCH.items():
            if least <= low and high < beyond and (whole or unit == "s"):
                return self.epoch(unit)
        if whole and low >= 0 and high < _EPOCH["s"][0]:
            return self.index()
        raise self.error(
            0, f"the times {low:g} to {high:g} can be read in several ways",
            "Say which: source.time_format=s, ms, us, ns, index or a pattern.",
        )

    def compact(self, pattern: str) -> IntArray | None:
        import pandas as pd

        text = pc.cast(pc.cast(self.column, pa.int64()), pa.string()).to_pandas()
        parsed = pd.to_datetime(text, format=pattern, errors="coerce")
        return None if parsed.isna().any() else self.localised(_ns(parsed))

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
        values, factor = self.column.to_numpy(), UNITS[unit]
        limit = np.iinfo(np.int64).max // factor
        bad = np.flatnonzero(~((values >= -limit) & (values <= limit)))
        if len(bad):
            raise self.error(
                int(bad[0]), f"time {values[bad[0]]} {unit} lies outside 1677 to 2262", "Check source.time_format."
            )
        if values.dtype.kind == "f":
            # a double of seconds since 1970 is good to a fraction of a microsecond: more digits would be noise
            return self.times(np.round(values * (factor / 1000)).astype(np.int64) * 1000 if factor >= 1000
                              else values.astype(np.int64))
        return self.times(values.astype(np.int64) * factor)

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
            raise self.error(
                at, f"time {self.text(at)!r} may begin with the day or the month",
                "Say which, e.g. source.time_format='%d/%m/%Y %H:%M'.",
            )
        parsed = pd.to_datetime(self.column.to_pandas(), format="ISO8601", errors="coerce", utc=zoned)
        return self.converted(parsed, zoned)

    def by_pattern(self, pattern: str) -> IntArray:
        import pandas as pd

        zoned = "%z" in pattern
        text = self.column.cast(pa.string()).to_pandas()
        return self.converted(pd.to_datetime(text, format=pattern, errors="coerce", utc=zoned), zoned)

    def converted(self, parsed: pd.Series, zoned: bool) -> IntArray:
        bad = np.flatnonzero(parsed.isna().to_numpy())
        if len(bad):
            at = int(bad[0])
            raise self.error(
                at, f"time {self.text(at)!r} cannot be read ({len(bad)} row(s) in all)",
                "Mend the row, or set source.time_format, e.g. '%Y-%m-%d %H:%M:%S'.",
            )
        stamps = _ns(parsed)
        return stamps if zoned else self.localised(stamps)

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
        import pandas as pd

        zone = zone_of(self.reader.time_zone)
        if zone is dt.UTC or len(naive) == 0:
            return naive
        if isinstance(zone, dt.timezone):
            return naive - int(zone.utcoffset(None) / dt.timedelta(microseconds=1)) * 1000
        clock = pd.DatetimeIndex(naive.view("M8[ns]"))
        local = clock.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
        unclear = np.flatnonzero(local.isna())
        if len(unclear) == 0:
            return local.as_unit("ns").asi8
        at, name = int(unclear[0]), self.reader.time_zone
        if self.reader.daylight_saving == "error":
            skipped = clock[[at]].tz_localize(zone, ambiguous=np.array([True]), nonexistent="NaT").isna()[0]
            what = "is skipped by the clock change" if skipped else "happens twice (clock change)"
            raise self.error(
                at, f"local time {clock[at]} {what} in {name} ({len(unclear)} row(s) in all)",
                "Export in UTC or with offsets, or set source.daylight_saving=earlier or later.",
            )
        first = np.full(len(clock), self.reader.daylight_saving == "earlier")
        self.notes["clock_change_resolved"] = len(unclear)
        return clock.tz_localize(zone, ambiguous=first, nonexistent="shift_forward").as_unit("ns").asi8


def _ns(parsed: pd.Series) -> IntArray:
    import pandas as pd

    return pd.DatetimeIndex(parsed).as_unit("ns").asi8
