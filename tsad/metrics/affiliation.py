"""Affiliation precision, recall and F1: how near predictions are to events, and events to predictions.

Each event owns the part of the series that is nearer to it than to any other event, its *zone*. Within a zone a
distance is turned into the probability that a point placed there by chance lies at least as far away, so 1 is a hit,
and guessing gives about 1/2, whatever the length of the events. Runs are continuous here: ``[a, b)`` of points is
the stretch from a to b on a line of ``length``.
Source: Huet, Navarro and Rossi 2022, KDD, "Local Evaluation of Time Series Anomaly Detection Algorithms",
arXiv 2206.13167, section 3; the integrals over the probabilities are solved here in closed form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.core.types import FloatArray, IntArray
from tsad.metrics.interval import sorted_runs
from tsad.metrics.point import PRF


class _Pieces(NamedTuple):
    """Predicted runs cut at the borders of zones, in order of time; [Q] each."""

    start: FloatArray
    end: FloatArray
    zone: IntArray


def affiliation_prf(true_runs: npt.ArrayLike, pred_runs: npt.ArrayLike, length: int) -> PRF:
    """Means over events of affiliation precision and recall, and the harmonic mean of the two.

    Precision is the mean over the events in whose zone something is predicted; NaN where nothing is predicted at all.
    Recall is the mean over all events; an event in whose zone nothing is predicted counts 0. Where nothing is true
    there are no zones: precision and recall are NaN. F1 is 0 wherever one of the two is undefined.

    Args:
        true_runs: [K, 2], the events; touching runs stay two.
        pred_runs: [M, 2].
        length: T in points.

    Raises:
        ValueError: empty or overlapping runs, or runs outside ``[0, length)``.
    """
    true, pred = sorted_runs(true_runs), sorted_runs(pred_runs)
    for runs in (true, pred):
        if len(runs) and (runs[0, 0] < 0 or runs[-1, 1] > length):
            raise ValueError(f"runs from {runs[0, 0]} to {runs[-1, 1]} do not lie in a series of {length} points")
    if len(true) == 0 or len(pred) == 0:
        return PRF(float("nan"), float("nan") if len(true) == 0 else 0.0, 0.0)
    events = true.astype(np.float64)
    borders = np.concatenate(([0.0], (events[:-1, 1] + events[1:, 0]) / 2, [float(length)]))
    pieces = _cut(pred.astype(np.float64), borders)
    called = np.bincount(pieces.zone, pieces.end - pieces.start, len(events))
    precision = float(np.mean(_precision_sums(events, borders, pieces)[called > 0] / called[called > 0]))
    recall = float(np.mean(_recall_sums(events, borders, pieces) / (events[:, 1] - events[:, 0])))
    return PRF(precision, recall, 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0)


def _cut(runs: FloatArray, borders: FloatArray) -> _Pieces:
    """The runs [M, 2] cut at the K - 1 inner borders [K + 1]."""
    first = np.searchsorted(borders[1:-1], runs[:, 0], side="right")
    last = np.searchsorted(borders[1:-1], runs[:, 1], side="left")
    count = last - first + 1
    which = np.repeat(np.arange(len(runs)), count)
    zone = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count) + first[which]
    return _Pieces(np.maximum(runs[which, 0], borders[zone]), np.minimum(runs[which, 1], borders[zone + 1]), zone)


def _precision_sums(events: FloatArray, borders: FloatArray, pieces: _Pieces) -> FloatArray:
    """Integral over the predicted points of each zone of P(a random point of it is as far from the event), [K].

    Outside the event at distance d that is 1 - (|event| + d + min(d, room on the other side)) / |zone|, inside 1.
    """
    zone = pieces.zone
    (begin, end), low, high = events[zone].T, borders[zone], borders[zone + 1]
    before, after = begin - low, high - end
    left = np.maximum(begin - pieces.start, 0.0), np.maximum(begin - pieces.end, 0.0)  # distances, far and near
    right = np.maximum(pieces.end - end, 0.0), np.maximum(pieces.start - end, 0.0)
    outside = np.zeros(len(zone))
    for (far, near), room in ((left, after), (right, before)):
        nearer = (end - begin) * (far - near) + (far**2 - near**2) / 2 + _capped(far, room) - _capped(near, room)
        outside += (far - near) - nearer / (high - low)
    inside = np.maximum(np.minimum(pieces.end, end) - np.maximum(pieces.start, begin), 0.0)
    return np.bincount(zone, inside + outside, len(events)).astype(np.float64)


def _capped(distance: FloatArray, room: FloatArray) -> FloatArray:
    """Integral of min(t, room) over t from 0 to ``distance``."""
    part = np.minimum(distance, room)
    return part**2 / 2 + room * (distance - part)


def _recall_sums(events: FloatArray, borders: FloatArray, pieces: _Pieces) -> FloatArray:
    """Integral over the points of each event of P(a random point of its zone is as far from it as the prediction), [K].

    At a point y at distance d from the nearest prediction p that is 1 - (d + min(d, y's distance to the zone's edge
    on the side away from p)) / |zone|, and 0 in a zone without predictions.
    """
    zone = pieces.zone
    (begin, end), low, high = events[zone].T, borders[zone], borders[zone + 1]
    # the points nearest to each piece lie between the middles of the gaps around it
    joined = np.concatenate((zone[1:] == zone[:-1], [False]))
    middle = np.append((pieces.end[:-1] + pieces.start[1:]) / 2, 0.0)
    cell_end = np.where(joined, middle, high)
    cell_begin = np.where(np.roll(joined, 1), np.roll(middle, 1), low)
    total = np.maximum(np.minimum(pieces.end, end) - np.maximum(pieces.start, begin), 0.0)  # d = 0 there
    left = np.minimum(end, pieces.start) - np.maximum(begin, cell_begin), pieces.start - np.minimum(end, pieces.start)
    right = np.minimum(end, cell_end) - np.maximum(begin, pieces.end), np.maximum(begin, pieces.end) - pieces.end
    for (size, near), reach in ((left, pieces.start - low), (right, high - pieces.end)):
        size = np.maximum(size, 0.0)
        far = near + size
        nearer = (far**2 - near**2) / 2 + _folded(far, reach) - _folded(near, reach)
        total += np.where(size > 0, size - nearer / (high - low), 0.0)
    return np.bincount(zone, total, len(events)).astype(np.float64)


def _folded(distance: FloatArray, reach: FloatArray) -> FloatArray:
    """Integral of min(t, reach - t) over t from 0 to ``distance``, at most ``reach``."""
    rising, rest = np.minimum(distance, reach / 2), reach - distance
    return np.where(distance <= reach / 2, rising**2 / 2, reach**2 / 4 - rest**2 / 2)
