"""Patterns of times: what may stand in one, zones by name, and the patterns that would fit a cell."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from tsad.core.errors import ConfigError

_LETTERS = frozenset("aAbBcdfHIjmMpSUwWxXyYzZGVu%")
_INSTEAD = {
    "s": "source.time_format=s", "T": "%H:%M:%S", "F": "%Y-%m-%d", "D": "%m/%d/%y", "R": "%H:%M", "e": "%d", "k": "%H",
    "l": "%I", "L": "%f", "Q": "source.time_format=ms", "N": "%f", "P": "%p",
}  # fmt: skip
# Abbreviations that mean one offset only, in hours; BST, CST, IST and AST mean several.
_ABBREVIATED = {
    "UTC": 0, "GMT": 0, "Z": 0, "UT": 0, "WET": 0, "WEST": 1, "CET": 1, "MEZ": 1, "CEST": 2, "MESZ": 2, "EET": 2,
    "EEST": 3,
    "MSK": 3, "EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "JST": 9, "KST": 9, "HKT": 8,
    "SGT": 8, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
}  # fmt: skip
ZONE_AT_END = re.compile(r"[A-Za-z][A-Za-z_/+-]*[\w/]*$")


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that would be read another way than it is meant.

    Raises:
        ConfigError: a letter that is no part of times here, or hours of half days without their half.
    """
    for letter in re.findall(r"%(-?.|$)", pattern):
        if letter.lstrip("-") in _LETTERS and not letter.startswith("-"):
            continue
        instead = _INSTEAD.get(letter, f"%{letter[1:]}" if letter[:1] == "-" and letter[1:] in _LETTERS else "")
        raise ConfigError(
            f"source.time_format={pattern!r} has %{letter}, which is no part of a time here",
            f"Write {instead}." if instead else "Take %Y %m %d %H %M %S %f %p %z and the like.",
        )
    if "%p" in pattern and "%H" in pattern:
        raise ConfigError(
            f"source.time_format={pattern!r} has %H, hours to 23, with %p: the half of the day would be ignored",
            "Write %I, hours to 12, with %p.",
        )
    if "%I" in pattern and "%p" not in pattern:
        raise ConfigError(f"source.time_format={pattern!r} has %I, hours to 12, without %p",
                          "Write %H, or add %p.")  # fmt: skip
    if "%Z" in pattern and not pattern.rstrip().endswith("%Z"):
        raise ConfigError(
            f"source.time_format={pattern!r} has %Z before the end", "Put the zone's name last, or use %z."
        )


def offset_of(name: str, zone: dt.tzinfo) -> dt.timedelta | ZoneInfo:
    """The offset that a zone's abbreviation stands for, or the zone that it names.

    Args:
        zone: the configured one: an abbreviation that it uses means its own.

    Raises:
        ConfigError: the name means nothing, or several zones.
    """
    if name.upper() in ("UTC", "GMT", "Z", "UT"):
        return dt.timedelta(0)
    if isinstance(zone, ZoneInfo):
        for month in range(1, 13):
            moment = dt.datetime(2024, month, 1, tzinfo=zone)
            if moment.tzname() == name:
                return moment.utcoffset() or dt.timedelta(0)
    if name.upper() in _ABBREVIATED:
        return dt.timedelta(hours=_ABBREVIATED[name.upper()])
    try:
        return ZoneInfo(name) if "/" in name else _unknown(name)
    except (KeyError, ValueError, OSError):
        return _unknown(name)


def _unknown(name: str) -> ZoneInfo:
    several = name.upper() in ("CST", "IST", "BST", "AST")
    raise ConfigError(
        f"the zone {name!r} {'means several zones' if several else 'is not known'}",
        "Set source.time_zone to the zone that is meant, or write offsets such as +01:00 (%z).",
    )


def fitting(texts: Sequence[str]) -> list[str]:
    """Patterns that read a date which begins with day or month: both where both fit all of these cells."""
    parted = [re.match(r"\s*(\d{1,2})([./-])(\d{1,2})[./-](\d{2,4})(.*)", t) for t in texts]
    first = next((m for m in parted if m), None)
    if first is None:
        return []
    mark, year = first[2], "%Y" if len(first[4]) == 4 else "%y"
    rest = re.sub(r"\d+", "{}", first[5].strip(" ").upper().replace("AM", "%p").replace("PM", "%p"))
    for part in ("%I" if "%p" in rest else "%H", "%M", "%S", "%f"):
        rest = rest.replace("{}", part, 1)
    tail = first[5][: len(first[5]) - len(first[5].lstrip())] + rest
    days, months = (max(int(m[k]) for m in parted if m) for k in (1, 3))
    orders = [f"%d{mark}%m{mark}{year}"] if months <= 12 else []
    orders += [f"%m{mark}%d{mark}{year}"] if days <= 12 else []
    return [order + tail for order in orders]
