"""Positions inside a window and the intervals they stand for; every answer is a set of points."""

from __future__ import annotations

from collections.abc import Iterable

from tsad.core.intervals import intervals_to_runs, merge_runs, point_ends
from tsad.core.series import Window
from tsad.core.types import ANOMALY, IntArray, Interval

Run = tuple[int, int, str]  # half-open positions inside the window, and the label


def window_ends(window: Window) -> IntArray:
    """End of the time each point of the window stands for, as in the whole series. [L] int64 ns UTC."""
    series = window.series
    nearby = series.timestamps[window.start : window.stop + 1]
    return point_ends(nearby, series.step)[: len(window)]


def labelled_runs_to_intervals(window: Window, runs: Iterable[Run], score: float = 1.0) -> tuple[Interval, ...]:
    """Intervals that cover exactly the given points: from the first one to just after the last one."""
    stamps, ends = window.timestamps, window_ends(window)
    return tuple(Interval(int(stamps[a]), int(ends[b - 1]), label, score) for a, b, label in runs)


def intervals_to_labelled_runs(window: Window, intervals: Iterable[Interval]) -> list[Run]:
    """Points of the window that the intervals cover, joined per label, in time order.

    Two answers are equal when these are equal: how a stretch is cut into touching intervals, and where
    between two points an edge lies, make no difference.
    """
    by_label: dict[str, list[Interval]] = {}
    for item in intervals:
        by_label.setdefault(item.label or ANOMALY, []).append(item)
    runs: list[Run] = []
    for label, items in by_label.items():
        merged = merge_runs(intervals_to_runs(items, window.timestamps))
        runs.extend((int(a), int(b), label) for a, b in merged)
    return sorted(runs)
