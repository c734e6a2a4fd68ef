"""Metrics that need no threshold: AUC-PR and VUS-PR; and oracle F1, which picks its threshold by the labels.

Several stretches of points (the windows of one series) go in as one array and their ``lengths``; nothing
reaches across their edges. ``weights`` [T] count each point that often, e.g. by inverse inclusion probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import runs_of
from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.metrics.interval import check_lengths, match, spaced
from tsad.metrics.point import scored
from tsad.metrics.vus import vus_pr

__all__ = ["auc_pr", "oracle_composite_f1", "oracle_interval_f1", "oracle_point_f1", "vus_pr"]


def _curve(truth: BoolArray, scores: FloatArray, weights: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Weight of true and of all points at or above each distinct score, from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    mass = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)[order]
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    return np.cumsum(mass * truth[order])[last], np.cumsum(mass)[last]


def auc_pr(truth: npt.ArrayLike, scores: npt.ArrayLike, weights: FloatArray | None = None) -> float:
    """Area under the precision-recall curve as average precision; NaN where nothing is true.

    Sum over distinct scores of (recall step) x (precision), no interpolation: as
    ``sklearn.metrics.average_precision_score``. truth [T] bool, scores [T].
    """
    true, values = scored(truth, scores)
    if not true.any():
        return float("nan")
    hits, called = _curve(true, values, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(called > 0, hits / called, 0.0)
    return float(np.sum(np.diff(hits, prepend=0.0) * precision) / hits[-1]) if hits[-1] > 0 else float("nan")


def oracle_point_f1(truth: npt.ArrayLike, scores: npt.ArrayLike, weights: FloatArray | None = None) -> float:
    """The best point F1 that any one threshold gives, found with the labels; NaN where nothing is true."""
    true, values = scored(truth, scores)
    if not true.any():
        return float("nan")
    hits, called = _curve(true, values, weights)
    # F1 = 2 tp / (2 tp + fp + fn) = 2 tp / (predicted + true)
    return float(np.max(2 * hits / (called + hits[-1])))


def oracle_composite_f1(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The best composite F1 that any one threshold gives, found with the labels; NaN where nothing is true.

    Exact over all distinct scores: a run is hit as soon as the threshold is at or below its highest score.
    """
    true, values = scored(truth, scores)
    if not true.any():
        return float("nan")
    hits, called = _curve(true, values, None)
    peaks = np.sort(np.maximum.reduceat(np.append(values, -np.inf), runs_of(true).ravel())[::2])
    cuts = np.unique(values)[::-1]
    recall = (len(peaks) - np.searchsorted(peaks, cuts, side="left")) / len(peaks)
    precision = hits / called
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(2 * precision * recall / (precision + recall)))


def precision_recall(
    truth: npt.ArrayLike, scores: npt.ArrayLike, weights: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Recall and precision at every distinct score, highest first, [K] each; empty where nothing is true.

    Raises:
        ValueError: unequal lengths, or scores that are not finite.
    """
    true, values = scored(truth, scores)
    if not true.any():
        return np.zeros(0), np.zeros(0)
    hits, called = _curve(true, values, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits / hits[-1], np.where(called > 0, hits / called, 0.0)


def candidate_thresholds(scores: FloatArray, count: int) -> FloatArray:
    """At most ``count`` scores to cut at: all distinct ones, or ranks in geometric steps, dense at the top."""
    distinct = np.unique(scores)[::-1]
    if len(distinct) <= count:
        return distinct
    return distinct[np.unique(np.geomspace(1, len(distinct), count).astype(np.int64) - 1)]


def oracle_interval_f1(
    truth: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    lengths: Sequence[int] | None = None,
    weights: FloatArray | None = None,
    thresholds: int = 100,
) -> float:
    """The best interval F1 over at most ``thresholds`` cuts, found with the labels; NaN where nothing is true.

    Intervals are matched one to one by any overlap (:func:`~tsad.metrics.interval.match`).
    ``weights`` must be constant within a stretch.
    """
    true, values = scored(truth, scores)
    if not true.any():
        return float("nan")
    place = spaced(check_lengths(lengths, len(true)))
    mass = np.zeros(int(place[-1]) + 1)
    mass[place] = 1.0 if weights is None else weights
    true_runs = runs_of(_on_line(true, place))
    true_mass = mass[true_runs[:, 0]]
    best = 0.0
    for cut in candidate_thresholds(values, thresholds):
        pred_runs = runs_of(_on_line(values >= cut, place))
        found = float(true_mass[match(true_runs, pred_runs) >= 0].sum())
        # F1 = 2 tp / (2 tp + fp + fn); a matched pair lies in one stretch, so both have its weight
        best = max(best, 2 * found / float(true_mass.sum() + mass[pred_runs[:, 0]].sum()))
    return best


def _on_line(mask: BoolArray, place: IntArray) -> BoolArray:
    line = np.zeros(int(place[-1]) + 1, bool)
    line[place] = mask
    return line
