"""Times as Label Studio shows them: without a zone in a fixed offset, to the millisecond, or an index. Pure."""

from __future__ import annotations

import re

import numpy as np

from tsad.core.errors import ConfigError, ReviewError
from tsad.core.series import Window
from tsad.core.types import NS_PER_SECOND, IntArray, TimeKind

NS_PER_MS = 1_000_000


def offset_ns(text: str) -> int:
    """A fixed offset such as ``+08:00`` or ``-03:30`` in ns.

    Raises:
        ConfigError: anything else, a zone's name for instance.
    """
    match = re.fullmatch(r"([+-])(\d{2}):([0-5]\d)", text)
    if not match or int(match[2]) > 14:
        raise ConfigError(
            f"review.utc_offset={text} is no fixed offset",
            "Write it as +08:00 or -03:30; zones with daylight saving would show an hour twice.",
        )
    seconds = (int(match[2]) * 60 + int(match[3])) * 60
    return (-seconds if match[1] == "-" else seconds) * NS_PER_SECOND


def axis(window: Window, offset: int) -> IntArray:
    """Where each point of the window lies on the axis people see. [L] int64: local ms, or the index.

    Raises:
        ReviewError: sampled finer than Label Studio can show.
    """
    places = places_of(window.timestamps, window.series.time_kind, offset)
    if len(places) > 1 and not (np.diff(places) > 0).all():
        raise ReviewError(
            f"{window.point_id} is sampled finer than the millisecond that Label Studio can show",
            "Give it an integer index instead of time, or thin it out at the source.",
        )
    return places


def places_of(stamps: IntArray, kind: TimeKind, offset: int) -> IntArray:
    """Instants in ns UTC as people see them: local ms, or the index."""
    return stamps // NS_PER_SECOND if kind == "index" else (stamps + offset) // NS_PER_MS


def shown(place: int, time_kind: TimeKind) -> str | int:
    """One place of the axis as the task writes it."""
    if time_kind == "index":
        return int(place)
    return str(np.datetime64(int(place), "ms")).replace("T", " ")


def shown_all(places: IntArray, time_kind: TimeKind) -> list[str] | list[int]:
    """:func:`shown` for many places at once. [L] -> L."""
    if time_kind == "index":
        return places.tolist()
    texts = np.datetime_as_string(places.astype("datetime64[ms]")).tolist()
    return [f"{t[:10]} {t[11:]}" for t in texts]


def place_of(value: object, time_kind: TimeKind) -> float:
    """The inverse of :func:`shown`; also takes times without or with finer fractions of a second.

    Raises:
        ValueError: neither a time nor an index.
    """
    if time_kind == "index":
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f"{value!r} is no index")
        return float(value)
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?", value):
        raise ValueError(f"{value!r} is no time like 2026-01-31 08:00:00")
    # Division of Python integers is exact where the result is a whole millisecond; float64 nanoseconds are not.
    return int(np.datetime64(value.replace(" ", "T"), "us").astype(np.int64)) / 1000


def instant(text: object) -> int:
    """An ISO 8601 time of Label Studio in ns UTC; 0 where there is none."""
    if not text:
        return 0
    plain = re.sub(r"(Z|\+00:00)$", "", str(text))
    return int(np.datetime64(plain.replace(" ", "T"), "ns").astype(np.int64))
