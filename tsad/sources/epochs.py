"""Times written as numbers: since which moment, in which unit, or a date in digits; where two readings fit, both."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.core.times import LEAST_EPOCH
from tsad.core.types import NS_PER_SECOND, BoolArray, IntArray

UNITS = {"s": NS_PER_SECOND, "ms": 1_000_000, "us": 1_000, "ns": 1}
# Counts of 100 ns since another moment than 1970, and days since the 0th of January 1900: what is taken off first.
_DAY = 86_400 * NS_PER_SECOND
SINCE = {"ticks": (100, 621_355_968_000_000_000), "filetime": (100, 116_444_736_000_000_000), "excel": (_DAY, 25_569)}
NUMERIC = (*UNITS, *SINCE)
# Epoch numbers are told apart by size: each range is 1973 to 2286 in its unit, and none overlap.
RANGES = {"s": (float(LEAST_EPOCH), 1e10), "ms": (1e11, 1e13), "us": (1e14, 1e16), "ns": (1e17, 9.3e18)}
COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
# Dates in digits that are never taken for granted: a column of which every number is one may be read in two ways.
_RARE = {
    6: ("%Y%m", "%y%m%d"), 8: ("%d%m%Y", "%m%d%Y"), 10: ("%y%m%d%H%M", "%d%m%Y%H"),
    12: ("%y%m%d%H%M%S", "%d%m%Y%H%M"),
}  # fmt: skip
_YEARS = (1900, 2100)
_MOST = 0.5  # of the numbers that are dates, from which on the others are noticed
_TICKS, _FILETIME = (6.2e17, 6.7e17), (1.15e17, 1.6e17)  # 1965 to 2124, 1965 to 2108


@dataclass(frozen=True)
class NumberTimes:
    """How ``auto`` reads a column of numbers.

    Attributes:
        time_format: a unit, ``index`` or a pattern; "" = it cannot be told.
        position: of a number that speaks against it or stands for all, where there is something to refuse.
        found, remedy: why, for people; "" = nothing to refuse.
        digits: how many a date in digits has.
    """

    time_format: str
    position: int = 0
    found: str = ""
    remedy: str = ""
    digits: int = 0


def reading(values: npt.NDArray[np.generic]) -> NumberTimes:
    """What numbers are, by size. values [T] int or float."""
    numbers = np.asarray(values, np.float64)
    low, high, whole = float(numbers.min()), float(numbers.max()), bool((np.floor(numbers) == numbers).all())
    if whole and low > 0:
        for digits, pattern in COMPACT.items():
            if (made := _compact(values.astype(np.int64), digits, pattern)) is not None:
                return made
        if (twofold := _rare(values.astype(np.int64), low, high)) is not None:
            return twofold
    for unit, (least, beyond) in RANGES.items():
        if least <= low and high < beyond and (whole or unit == "s"):
            return _windows(values, low, high) if unit == "ns" else NumberTimes(unit)
    if whole and low >= 0 and high < RANGES["s"][0]:
        return NumberTimes("index")
    found = f"the times {_plain(values, low)} to {_plain(values, high)} can be read in several ways"
    days = " (or excel: days since 1900)" if low > 10_000 and high < 100_000 else ""
    return NumberTimes("", 0, found, f"Say which: source.time_format=s, ms, us, ns, index or a pattern{days}.")


def _compact(values: IntArray, digits: int, pattern: str) -> NumberTimes | None:
    """A date in digits, the year first; ``None`` = something else."""
    if float(dated(_some(values), digits, pattern).mean()) < _MOST:
        return None
    good = dated(values, digits, pattern)
    share = float(good.mean())
    if share == 1.0:
        return NumberTimes(pattern, digits=digits)
    at = int(np.argmin(good))
    return NumberTimes(
        "",
        at,
        f"{values[at]} is no date written as {pattern}, as {share:.1%} of the times are "
        f"({int((~good).sum())} row(s) in all)",
        f"Mend or remove the row, or say what the numbers are: source.time_format={_other(digits)}.",
    )


def _rare(values: IntArray, low: float, high: float) -> NumberTimes | None:
    """Another order of year, month and day, or a short year, that all numbers would fit."""
    for digits, patterns in _RARE.items():
        if not 10 ** (digits - 2) <= low <= high < 10**digits:
            continue
        for pattern in patterns:
            if dated(_some(values), digits, pattern).all() and dated(values, digits, pattern).all():
                if digits == 6 and (np.diff(values) == 1).all():
                    continue  # counted on, it is an index
                return NumberTimes(
                    "",
                    0,
                    f"the times {int(low)} to {int(high)} may be dates ({pattern}) or {_as_number(digits)}",
                    f"Say which: source.time_format={pattern!r} or source.time_format={_other(digits)}.",
                )
    return None


def _windows(values: npt.NDArray[np.generic], low: float, high: float) -> NumberTimes:
    """Nanoseconds, unless they may be counts of 100 ns."""
    for name, what, (least, beyond) in (
        ("ticks", ".NET ticks", _TICKS), ("filetime", "a Windows FILETIME", _FILETIME),
    ):  # fmt: skip
        if least <= low and high < beyond:
            factor, origin = SINCE[name]
            other = np.datetime64((int(low) - origin) * factor, "ns").astype("M8[s]")
            own = np.datetime64(int(low), "ns").astype("M8[s]")
            return NumberTimes(
                "",
                0,
                f"the times {_plain(values, low)} to {_plain(values, high)} may be {what} ({other} at first) or "
                f"nanoseconds since 1970 ({own})",
                f"Say which: source.time_format={name} or source.time_format=ns.",
            )
    return NumberTimes("ns")


def _some(values: IntArray) -> IntArray:
    """About a thousand of many."""
    return values[:: max(1, len(values) // 1_000)]


def dated(values: IntArray, digits: int, pattern: str) -> BoolArray:
    """Which whole numbers are dates of the years 1900 to 2100 in this pattern. [T]."""
    fields = _fields(values, digits, pattern)
    year, month, day = fields["Y"], fields.get("m"), fields.get("d")
    good = (values > 0) & (values < 10**digits) & (year >= _YEARS[0]) & (year <= _YEARS[1])
    month = np.ones_like(year) if month is None else month
    good &= (month >= 1) & (month <= 12)
    if day is not None:
        leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        days = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[np.clip(month - 1, 0, 11)]
        good &= (day >= 1) & (day <= days + ((month == 2) & leap))
    for letter, most in (("H", 23), ("M", 59), ("S", 59)):
        if letter in fields:
            good &= fields[letter] <= most
    return np.asarray(good, bool)


def in_digits(values: IntArray, digits: int, pattern: str) -> IntArray:
    """Dates in digits as ns of their clock. values [T], all of them :func:`dated`."""
    fields = _fields(values, digits, pattern)
    months = (fields["Y"] - 1970) * 12 + fields["m"] - 1
    days = months.astype("M8[M]").astype("M8[D]").astype(np.int64) + fields.get("d", np.ones_like(months)) - 1
    zero = np.zeros_like(days)
    seconds = days * 86_400 + fields.get("H", zero) * 3_600 + fields.get("M", zero) * 60 + fields.get("S", zero)
    return np.asarray(seconds * NS_PER_SECOND, np.int64)


def _fields(values: IntArray, digits: int, pattern: str) -> dict[str, IntArray]:
    """The parts of dates in digits, by their letter; short years are of 1969 to 2068, as in C."""
    fields: dict[str, IntArray] = {}
    left = digits
    for letter in pattern.replace("%", ""):
        width = 4 if letter == "Y" else 2
        left -= width
        fields[letter] = values // 10**left % 10**width
    if "y" in fields:
        short = fields.pop("y")
        fields["Y"] = short + np.where(short < 69, 2000, 1900)
    return fields


def stamps_of(values: npt.NDArray[np.generic], unit: str) -> IntArray:
    """Numbers of a unit as ns since 1970, within int64. [T]."""
    factor, origin = SINCE.get(unit, (UNITS.get(unit, 1), 0))
    if values.dtype.kind != "f":
        return (values.astype(np.int64) - origin) * factor
    if factor >= 1000:
        # a double of seconds since 1970 is good to a fraction of a microsecond: more digits would be noise
        fine = 1_000_000 if unit == "excel" else 1_000
        return np.round((values.astype(np.float64) - origin) * (factor / fine)).astype(np.int64) * fine
    return (values.astype(np.int64) - origin) * factor


def number_of(stamp: int, unit: str) -> int:
    """The first number of a unit at or after an instant, ns UTC; an index counts seconds."""
    factor, origin = SINCE.get(unit, (UNITS.get(unit, NS_PER_SECOND), 0))
    return -(-stamp // factor) + origin


def _other(digits: int) -> str:
    return {6: "index", 8: "index", 10: "s", 12: "ms"}.get(digits, "ms, us or ns")


def _as_number(digits: int) -> str:
    return {6: "an index", 8: "an index", 10: "seconds since 1970", 12: "milliseconds since 1970"}[digits]


def _plain(values: npt.NDArray[np.generic], number: float) -> str:
    return str(int(number)) if values.dtype.kind in "iu" and abs(number) < dt.MAXYEAR * 1e15 else f"{number:g}"
