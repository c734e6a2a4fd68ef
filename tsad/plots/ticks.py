"""Where an axis is marked, and what is written there: 24-hour times in a fixed offset, or a series' index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tsad.core.types import NS_PER_SECOND, TimeKind

_MINUTE, _HOUR, _DAY = 60 * NS_PER_SECOND, 3_600 * NS_PER_SECOND, 86_400 * NS_PER_SECOND
_STEPS = (
    *(k * NS_PER_SECOND // 1000 for k in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(k * NS_PER_SECOND for k in (1, 2, 5, 10, 15, 30)), *(k * _MINUTE for k in (1, 2, 5, 10, 15, 30)),
    *(k * _HOUR for k in (1, 2, 3, 6, 12)), *(k * _DAY for k in (1, 2, 7, 14)),
)  # fmt: skip
_MONTH = 30 * _DAY


class Tick(NamedTuple):
    """One mark: ns UTC, and its text."""

    at: int
    text: str


def ticks(start: int, end: int, kind: TimeKind, offset: int, most: int) -> list[Tick]:
    """About ``most`` round moments in ``[start, end)``, ns UTC.

    Args:
        offset: by how many ns people's clocks are ahead of UTC.
    """
    if kind == "index":
        step = round_steps(-(-(end - start) // NS_PER_SECOND), most) * NS_PER_SECOND
        return [Tick(at, str(at // NS_PER_SECOND)) for at in range(-(-start // step) * step, end, step)]
    step = next((step for step in _STEPS if end - start <= step * most), 0)
    if step:
        local = range(-(-(start + offset) // step) * step, end + offset, step)
        return [Tick(t - offset, text) for t, text in zip(local, _clock(local, step), strict=True)]
    months = _months(-(-(end - start) // _MONTH), most)
    first, last = (int(np.datetime64(t + offset, "ns").astype("datetime64[M]").astype(int)) for t in (start, end))
    marks = np.arange(-(-first // months) * months, last + 1, months).astype("datetime64[M]")
    stamps = marks.astype("datetime64[ns]").astype(np.int64) - offset
    texts = [str(mark)[: 4 if months % 12 == 0 else 7] for mark in marks]
    return [Tick(int(at), text) for at, text in zip(stamps, texts, strict=True) if start <= at < end]


def round_steps(total: int, most: int) -> int:
    """The least of 1, 2, 5, 10, 20, 50, ... that cuts ``total`` into at most ``most`` steps."""
    size = 1
    while True:
        for step in (size, 2 * size, 5 * size):
            if step * most >= total:
                return step
        size *= 10


def _months(total: int, most: int) -> int:
    """Months between marks: parts of a year, or a round number of years."""
    return next((m for m in (1, 3, 6) if m * most >= total), 12 * round_steps(-(-total // 12), most))


def _clock(local: Sequence[int], step: int) -> list[str]:
    """Moments of people's clocks; with the date where a day begins, with the year where one begins."""
    out, date = [], ""
    for stamp in local:
        text, before = str(np.datetime64(stamp, "ns")), date
        date = text[:10]
        time = text[11:23] if step < NS_PER_SECOND else text[11:19] if step < _MINUTE else text[11:16]
        day = date[5:] if before[:4] == date[:4] else date
        out.append(day if step >= _DAY else time if date == before else f"{day} {time}")
    return out
