"""Cutting series into windows, stitching window scores back, excerpts with context."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.series import Series, Window
from tsad.core.types import FloatArray


def cut(series: Series, length: int, start: int = 0, stop: int | None = None) -> list[Window]:
    """Contiguous windows of ``length`` points over positions ``[start, stop)`` of the series.

    A tail shorter than half a window joins the one before it, so that no window is a mere scrap.
    """
    stop = len(series) if stop is None else min(stop, len(series))
    if stop <= start:
        return []
    edges = [*range(start, stop, length), stop]
    if len(edges) > 2 and edges[-1] - edges[-2] < length / 2:
        del edges[-2]
    return [Window(series, a, b) for a, b in itertools.pairwise(edges)]


def cut_between(series: Series, length: int, taken: Iterable[tuple[int, int]], least: int) -> list[Window]:
    """As :func:`cut`, over what lies between stretches of time that are taken; pieces of fewer points are left out.

    Where the taken stretches are windows of such a cut themselves, the others are the very windows of the whole cut.

    Args:
        taken: half-open ns UTC. least: points; a series that nothing is taken of may be shorter.
    """
    free = np.ones(len(series), dtype=bool)
    for start, end in taken:
        free[slice(*np.searchsorted(series.timestamps, (start, end)))] = False
    if free.all():
        return cut(series, length)
    pieces = [w for a, b in runs_of(free) for w in cut(series, length, int(a), int(b))]
    return [w for w in pieces if len(w) >= least]


def window_starts(total: int, length: int, stride: int) -> list[int]:
    """Starts of overlapping windows that cover ``[0, total)``; the last one ends at ``total``."""
    if total <= length:
        return [0]
    starts = list(range(0, total - length + 1, stride))
    if starts[-1] != total - length:
        starts.append(total - length)
    return starts


def stitch(pieces: Iterable[tuple[int, FloatArray]], total: int) -> FloatArray:
    """Weighted mean of overlapping pieces; points near a piece's edge count less.

    Args:
        pieces: (start, scores [L]) pairs; parts beyond ``total`` are dropped.
        total: T.

    Returns:
        [T] float64; NaN where no piece reaches.
    """
    acc, weight = np.zeros(total), np.zeros(total)
    for start, scores in pieces:
        n = max(0, min(len(scores), total - start))
        ramp = np.minimum(np.arange(1, len(scores) + 1), np.arange(len(scores), 0, -1)) / len(scores) + 0.05
        acc[start : start + n] += scores[:n] * ramp[:n]
        weight[start : start + n] += ramp[:n]
    reached = weight > 0
    np.divide(acc, weight, out=acc, where=reached)  # in place: the series may have millions of points
    acc[~reached] = np.nan
    return acc


def excerpts(windows: Sequence[Window], context: int) -> list[Window]:
    """The same windows over excerpts of their series: ``context`` points on either side are kept.

    Windows of one series whose excerpts touch share one excerpt, in the order given. What a dataset
    version stores: enough to score again when source and cache are gone, not whole histories.
    """
    by_series: dict[int, list[int]] = {}
    for k, w in enumerate(windows):
        by_series.setdefault(id(w.series), []).append(k)
    out: list[Window | None] = [None] * len(windows)
    for members in by_series.values():
        series = windows[members[0]].series
        group: list[int] = []
        reach = -1
        for k in sorted(members, key=lambda m: windows[m].start):
            if group and windows[k].start - context > reach:
                _place(series, windows, group, context, out)
                group = []
            group.append(k)
            reach = max(reach, windows[k].stop + context)
        _place(series, windows, group, context, out)
    return [w for w in out if w is not None]


def _place(
    series: Series, windows: Sequence[Window], group: list[int], context: int, out: list[Window | None]
) -> None:
    first = max(0, min(windows[k].start for k in group) - context)
    last = min(len(series), max(windows[k].stop for k in group) + context)
    piece = series if (first, last) == (0, len(series)) else series.slice(first, last)
    for k in group:
        out[k] = Window(piece, windows[k].start - first, windows[k].stop - first)


def without_overlap(candidates: Sequence[Window], taken: Iterable[Window]) -> list[Window]:
    """The candidates that share no time with any window of ``taken`` on the same point."""
    return outside(candidates, ((window.point_id, window.span) for window in taken))


def outside(candidates: Sequence[Window], taken: Iterable[tuple[str, tuple[int, int]]]) -> list[Window]:
    """The candidates that share no time with any of the stretches: point, and half-open ns UTC."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for point_id, span in taken:
        spans.setdefault(point_id, []).append(span)
    return [
        w
        for w in candidates
        if not any(start < w.span[1] and w.span[0] < end for start, end in spans.get(w.point_id, ()))
    ]
