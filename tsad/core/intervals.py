"""Arithmetic on intervals: masks to intervals and back, merging, clipping, IoU.

Two views of the same thing: :class:`~tsad.core.types.Interval` in time (ns UTC), and *runs*, an
int64 array [K, 2] of half-open positions, which is what the metrics take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tsad.core.types import ANOMALY, NS_PER_SECOND, BoolArray, Detection, FloatArray, IntArray, Interval

Span = tuple[int, int]  # a range of time that nobody calls abnormal: start, end in ns UTC, half-open, start < end


def runs_of(mask: npt.ArrayLike) -> IntArray:
    """Runs of true values as half-open positions. mask [T] bool -> [K, 2] int64."""
    flags = np.asarray(mask, dtype=bool)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.view(np.int8), [0]))))
    return edges.reshape(-1, 2).astype(np.int64)


def mask_of_runs(runs: npt.ArrayLike, length: int) -> BoolArray:
    """The inverse of :func:`runs_of`. runs [K, 2] -> [length] bool."""
    steps = np.zeros(length + 1, np.int64)
    pairs = np.asarray(runs, np.int64).reshape(-1, 2).clip(0, length)
    np.add.at(steps, pairs[:, 0], 1)
    np.add.at(steps, pairs[:, 1], -1)
    return np.cumsum(steps[:-1]) > 0


def merge_runs(runs: npt.ArrayLike, gap: int = 0) -> IntArray:
    """Join runs that lie at most ``gap`` positions apart. [K, 2] -> [K', 2], sorted and disjoint."""
    pairs: IntArray = np.asarray(runs, np.int64).reshape(-1, 2)
    if len(pairs) == 0:
        return pairs
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    reach = np.maximum.accumulate(pairs[:, 1])
    opens = np.concatenate(([True], pairs[1:, 0] > reach[:-1] + gap))
    first = np.flatnonzero(opens)
    last = np.concatenate((first[1:] - 1, [len(pairs) - 1]))
    return np.stack((pairs[first, 0], reach[last]), axis=1)


def point_ends(timestamps: IntArray, step: int | None = None) -> IntArray:
    """End of the time each point stands for: the next point, or one median step where a gap follows.

    So an interval over the last points before a gap does not swallow the gap. [T] -> [T] int64 ns.
    """
    if step is None:
        step = max(1, int(np.median(np.diff(timestamps)))) if len(timestamps) > 1 else NS_PER_SECOND
    ends = timestamps + step
    ends[:-1] = np.minimum(ends[:-1], timestamps[1:])
    return ends


def intervals_to_mask(intervals: Iterable[Interval], timestamps: IntArray) -> BoolArray:
    """Which points lie in any interval (``start <= t < end``). timestamps [T] ns -> [T] bool."""
    return mask_of_runs(intervals_to_runs(intervals, timestamps), len(timestamps))


def intervals_to_runs(intervals: Iterable[Interval], timestamps: IntArray) -> IntArray:
    """Positions each interval covers, [K, 2] half-open; intervals that cover no point are left out."""
    items = list(intervals)
    if not items:
        return np.empty((0, 2), np.int64)
    starts = np.searchsorted(timestamps, [i.start for i in items], side="left")
    stops = np.searchsorted(timestamps, [i.end for i in items], side="left")
    pairs = np.stack((starts, stops), axis=1).astype(np.int64)
    return pairs[pairs[:, 1] > pairs[:, 0]]


def runs_to_intervals(
    runs: npt.ArrayLike, timestamps: IntArray, scores: FloatArray | None = None, label: str = ANOMALY
) -> tuple[Interval, ...]:
    """Intervals in time from positions; the score of each is the highest score inside it (or 1; NaN = 0)."""
    pairs = np.asarray(runs, np.int64).reshape(-1, 2)
    if len(pairs) == 0:
        return ()
    ends = point_ends(timestamps)
    return tuple(
        Interval(
            int(timestamps[a]), int(ends[b - 1]), label,
            1.0 if scores is None else float(np.nan_to_num(scores[a:b]).max().clip(0.0, 1.0)),
        )
        for a, b in pairs
    )


def mask_to_intervals(
    mask: npt.ArrayLike, timestamps: IntArray, scores: FloatArray | None = None, label: str = ANOMALY
) -> tuple[Interval, ...]:
    """Maximal runs of true points as intervals; ``intervals_to_mask`` gives the mask back."""
    return runs_to_intervals(runs_of(mask), timestamps, scores, label)


def clip(intervals: Iterable[Interval], start: int, end: int) -> tuple[Interval, ...]:
    """The parts of the intervals inside ``[start, end)``, ns UTC."""
    return tuple(
        replace(i, start=max(i.start, start), end=min(i.end, end))
        for i in intervals
        if i.start < end and start < i.end
    )


def merge(intervals: Iterable[Interval], gap: int = 0) -> tuple[Interval, ...]:
    """Join intervals at most ``gap`` ns apart; label, score and note of the most confident one stay."""
    merged: list[Interval] = []
    for item in sorted(intervals):
        if merged and item.start <= merged[-1].end + gap:
            last = merged[-1]
            best = item if item.score > last.score else last
            merged[-1] = replace(best, start=last.start, end=max(last.end, item.end))
        else:
            merged.append(item)
    return tuple(merged)


def merge_kinds(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Touching and overlapping intervals of one kind as one, in time order; different kinds stay apart."""
    items = list(intervals)
    return tuple(sorted(i for kind in {i.label for i in items} for i in merge(i for i in items if i.label == kind)))


def confidence_along(intervals: Iterable[Interval], timestamps: IntArray) -> FloatArray:
    """The score of the interval over each point, 0 between them; the highest where they overlap. [T]."""
    along = np.zeros(len(timestamps))
    for interval in intervals:
        part = slice(*np.searchsorted(timestamps, (interval.start, interval.end)))
        np.maximum(along[part], interval.score, out=along[part])
    return along


def point_scores(detection: Detection, timestamps: IntArray) -> FloatArray:
    """A score per point for those who need one: the detection's own, else the confidence of what it considered. [T]."""
    if detection.scores is not None:
        return detection.scores
    considered = detection.intervals if detection.candidates is None else detection.candidates
    return confidence_along(considered, timestamps)


def iou(a: Interval, b: Interval) -> float:
    """Intersection over union of two intervals in time, 0..1."""
    shared = min(a.end, b.end) - max(a.start, b.start)
    if shared <= 0:
        return 0.0
    return shared / (max(a.end, b.end) - min(a.start, b.start))


def coverage_iou(a: Sequence[Interval], b: Sequence[Interval]) -> float:
    """IoU of the time covered by two sets of intervals; 1.0 where both are empty."""
    a, b = merge(a), merge(b)
    total_a, total_b = (sum(i.end - i.start for i in s) for s in (a, b))
    if total_a + total_b == 0:
        return 1.0
    shared = sum(max(0, min(i.end, j.end) - max(i.start, j.start)) for i in a for j in b)
    return shared / (total_a + total_b - shared)
