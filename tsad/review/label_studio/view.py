"""What a task draws of the series around a window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.reduction import kept_positions
from tsad.core.series import Series, Window
from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.plots.little import PAUSE

MOST_POINTS = 10_000  # beyond these the editor gets slow
MOST_GAPS = 60  # marked in one task, the longest ones: each is a region


@dataclass(frozen=True)
class Gap:
    """A stretch without data that the editor bridges by a straight line.

    Attributes:
        before, after: positions in the series of the points on either side, which the line joins.
        channels: drawn channels that have no value there; none = the whole series has no points.
    """

    before: int
    after: int
    channels: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class View:
    """The part of a window's series that its task draws.

    Attributes:
        window: the reviewed unit.
        rows: [N] positions in ``window.series`` that are drawn, ascending, context included.
        channels: the drawn ones, in the order in which they are drawn.
        gaps: what the editor bridges, in time order.
    """

    window: Window
    rows: IntArray
    channels: tuple[int, ...]
    gaps: tuple[Gap, ...] = ()

    @property
    def values(self) -> FloatArray:
        """[N, C] as drawn: missing values lie on the straight line between their neighbours."""
        first, last = int(self.rows[0]), int(self.rows[-1]) + 1
        return _bridged(self.window.series, first, last, self.channels)[self.rows - first]

    @property
    def context(self) -> tuple[tuple[int, int], ...]:
        """First and last position of what is drawn before and after the window, where anything is."""
        window, first, last = self.window, int(self.rows[0]), int(self.rows[-1])
        around = ((first, window.start - 1), (window.stop, last))
        return tuple((a, b) for a, b in around if a <= b)


def view_of(
    window: Window, max_channels: int, context: float = 0.0, max_points: int = MOST_POINTS, keep: Iterable[int] = ()
) -> View:
    """The window with its surroundings, with as many of its channels as fit.

    Where there are more than ``max_points``, M4 keeps what a plot shows of them (see :func:`kept_positions`); the
    window has at least half of the points. The first and last point of the window stay always.

    Args:
        max_channels: of more, those that deviate most inside the window.
        context: drawn on either side, in window lengths.
        keep: positions in the window that stay, e.g. the edges of intervals.
    """
    series, reach = window.series, round(context * len(window))
    first, last = max(0, window.start - reach), min(len(series), window.stop + reach)
    channels = tuple(channels_shown(window, max_channels))
    gaps = _gaps(series, first, last, channels)
    kept = {window.start, window.stop - 1, *(window.start + k for k in keep if 0 <= k < len(window))}
    kept |= {edge for gap in gaps for edge in (gap.before, gap.after)}
    rows = _rows(_bridged(series, first, last, channels), (window.start - first, window.stop - first), max_points)
    return View(window, np.union1d(rows + first, np.array(sorted(kept), np.int64)), channels, gaps)


def channels_shown(window: Window, most: int) -> list[int]:
    """Channels to draw, in their own order; of too many, those that deviate most inside the window, these first.

    Deviation is the largest distance from the series' median in units of its interquartile range.
    """
    values = window.values
    present = [c for c in range(values.shape[1]) if np.isfinite(values[:, c]).any()]
    if len(present) <= most:
        return present
    low, middle, high = np.nanpercentile(window.series.values[:, present], (25, 50, 75), axis=0)
    with np.errstate(invalid="ignore"):
        far = np.nanmax(np.abs(values[:, present] - middle), axis=0)
    spread: FloatArray = high - low
    flat = np.nanstd(window.series.values[:, present], axis=0)
    spread = np.where(spread > 0, spread, np.where(flat > 0, flat, 1.0))
    best = np.argsort(-(far / spread), kind="stable")[:most]
    return [present[c] for c in best]


def _bridged(series: Series, first: int, last: int, channels: tuple[int, ...]) -> FloatArray:
    """Values at positions ``[first, last)`` with straight lines over missing ones. [N, C]."""
    values = series.values[first:last][:, list(channels)]
    if np.isfinite(values).all():
        return values
    stamps, bridged = series.timestamps[first:last] - series.timestamps[first], values.copy()
    for column in bridged.T:
        known = np.isfinite(column)
        column[~known] = np.interp(stamps[~known], stamps[known], column[known])
    return bridged


def _rows(values: FloatArray, inside: tuple[int, int], most: int) -> IntArray:
    """Which rows are drawn: the window's share first, then what is left for its surroundings."""
    if len(values) <= most:
        return np.arange(len(values), dtype=np.int64)
    a, b = inside
    around = len(values) - (b - a)
    share = most if around == 0 else max(most // 2, most - around)
    own = kept_positions(values[a:b], share, "m4")
    parts = [a + own]
    for start, stop in ((0, a), (b, len(values))):
        if start < stop:
            budget = max(2, (most - len(own)) * (stop - start) // around)
            parts.append(start + kept_positions(values[start:stop], budget, "m4"))
    return np.sort(np.concatenate(parts))


def _gaps(series: Series, first: int, last: int, channels: tuple[int, ...]) -> tuple[Gap, ...]:
    """Stretches without points, or without values in drawn channels; of too many the longest."""
    stamps = series.timestamps[first:last]
    torn = np.flatnonzero(np.diff(stamps) > PAUSE * series.step)
    gaps = [Gap(first + int(k), first + int(k) + 1) for k in torn]
    absent: BoolArray = ~np.isfinite(series.values[first:last][:, list(channels)])
    for a, b in runs_of(absent.any(axis=1)):
        members = tuple(channels[k] for k in np.flatnonzero(absent[a:b].any(axis=0)))
        gaps.append(Gap(first + max(0, int(a) - 1), first + min(int(b), len(stamps) - 1), members))
    gaps.sort(key=lambda g: series.timestamps[g.before] - series.timestamps[g.after])
    return tuple(sorted(gaps[:MOST_GAPS], key=lambda g: (g.before, g.after)))
