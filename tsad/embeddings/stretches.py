"""What of a series an embedding looks at: the values of one channel, and how much of them around an interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tsad.core.overview import SeriesOverview
from tsad.core.series import Series, Window
from tsad.core.types import FloatArray

LEAST = 16  # points on either side of an interval: what it stands out from is a part of its shape
PIECES = 32  # of a window, by whose lowest, mean and highest value it is told from another one
ABSENT = 1e3  # deviations; stands for a piece without a value, which is alike only to another one


@dataclass(frozen=True, eq=False)
class Usual:
    """Level and spread of each channel of a series, [C] each: median, and deviation about it (1 where constant)."""

    level: FloatArray
    spread: FloatArray

    @classmethod
    def of(cls, series: Series) -> Usual:
        """Of all its values; those that are missing do not count."""
        values = series.values
        known = np.isfinite(values)
        counts = known.sum(axis=0)
        columns = zip(values.T, known.T, strict=True)
        level = np.array([np.median(column[own]) if own.any() else 0.0 for column, own in columns])
        away = np.where(known, values - level, 0.0)
        spread = np.sqrt((away**2).sum(axis=0) / np.maximum(counts, 1))
        return cls(level, _not_still(level, spread))

    @classmethod
    def seen_in(cls, overview: SeriesOverview) -> Usual:
        """About the same of a series that is known in little: of the lowest and highest value of each stretch."""
        ends = np.concatenate((overview.low, overview.high))
        known = np.isfinite(ends)
        columns = zip(ends.T, known.T, strict=True)
        level = np.array([np.median(column[own]) if own.any() else 0.0 for column, own in columns])
        away = np.where(known, ends - level, 0.0)
        return cls(level, _not_still(level, np.sqrt((away**2).sum(axis=0) / np.maximum(known.sum(axis=0), 1))))


def _not_still(level: FloatArray, spread: FloatArray) -> FloatArray:
    """Spreads, 1 where nothing varies."""
    return np.where(spread > 1e-12 * (1 + np.abs(level)), spread, 1.0)


def around(series: Series, start: int, stop: int) -> Window:
    """The positions ``[start, stop)`` with as much on either side, at least ``LEAST`` points, as far as there is."""
    margin = max(LEAST, stop - start)
    return Window(series, max(0, start - margin), min(len(series), stop + margin))


def stretches_of(windows: Sequence[Window], known: Mapping[str, Usual] | None = None) -> list[FloatArray]:
    """The values that stand for each window, [L] of each: of several channels those of the one that moves most in it.

    A channel moves by its largest deviation from the series' median, in its deviations over the whole series.

    Args:
        known: of series by point, for windows over mere excerpts of them, of which another channel may move most.
    """
    wide, known = [w for w in windows if w.values.shape[1] > 1], known or {}
    usual = _usual([w for w in wide if w.point_id not in known])
    made = []
    for window in windows:
        values = window.values
        channel = 0
        if values.shape[1] > 1:
            own = known[window.point_id] if window.point_id in known else usual[id(window.series)]
            moved = np.abs(np.nan_to_num((values - own.level) / own.spread))
            channel = int(moved.max(axis=0).argmax())
        made.append(np.ascontiguousarray(values[:, channel], np.float64))
    return made


def outlines_of(windows: Sequence[Window], known: Mapping[str, Usual] | None = None) -> list[FloatArray]:
    """Lowest, mean and highest value of each of ``PIECES`` pieces of every channel, in deviations of its series.

    Two windows whose outlines differ by little anywhere differ by little everywhere. [C * PIECES * 3] of each.

    Args:
        known: of series by point, for windows over mere excerpts of them.
    """
    known = known or {}
    usual = _usual([w for w in windows if w.point_id not in known])
    return [_outline(w, known[w.point_id] if w.point_id in known else usual[id(w.series)]) for w in windows]


def _outline(window: Window, usual: Usual) -> FloatArray:
    values = (window.values - usual.level) / usual.spread
    count = min(PIECES, len(values))
    edges = np.linspace(0, len(values), count + 1).astype(np.int64)[:-1]
    known = np.isfinite(values)
    low = np.minimum.reduceat(np.where(known, values, np.inf), edges)
    high = np.maximum.reduceat(np.where(known, values, -np.inf), edges)
    counts = np.add.reduceat(known, edges, dtype=np.int64)
    mean = np.add.reduceat(np.where(known, values, 0.0), edges) / np.maximum(counts, 1)
    outline = np.stack((low, mean, high))
    outline[:, counts == 0] = ABSENT
    return np.asarray(outline.ravel(), np.float64)


def _usual(windows: Sequence[Window]) -> dict[int, Usual]:
    """By the identity of the series, each looked at once."""
    return {key: Usual.of(series) for key, series in {id(w.series): w.series for w in windows}.items()}
