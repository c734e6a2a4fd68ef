"""Every figure of one series: what a leaderboard says of a detector on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import mask_of_runs, runs_of
from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.metrics.affiliation import affiliation_prf
from tsad.metrics.interval import composite_counts, composite_of, composite_prf, interval_counts, interval_prf
from tsad.metrics.point import point_prf, precision_recall_f1, scored
from tsad.metrics.ranking import auc_pr, oracle_composite_f1, oracle_interval_f1, oracle_point_f1, vus_pr

FIGURES = (
    "vus_pr", "auc_pr", "point_f1", "interval_f1", "composite_f1", "affiliation_f1", "rotated_interval_f1",
    "rotated_composite_f1", "oracle_point_f1", "oracle_interval_f1", "oracle_composite_f1",
)  # fmt: skip
COUNTS = ("matched", "proposed_alone", "true_alone", "points_inside", "points_outside", "events_hit", "events_missed")
POOLED = ("interval_f1", "composite_f1", "rotated_interval_f1", "rotated_composite_f1")


def series_figures(
    truth: npt.ArrayLike, scores: FloatArray, predicted: IntArray, *, vus_step: int, rotations: int, seed: int
) -> dict[str, float]:
    """FIGURES of one series that holds an anomaly, by name.

    ``rotated_*`` is the mean over ``rotations`` circular shifts of the truth by a random number of points: what the
    proposals get by chance. ``oracle_*`` takes the one threshold that is best by the labels.

    Args:
        truth: [T] bool.
        scores: [T], finite.
        predicted: proposed intervals as positions, [K, 2], disjoint.
        vus_step: every how many-th buffer of VUS-PR is taken; 1 = all.

    Raises:
        ValueError: lengths that differ, or a score that is not finite.
    """
    true, values = scored(truth, scores)
    runs, total = runs_of(true), len(true)
    turned = _turned(true, rotations, seed)
    return {
        "vus_pr": vus_pr(true, values, step=vus_step),
        "auc_pr": auc_pr(true, values),
        "point_f1": point_prf(true, mask_of_runs(predicted, total)).f1,
        "interval_f1": interval_prf(runs, predicted).f1,
        "composite_f1": composite_prf(runs, predicted, total).f1,
        "affiliation_f1": affiliation_prf(runs, predicted, total).f1,
        "rotated_interval_f1": float(np.mean([interval_prf(r, predicted).f1 for r in turned])),
        "rotated_composite_f1": float(np.mean([composite_prf(r, predicted, total).f1 for r in turned])),
        "oracle_point_f1": oracle_point_f1(true, values),
        "oracle_interval_f1": oracle_interval_f1(true, values),
        "oracle_composite_f1": oracle_composite_f1(true, values),
    }


def series_counts(truth: npt.ArrayLike, predicted: IntArray, *, rotations: int, seed: int) -> dict[str, float]:
    """COUNTS of one series, and ``rotated_<count>``, the mean over the same turns as in :func:`series_figures`.

    Args:
        truth: [T] bool; nothing true is allowed.
        predicted: proposed intervals as positions, [K, 2], disjoint.
    """
    true = np.asarray(truth, bool)
    own = counts_of(runs_of(true), predicted, len(true))
    chance = [counts_of(runs, predicted, len(true)) for runs in _turned(true, rotations, seed)]
    turned = np.mean(chance, axis=0) if chance else np.zeros(len(COUNTS))
    rotated = {f"rotated_{name}": float(v) for name, v in zip(COUNTS, turned, strict=True)}
    return {name: float(v) for name, v in zip(COUNTS, own, strict=True)} | rotated


def counts_of(true: IntArray, predicted: IntArray, length: int) -> FloatArray:
    """COUNTS of proposed against true runs, [7]."""
    counts = (*interval_counts(true, predicted), *composite_counts(true, predicted, length))
    return np.asarray(counts, np.float64)


def pooled_figures(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """POOLED figures of the summed counts of several series: a long series with many events counts for more."""
    found: dict[str, float] = {}
    for before in ("", "rotated_"):
        interval, composite = f1_of(np.array([[row[before + name] for name in COUNTS] for row in rows]).sum(axis=0))
        found |= {f"{before}interval_f1": interval, f"{before}composite_f1": composite}
    return found


def f1_of(counts: FloatArray) -> tuple[float, float]:
    """Interval F1 and composite F1 of (summed) COUNTS, [7]."""
    return precision_recall_f1(*counts[:3]).f1, composite_of(*counts[3:]).f1


def _turned(true: BoolArray, rotations: int, seed: int) -> list[IntArray]:
    """Runs of the truth, shifted in a circle by random numbers of points."""
    rng = np.random.default_rng(seed)
    return [runs_of(np.roll(true, int(rng.integers(1, max(2, len(true)))))) for _ in range(rotations)]
