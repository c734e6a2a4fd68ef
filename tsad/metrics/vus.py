"""VUS-PR, the volume under the precision-recall surface, for long series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.metrics.interval import check_lengths, spaced
from tsad.metrics.point import scored


class Stretches(NamedTuple):
    """What a line of points consists of.

    Attributes:
        lengths: points of each stretch; flanks and joins do not cross them.
        weights: [T], constant within a stretch; ``None`` = all alike.
    """

    lengths: Sequence[int] | None = None
    weights: FloatArray | None = None


WHOLE = Stretches()


def vus_pr(
    truth: npt.ArrayLike, scores: npt.ArrayLike, max_buffer: int = 100, thresholds: int = 250, step: int = 1, *,
    stretches: Stretches = WHOLE,
) -> float:  # fmt: skip
    """Volume under the precision-recall surface: AUC-PR with soft edges, averaged over their width.

    For every buffer w = 0, step, ..., ``max_buffer`` each true run gets flanks of w // 2 points in which a point at
    distance d counts as sqrt(1 - d / w) true; sums are capped at 1. Recall is the soft recall times the share of
    (buffered, joined) runs that hold a predicted point. Equal to TSB-AD's ``RangeAUC_volume_opt``.
    Source: Paparrizos et al. 2022, PVLDB 15(11) "Volume Under the Surface", sections 3 and 4.

    O(T log T) once, then O(``thresholds`` x ``max_buffer``) and one pass over the points per buffer, since

    * two flanks that meet give at least 2 sqrt(1/2) > 1: only the nearest and second nearest run edge matter;
    * a histogram over (threshold, distance) then holds all that any buffer needs to know.

    Args:
        truth: [T] bool.
        scores: [T], finite; cut at ``thresholds`` of their quantiles.
        stretches: what ``truth`` consists of; by default one.

    Returns:
        0..1, NaN where nothing is true.
    """
    true, values = scored(truth, scores)
    if max_buffer < 0 or thresholds < 1 or step < 1:
        raise ValueError("max_buffer must be at least 0, thresholds and step at least 1")
    if not true.any():
        return float("nan")
    weights = stretches.weights
    mass = np.ones(len(true)) if weights is None else np.asarray(weights, np.float64)
    place = spaced(check_lengths(stretches.lengths, len(true)), max_buffer + 1)  # further apart than two flanks reach
    descending = np.sort(values)[::-1]
    cuts = descending[np.linspace(0, len(values) - 1, thresholds).astype(np.int64)]
    bucket = np.searchsorted(-cuts, -values, side="left")  # the first, highest cut that each point reaches
    line = _Line(true, place, _runs_of_stretches(true, place), bucket, mass, thresholds)
    flanks = _Flanks(line, max_buffer // 2)
    called = np.cumsum(_by_cut(bucket, mass, thresholds))
    core = np.cumsum(_by_cut(bucket[true], mass[true], thresholds))
    total = float(mass[true].sum())
    areas = []
    existence_of: dict[int, FloatArray] = {}
    for width in range(0, max_buffer + 1, step):
        half = width // 2
        if half not in existence_of:
            existence_of[half] = _existence(line, half)
        soft = core + np.cumsum(flanks.mass(width))
        # TSB-AD's P_new: the mean of hard positives and soft positives reached; so that wide flanks cost no recall
        positives = total + (soft - core) / 2
        recall = np.minimum(soft / positives, 1.0) * existence_of[half]
        precision = np.divide(soft, called, out=np.zeros(thresholds), where=called > 0)
        areas.append(float(np.sum(np.diff(recall, prepend=0.0) * precision)))
    return float(np.mean(areas))


class _Line(NamedTuple):
    """Points in order, [T] each: truth, place, highest cut reached, mass; and runs [K, 2] of the truth, as places."""

    true: BoolArray
    place: IntArray
    runs: IntArray
    bucket: IntArray
    mass: FloatArray
    thresholds: int


def _runs_of_stretches(true: BoolArray, place: IntArray) -> IntArray:
    """Runs of true points as *places* [K, 2], first and last point, both inclusive; none spans two stretches."""
    breaks = np.append(np.diff(place) != 1, True)
    following, preceding = np.append(true[1:], False), np.concatenate(([False], true[:-1]))
    first = true & (~preceding | np.concatenate(([True], breaks[:-1])))
    last = true & (~following | breaks)
    return np.stack((place[first], place[last]), axis=1)


class _Flanks:
    """The soft truth around the runs, summed by threshold, for buffers asked for in ascending order."""

    def __init__(self, line: _Line, reach: int) -> None:
        near, second = _edge_distances(line.place, line.runs, reach + 1)
        inside = np.flatnonzero(~line.true & (near <= reach))
        self.near, self.second = near[inside], second[inside]
        self.bucket, self.weight = line.bucket[inside], line.mass[inside]
        self.shape = (line.thresholds, reach + 2)
        # [threshold, distance]: points with one run edge in reach so far, and mass of those with two
        self.single = self._histogram(np.ones(len(inside), bool))
        self.double = np.zeros(line.thresholds)
        self.half = 0

    def _histogram(self, chosen: BoolArray) -> FloatArray:
        cell = self.bucket[chosen] * self.shape[1] + self.near[chosen]
        return _by_cut(cell, self.weight[chosen], self.shape[0] * self.shape[1]).reshape(self.shape)

    def mass(self, width: int) -> FloatArray:
        """Soft truth outside the runs that falls to each threshold, [thresholds]."""
        half = width // 2
        while self.half < half:
            self.half += 1
            joins = self._histogram(self.second == self.half)
            self.single -= joins
            self.double += joins.sum(axis=1)
        distance = np.arange(1, half + 1)
        return self.single[:, 1 : half + 1] @ np.sqrt(1 - distance / max(width, 1)) + self.double


def _edge_distances(place: IntArray, runs: IntArray, far: int) -> tuple[IntArray, IntArray]:
    """Distance of each point outside the runs to the nearest and second nearest run edge, at most ``far``.

    Edges count as TSB-AD counts them: last points of runs before, first points of runs after. [T], [T].
    """
    starts, ends = runs[:, 0], runs[:, 1]
    before, after = np.searchsorted(ends, place, side="left"), np.searchsorted(starts, place, side="right")
    distances = np.full((4, len(place)), far, np.int64)
    for row, back in enumerate((1, 2)):
        known = before >= back
        distances[row, known] = place[known] - ends[before[known] - back]
        known = after + back <= len(starts)
        distances[row + 2, known] = starts[after[known] + back - 1] - place[known]
    distances = np.sort(np.minimum(distances, far), axis=0)
    return distances[0], distances[1]


def _existence(line: _Line, half: int) -> FloatArray:
    """Share of buffered runs with a predicted point, by threshold; runs whose buffers touch are one. [thresholds]."""
    place, runs, thresholds = line.place, line.runs, line.thresholds
    apart = runs[:-1, 1] + half < runs[1:, 0] - half
    first = runs[np.concatenate(([True], apart)), 0]
    last = runs[np.append(apart, True), 1]
    begin = np.searchsorted(place, first - half, side="left")
    end = np.searchsorted(place, last + half, side="right")
    # reduceat takes pairs of positions; the sentinel lets the last pair end at T
    pairs = np.stack((begin, end), axis=1).ravel()
    reached = np.minimum.reduceat(np.append(line.bucket, thresholds), pairs)[::2]
    weight = line.mass[np.searchsorted(place, first, side="left")]
    return np.cumsum(_by_cut(reached, weight, thresholds)) / weight.sum()


def _by_cut(cells: IntArray, weights: FloatArray, count: int) -> FloatArray:
    """Weight per cell 0..count-1; cells beyond belong to points below the lowest cut and are left out."""
    return np.bincount(cells, weights, count)[:count].astype(np.float64)
