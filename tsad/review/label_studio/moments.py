"""Times as people read them: 24 hours, in the project's fixed offset; lengths of time as they say them. Pure."""

from __future__ import annotations

import numpy as np

from tsad.core.durations import format_duration
from tsad.core.times import format_time
from tsad.core.types import NS_PER_SECOND, TimeKind

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))  # seconds


def moment(stamp: int, kind: TimeKind, offset: int) -> str:
    """ns UTC as ``2026-01-31 16:00``, with seconds and their fraction only where there are some; or the index."""
    if kind == "index":
        return format_time(stamp, kind)
    text = str(np.datetime64(int(stamp) + offset, "ns")).replace("T", " ")
    return text.rstrip("0").rstrip(".") if stamp % NS_PER_SECOND else text[: 19 if stamp % (60 * NS_PER_SECOND) else 16]


def from_to(start: int, end: int, kind: TimeKind, offset: int) -> str:
    """Two moments, the second without its date where that is the first one's."""
    first, last = moment(start, kind, offset), moment(end, kind, offset)
    same = kind == "time" and first[:10] == last[:10]
    return f"{first} \N{EN DASH} {last[11:] if same else last}"


def length(span: int) -> str:
    """ns as ``1 d 9 h 20 min``: the largest unit and what the next ones add to it; parts of a second as they are."""
    if span < NS_PER_SECOND:
        return format_duration(span)
    parts = []
    for name, unit in _UNITS:
        count, span = divmod(span, unit * NS_PER_SECOND)
        parts += [f"{count} {name}"] * bool(count)
    return " ".join(parts[:3])
