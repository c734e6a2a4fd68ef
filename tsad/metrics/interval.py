"""Interval-wise counts: one-to-one matching by overlap or IoU, and the composite F1.

Runs are int64 [K, 2], half-open positions. Touching runs stay two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import mask_of_runs
from tsad.core.types import IntArray
from tsad.metrics.point import PRF, Counts, hit_runs, point_counts, precision_recall_f1


class CompositeCounts(NamedTuple):
    """What the composite F1 is made of: predicted points in and outside truth, true runs hit and missed."""

    tp_points: float
    fp_points: float
    hit_runs: float
    missed_runs: float


def sorted_runs(runs: npt.ArrayLike) -> IntArray:
    """The runs in order of time, [K, 2] int64.

    Raises:
        ValueError: a run is empty or two overlap (``tsad.core.intervals.merge_runs`` joins them).
    """
    pairs: IntArray = np.asarray(runs, np.int64).reshape(-1, 2)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    if np.any(pairs[:, 1] <= pairs[:, 0]) or np.any(pairs[1:, 0] < pairs[:-1, 1]):
        raise ValueError("runs must be non-empty and must not overlap; join them with merge_runs first")
    return pairs


def check_lengths(lengths: Sequence[int] | None, total: int) -> Sequence[int]:
    """The stretches' lengths, one stretch where none are given.

    Raises:
        ValueError: they do not add up to ``total`` points.
    """
    if lengths is None:
        return [total]
    if sum(lengths) != total:
        raise ValueError(f"lengths add up to {sum(lengths)}, not to the {total} points")
    return lengths


def spaced(lengths: Sequence[int], gap: int = 1) -> IntArray:
    """Positions of the points of several stretches on one line, ``gap`` free positions after each stretch.

    So many stretches can be counted at once, and no run reaches from one into the next. [sum(lengths)] int64.
    """
    total = int(np.sum(lengths, dtype=np.int64))
    return np.arange(total, dtype=np.int64) + np.repeat(np.arange(len(lengths), dtype=np.int64), lengths) * gap


def candidate_pairs(true: IntArray, pred: IntArray, iou: float) -> tuple[IntArray, IntArray]:
    """Indices (true [N], predicted [N]) of all pairs that overlap, and by IoU >= ``iou`` where that is above 0."""
    # Disjoint sorted runs: those that overlap a given run are neighbours, [first, last) in order.
    first = np.searchsorted(pred[:, 1], true[:, 0], side="right")
    last = np.searchsorted(pred[:, 0], true[:, 1], side="left")
    count = np.maximum(last - first, 0)
    a = np.repeat(np.arange(len(true)), count)
    b = np.arange(len(a)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    if iou > 0:
        shared = np.minimum(true[a, 1], pred[b, 1]) - np.maximum(true[a, 0], pred[b, 0])
        union = np.maximum(true[a, 1], pred[b, 1]) - np.minimum(true[a, 0], pred[b, 0])
        keep = shared / union >= iou
        a, b = a[keep], b[keep]
    return a, b


def match(true_runs: npt.ArrayLike, pred_runs: npt.ArrayLike, iou: float = 0.0) -> IntArray:
    """A maximum one-to-one matching of true and predicted runs that overlap.

    A predicted run that covers three true ones finds one of them; three predicted runs inside one true run are
    one find and two false alarms. So neither one long nor many short proposals pay.

    Args:
        true_runs: [K, 2].
        pred_runs: [M, 2].
        iou: 0 = any shared point; above it, intersection over union must reach this.

    Returns:
        [K] int64: index of the matched predicted run in order of time, -1 where there is none.
    """
    if not 0.0 <= iou <= 1.0:
        raise ValueError(f"iou {iou} is outside 0..1")
    true, pred = sorted_runs(true_runs), sorted_runs(pred_runs)
    matched = np.full(len(true), -1, np.int64)
    a, b = candidate_pairs(true, pred, iou)
    if len(np.unique(a)) == len(a) and len(np.unique(b)) == len(b):  # nobody competes: the usual case
        matched[a] = b
        return matched
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    graph = csr_array((np.ones(len(a), np.int8), (a, b)), shape=(len(true), len(pred)))
    matched[:] = maximum_bipartite_matching(graph, perm_type="column")
    return matched


def interval_counts(true_runs: npt.ArrayLike, pred_runs: npt.ArrayLike, iou: float = 0.0) -> Counts:
    """Matched pairs, predicted runs left over, true runs left over (see :func:`match`)."""
    matched = match(true_runs, pred_runs, iou)
    found = int(np.count_nonzero(matched >= 0))
    total = np.asarray(pred_runs).reshape(-1, 2).shape[0]
    return Counts(found, total - found, len(matched) - found)


def interval_prf(true_runs: npt.ArrayLike, pred_runs: npt.ArrayLike, iou: float = 0.0) -> PRF:
    """Interval-wise precision, recall and F1 by one-to-one matching (see :func:`match`)."""
    return precision_recall_f1(*interval_counts(true_runs, pred_runs, iou))


def composite_counts(true_runs: npt.ArrayLike, pred_runs: npt.ArrayLike, length: int) -> CompositeCounts:
    """Points predicted in and outside truth, true runs hit by at least one point and missed. Length T in points."""
    true = sorted_runs(true_runs)
    predicted = mask_of_runs(pred_runs, length)
    points = point_counts(mask_of_runs(true, length), predicted)
    hits = int(np.count_nonzero(hit_runs(true.clip(0, length), predicted)))
    return CompositeCounts(points.tp, points.fp, hits, len(true) - hits)


def composite_of(tp_points: float, fp_points: float, hits: float, missed: float) -> PRF:
    """Point-wise precision, event-wise recall and their harmonic mean; undefined parts as :class:`PRF` says."""
    precision = precision_recall_f1(tp_points, fp_points, 0).precision
    recall = precision_recall_f1(hits, 0, missed).recall
    # hits > 0 says that points were predicted inside a true run: both parts are then above 0
    return PRF(precision, recall, 2 * precision * recall / (precision + recall) if hits > 0 else 0.0)


def composite_prf(true_runs: npt.ArrayLike, pred_runs: npt.ArrayLike, length: int) -> PRF:
    """Composite F1: how many events are hit at all, against how pure the predicted points are.

    Plain overlap rewards long proposals; point-wise precision takes that back.
    Source: Garg et al. 2021, IEEE TNNLS, arXiv 2109.11428, the ``Fc1`` score.
    """
    return composite_of(*composite_counts(true_runs, pred_runs, length))
