"""Every figure of one series: what a leaderboard says of a detector on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import mask_of_runs, runs_of
from tsad.core.types import FloatArray, IntArray
from tsad.metrics.affiliation import affiliation_prf
from tsad.metrics.interval import composite_prf, interval_prf
from tsad.metrics.point import point_prf, scored
from tsad.metrics.ranking import auc_pr, oracle_composite_f1, oracle_interval_f1, oracle_point_f1, vus_pr

FIGURES = (
    "vus_pr", "auc_pr", "point_f1", "interval_f1", "composite_f1", "affiliation_f1", "rotated_interval_f1",
    "rotated_composite_f1", "oracle_point_f1", "oracle_interval_f1", "oracle_composite_f1",
)  # fmt: skip


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
    rng = np.random.default_rng(seed)
    turned = [runs_of(np.roll(true, int(rng.integers(1, max(2, total))))) for _ in range(rotations)]
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
