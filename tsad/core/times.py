"""Timestamps as text: ISO 8601 in UTC, or the integer index of a series without time."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from tsad.core.errors import ConfigError
from tsad.core.types import NS_PER_SECOND, TimeKind

LEAST_EPOCH = 100_000_000  # seconds, of 1973: from here on whole numbers look like times since 1970, below an index


def format_time(stamp: int, kind: TimeKind = "time") -> str:
    """ns since 1970-01-01 UTC as ``2026-01-31T12:00:00Z`` (fraction only where there is one), or the index."""
    seconds, fraction = divmod(int(stamp), NS_PER_SECOND)
    if kind == "index":
        return str(seconds) if fraction == 0 else f"{seconds}.{fraction:09d}".rstrip("0")
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{fraction:09d}".rstrip("0") if fraction else "") + "Z"


_ISO = re.compile(r"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?Z")


def parse_time(text: str, kind: TimeKind = "time") -> int:
    """The inverse of :func:`format_time`.

    Raises:
        ValueError: neither form.
    """
    if kind == "index":
        whole, _, fraction = text.partition(".")
        return int(whole) * NS_PER_SECOND + int(fraction.ljust(9, "0") or 0)
    found = _ISO.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a UTC time like 2026-01-31T12:00:00Z")
    seconds = int(datetime.fromisoformat(found[1] + "+00:00").timestamp())
    return seconds * NS_PER_SECOND + int((found[2] or "").ljust(9, "0") or 0)


def parse_moment(text: str | int, key: str, kind: TimeKind | None = None) -> int:
    """A moment as people write it in a config: an ISO 8601 date or time, UTC where it names no zone, or an index.

    Args:
        key: what it was given for, e.g. ``since``; errors name it.
        kind: what it has to be; ``None`` = either.

    Returns:
        ns UTC.

    Raises:
        ConfigError: neither, or of the other kind.
    """
    whole = re.fullmatch(r"-?\d{1,10}", str(text).strip())
    try:
        if whole and kind != "time":
            return int(str(text)) * NS_PER_SECOND
        moment = datetime.fromisoformat(str(text).strip())
    except ValueError as error:
        remedy = "Write a time like 2026-01-31 or 2026-01-31T12:00:00+08:00, or an index where series have no time."
        raise ConfigError(f"{key} is {text!r}", remedy) from error
    if kind == "index":
        raise ConfigError(f"{key} is {text!r}, but the series count rows", "Give an index.")
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_SECOND + moment.microsecond * 1000
