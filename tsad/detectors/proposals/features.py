"""What the calibrator knows of a candidate: figures that mean the same in every series and for every detector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsad.core.types import FloatArray
from tsad.detectors.evidence.channels import INDEX, UNIT
from tsad.detectors.evidence.examined import Examined
from tsad.detectors.proposals.candidates import Candidates, log_odds

HIGHEST = (
    "amplitude", "difference", "short_energy", "short_energy_rarity", "energy", "energy_rarity", "season_score",
    "shape_rarity", "neighbour", "neighbour_rarity", "middle_neighbour", "middle_neighbour_rarity", "short_neighbour",
    "short_neighbour_rarity", "level", "spread",
)  # fmt: skip
FEATURES = ("peak", "mean", "height", "above_next", "rank", "usual", "log_length", "strength", "overlooked", *HIGHEST)
SURROUNDINGS = 64  # points on either side that a candidate is compared with


def features_of(examined: Examined, candidates: Candidates) -> FloatArray:
    """[K, len(FEATURES)] float64, in the order of :data:`FEATURES`.

    ``peak`` and ``mean``: log odds of the highest and the mean score inside. ``height``: the peak above the series' 95%
    quantile; ``above_next``: above the highest score within 64 points outside. ``rank``: log of 1 + the number of
    candidates of the series that are as high, per 10,000 points. ``usual``: log odds of the series' mean score.
    ``overlooked``: 1 where the evidence alone made it a candidate. The rest: the largest size of evidence inside.
    """
    if len(candidates) == 0:
        return np.zeros((0, len(FEATURES)))
    total = len(examined.scores)
    flat = candidates.runs.ravel()

    def over(row: npt.NDArray[np.generic], function: np.ufunc) -> FloatArray:
        padded = np.append(row, row[-1:])
        return np.asarray(function.reduceat(padded, flat)[::2], np.float64)

    height = log_odds(examined.scores)
    peak = over(height, np.maximum)
    size = (candidates.runs[:, 1] - candidates.runs[:, 0]).astype(np.float64)
    mean = log_odds(over(examined.scores, np.add) / size).astype(np.float64)
    sample = examined.scores[:: max(1, total // 65536)]
    usual = float(log_odds(np.array([sample.mean()]))[0])
    high = float(log_odds(np.quantile(sample, [0.95]))[0])
    order = np.sort(-peak)
    rank = np.log1p(np.searchsorted(order, -peak + 0.02) / total * 1e4)
    columns = [peak, mean, peak - high, peak - _outside(height, candidates), rank, np.full(len(peak), usual),
               np.log2(size), np.full(len(peak), examined.row("strength")[0]), (candidates.sources > 0).astype(float)]
    for name in HIGHEST:
        columns.append(over(np.abs(examined.rows[INDEX[name]]), np.maximum) * UNIT)
    return np.stack(columns, axis=1)


def _outside(height: npt.NDArray[np.float32], candidates: Candidates) -> FloatArray:
    """The highest log odds within 64 points on either side of each candidate, but 4 away from it."""
    out = np.empty(len(candidates))
    lowest = float(height.min())
    for k, (start, stop) in enumerate(candidates.runs):
        left, right = height[max(0, start - SURROUNDINGS) : max(0, start - 4)], height[stop + 4 : stop + SURROUNDINGS]
        out[k] = max(left.max() if len(left) else lowest, right.max() if len(right) else lowest)
    return out
