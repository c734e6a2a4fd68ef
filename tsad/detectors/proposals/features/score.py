"""Of each candidate what score and evidence say inside it: the features of the first edition."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray
from tsad.detectors.evidence.channels import UNIT
from tsad.detectors.proposals.candidates import log_odds
from tsad.detectors.proposals.features.context import Context
from tsad.detectors.proposals.features.spans import over, over_or

ROWS = (
    "amplitude", "difference", "short_energy", "short_energy_rarity", "energy", "energy_rarity", "season_score",
    "shape_rarity", "neighbour", "neighbour_rarity", "middle_neighbour", "middle_neighbour_rarity", "short_neighbour",
    "short_neighbour_rarity", "level", "spread",
)  # fmt: skip
NAMES = ("peak", "mean", "height", "above_next", "rank", "usual", "log_length", "strength", "overlooked", *ROWS)
# Rows of evidence that came after the first edition: a row named here is a feature.
LATER: tuple[str, ...] = (
    "brief_neighbour", "brief_neighbour_rarity", "cycle", "cycle_rarity", "two_cycles", "two_cycles_rarity",
    "short_features", "short_features_rarity", "long_features", "long_features_rarity", "longest_features",
    "longest_features_rarity", "others_residual", "others_energy",
)  # fmt: skip
SURROUNDINGS = 64  # points on either side that a candidate is compared with


def score_features(context: Context) -> FloatArray:
    """[K, 25] in the order of :data:`NAMES`.

    ``peak`` and ``mean``: log odds of the highest and the mean score inside. ``height``: the peak above the series' 95%
    quantile; ``above_next``: above the highest score within 64 points outside. ``rank``: log of 1 + the number of
    candidates of the series that are as high, per 10,000 points. ``usual``: log odds of the series' mean score.
    ``overlooked``: 1 where the evidence alone made it a candidate. The rest: the largest size of evidence inside.
    """
    examined, peak, runs, total = context.examined, context.peak, context.candidates.runs, context.total
    mean = log_odds(over(examined.scores, np.add, runs) / context.size).astype(np.float64)
    sample = examined.scores[:: max(1, total // 65536)]
    usual = float(log_odds(np.array([sample.mean()]))[0])
    high = float(log_odds(np.quantile(sample, [0.95]))[0])
    order = np.sort(-peak)
    rank = np.log1p(np.searchsorted(order, -peak + 0.02) / total * 1e4)
    columns = [peak, mean, peak - high, peak - _outside(context), rank, np.full(len(peak), usual),
               np.log2(context.size), np.full(len(peak), examined.row("strength")[0]),
               (context.candidates.sources > 0).astype(float)]  # fmt: skip
    return np.stack([*columns, *rows_inside(context, ROWS).T], axis=1)


def rows_inside(context: Context, names: tuple[str, ...]) -> FloatArray:
    """The largest size of each named row of evidence inside each candidate, [K, len(names)]."""
    examined, runs = context.examined, context.candidates.runs
    columns = [over(np.abs(examined.rows[examined.place(name)]), np.maximum, runs) * UNIT for name in names]
    return np.stack(columns, axis=1) if columns else np.zeros((len(runs), 0))


def _outside(context: Context) -> FloatArray:
    """The highest log odds within 64 points on either side of each candidate, but 4 away from it."""
    height, (starts, stops) = context.height, context.candidates.runs.T
    lowest = float(height.min())
    left, right = (
        over_or(height, np.maximum, np.stack(span, axis=1), lowest)
        for span in ((starts - SURROUNDINGS, starts - 4), (stops + 4, stops + SURROUNDINGS))
    )
    return np.maximum(left, right)
