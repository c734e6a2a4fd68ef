"""Point-wise counts, precision, recall and F1, plain and point-adjusted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import runs_of
from tsad.core.types import BoolArray, FloatArray, IntArray


class Counts(NamedTuple):
    """True positives, false positives, false negatives; floats where they are weighted sums."""

    tp: float
    fp: float
    fn: float


class PRF(NamedTuple):
    """Precision, recall and F1, each in 0..1.

    Precision is NaN where nothing was predicted, recall is NaN where nothing is true. F1 is always a number:
    0.0 where there is no true positive, also where nothing is true and nothing was predicted.
    """

    precision: float
    recall: float
    f1: float


def precision_recall_f1(tp: float, fp: float, fn: float) -> PRF:
    """tp / (tp + fp), tp / (tp + fn) and 2 tp / (2 tp + fp + fn); undefined parts as :class:`PRF` says."""
    precision = tp / (tp + fp) if tp + fp > 0 else float("nan")
    recall = tp / (tp + fn) if tp + fn > 0 else float("nan")
    return PRF(float(precision), float(recall), float(2 * tp / (2 * tp + fp + fn)) if tp > 0 else 0.0)


def same_masks(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[BoolArray, BoolArray]:
    """Both as bool [T].

    Raises:
        ValueError: they are not one-dimensional or differ in length.
    """
    a, b = np.asarray(truth, dtype=bool), np.asarray(predicted, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"truth {a.shape} and prediction {b.shape} must be one-dimensional and of equal length")
    return a, b


def scored(truth: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    """Truth as bool [T] and scores as float64 [T].

    Raises:
        ValueError: unequal shapes, or a score that is NaN or infinite.
    """
    values = np.asarray(scores, np.float64)
    true, _ = same_masks(truth, np.zeros(values.shape, bool))
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise ValueError(f"{bad} of {len(values)} scores are NaN or infinite; give missing points a score of 0")
    return true, values


def point_counts(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Counts:
    """Points that are both, only predicted, only true. truth, predicted [T] bool."""
    true, pred = same_masks(truth, predicted)
    both = int(np.count_nonzero(true & pred))
    return Counts(both, int(np.count_nonzero(pred)) - both, int(np.count_nonzero(true)) - both)


def point_prf(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> PRF:
    """Point-wise precision, recall and F1. truth, predicted [T] bool."""
    return precision_recall_f1(*point_counts(truth, predicted))


def hit_runs(true_runs: IntArray, predicted: BoolArray) -> BoolArray:
    """Which runs contain at least one predicted point. runs [K, 2], predicted [T] -> [K] bool."""
    before = np.concatenate(([0], np.cumsum(predicted)))
    return before[true_runs[:, 1]] > before[true_runs[:, 0]]


def pa_point_counts(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> Counts:
    """Point counts after point adjustment: one predicted point inside a true run counts as the whole run.

    It flatters: long runs are found by chance. Hence the prefix ``pa_`` wherever it is shown.
    Source: Xu et al. 2018, arXiv 1802.03903, section 4.2; criticism in Kim et al. 2022, arXiv 2109.05257.
    """
    true, pred = same_masks(truth, predicted)
    runs = runs_of(true)
    lengths, hit = runs[:, 1] - runs[:, 0], hit_runs(runs, pred)
    return Counts(int(lengths[hit].sum()), int(np.count_nonzero(pred & ~true)), int(lengths[~hit].sum()))


def pa_point_prf(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> PRF:
    """Point-adjusted precision, recall and F1 (see :func:`pa_point_counts`)."""
    return precision_recall_f1(*pa_point_counts(truth, predicted))
