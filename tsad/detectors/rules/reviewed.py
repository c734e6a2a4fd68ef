"""The threshold that the reviewed windows ask for, drawn towards the default while they are few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from tsad.core.intervals import runs_of
from tsad.core.options import ThresholdOptions
from tsad.core.proposing import to_runs
from tsad.core.types import BoolArray, FloatArray
from tsad.detectors.rules.base import KnownScores, ThresholdRule
from tsad.metrics.interval import composite_counts, interval_counts

GRID = np.linspace(0.02, 0.98, 49)  # thresholds that are compared
RESAMPLES = 200  # bootstrap draws of the reviewed windows
WEIGHT_CAP = 10.0  # times the median weight: one rarely drawn window must not decide alone


class ReviewedOptions(ThresholdOptions):
    """What :class:`ReviewedRule` takes."""

    shrinkage: float = Field(ge=0)  # the default counts as much as this many reviewed windows


class ReviewedRule(ThresholdRule):
    """Maximises the mean of interval F1 (one-to-one) and composite F1 over the reviewed windows.

    The best point of one noisy curve swings from review to review; the mean of the best points of bootstrap
    resamples of the windows (Breiman 1996, Bagging Predictors) moves slowly. It is drawn towards the default as if
    ``shrinkage`` windows had voted for it.
    """

    options_model = ReviewedOptions
    settings: ReviewedOptions

    def choose(self, evidence: KnownScores) -> float:
        """See :meth:`ThresholdRule.choose`; the default where nothing is reviewed."""
        options, scores, truths = self.settings, evidence.scores, evidence.truths
        if len(scores) == 0:
            return options.default
        weights = np.asarray(evidence.weights, float)
        weights = np.minimum(weights, WEIGHT_CAP * float(np.median(weights)))
        if any(t.any() for t in truths):
            best = _bagged(_counts(options, scores, truths), weights)
        else:  # only false alarms can be learned: never lower the threshold on such evidence
            best = max(options.default, min(0.98, max(float(np.nanmax(s)) for s in scores) + 0.01))
        votes = float(weights.sum() ** 2 / np.square(weights).sum())  # Kish's effective number of windows
        return float((votes * best + options.shrinkage * options.default) / (votes + options.shrinkage))


def _bagged(counts: FloatArray, weights: FloatArray) -> float:
    """Mean over resamples of the threshold with the highest smoothed objective. counts [N, G, 6]."""
    draws = np.random.default_rng(0).multinomial(len(weights), np.full(len(weights), 1 / len(weights)), RESAMPLES)
    sums = np.einsum("rn,ngk->rgk", draws * weights, counts)
    curve = _objective(sums)  # [R, G]
    padded = np.pad(curve, ((0, 0), (2, 2)), mode="edge")
    smooth = np.mean([padded[:, k : k + curve.shape[1]] for k in range(5)], axis=0)
    informative = sums[:, 0, 1] > 0  # resamples that hold a true interval
    top = smooth >= smooth.max(axis=1, keepdims=True) - 1e-9  # the middle of a plateau, not its edge
    best = (top * GRID).sum(axis=1) / top.sum(axis=1)
    return float(best[informative].mean())


def _objective(sums: FloatArray) -> FloatArray:
    """Mean of interval F1 and composite F1 from summed counts. [..., 6] -> [...]."""
    matched, true, proposed, events_hit, points_hit, points = np.moveaxis(sums, -1, 0)
    interval = 2 * matched / np.maximum(true + proposed, 1e-12)
    recall = events_hit / np.maximum(true, 1e-12)
    precision = points_hit / np.maximum(points, 1e-12)
    composite = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return (interval + composite) / 2


def _counts(options: ThresholdOptions, scores: Sequence[FloatArray], truths: Sequence[BoolArray]) -> FloatArray:
    """What each window adds at each threshold, [N, G, 6]: intervals matched, true, proposed; true intervals hit,
    proposed points that are abnormal, proposed points."""
    out = np.zeros((len(scores), len(GRID), 6))
    for n, (score, truth) in enumerate(zip(scores, truths, strict=True)):
        true = runs_of(truth)
        below = np.searchsorted(np.sort(score), GRID)
        for g, threshold in enumerate(GRID):
            if g and below[g] == below[g - 1]:  # most scores are low: most thresholds change nothing
                out[n, g] = out[n, g - 1]
                continue
            runs = to_runs(score, float(threshold), options)
            matched, inside, hit = 0.0, 0.0, 0.0
            if len(true) and len(runs):
                matched = interval_counts(true, runs).tp
                inside, _, hit, _ = composite_counts(true, runs, len(truth))
            out[n, g] = (matched, len(true), len(runs), hit, inside, (runs[:, 1] - runs[:, 0]).sum())
    return out
