"""Where a candidate stands among those of its series."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray, IntArray
from tsad.detectors.proposals.features import score
from tsad.detectors.proposals.features.context import Context

ORDERED = ("peak", "mean", "above_next", "amplitude", "short_energy", "energy", "season_score", "neighbour",
           "middle_neighbour", "short_neighbour", "difference", "level", "spread")  # fmt: skip
NAMES = ("standing", "below_highest", "above_others", *(f"{name}_order" for name in ORDERED), "log_candidates",
         "density", "high_density", "log_points", "to_next_high")  # fmt: skip
SURE = 1.5  # log odds of a high candidate


def order_features(context: Context, scored: FloatArray) -> FloatArray:
    """[K, 21] in the order of :data:`NAMES`. scored: what :func:`score.score_features` gave, [K, 25].

    ``standing``: the peak above the median of the series' peaks, in their deviations; ``below_highest``: above the
    highest; ``above_others``: above the highest other. ``*_order``: log of 1 + how many candidates have more of it.
    Numbers of candidates, those with log odds above 0 and above 1.5 per 10,000 points, points; ``to_next_high``: log2
    of the points to the nearest other candidate whose peak is at most 1 lower.
    """
    peak, total, count = context.peak, context.total, len(context.candidates)
    columns = [(peak - np.median(peak)) / (peak.std() + 0.5), peak - peak.max(), peak - _highest_other(peak)]
    for name in ORDERED:
        figures = scored[:, score.NAMES.index(name)]
        columns.append(np.log1p(count - np.searchsorted(np.sort(figures), figures + 1e-9, side="right")))
    whole = (np.log(count + 1), np.log1p((peak > 0).sum() / total * 1e4), np.log1p((peak > SURE).sum() / total * 1e4),
             np.log2(total))  # fmt: skip
    columns += [np.full(count, figure) for figure in whole]
    columns.append(np.log2(np.maximum(_to_next_high(context.candidates.runs.mean(axis=1), peak, total), 1)))
    return np.stack(columns, axis=1)


def _highest_other(peak: FloatArray) -> FloatArray:
    """The highest of the other peaks; of a single one its own. [K]."""
    if len(peak) < 2:
        return peak
    second, first = np.partition(peak, len(peak) - 2)[-2:]
    lonely = (peak == first) & ((peak == first).sum() == 1)
    return np.where(lonely, second, first)


def _to_next_high(middle: FloatArray, peak: FloatArray, total: int) -> FloatArray:
    """Points to the middle of the nearest other candidate whose peak reaches ``peak - 1``; ``total`` without. [K]."""
    behind = _first_high(peak)
    ahead = len(peak) - 1 - _first_high(peak[::-1])[::-1]
    padded = np.append(middle, np.inf)
    apart = np.minimum(np.abs(padded[behind] - middle), np.abs(padded[np.where(ahead < 0, -1, ahead)] - middle))
    return np.minimum(apart, total)


def _first_high(peak: FloatArray) -> IntArray:
    """Number of the next candidate to the right whose peak reaches ``peak - 1``; K without. By doubling. [K]."""
    count = len(peak)
    tables = [peak]  # the highest of 2^n peaks from each on
    while 2 ** len(tables) <= count:
        last, reach = tables[-1], 2 ** (len(tables) - 1)
        tables.append(np.maximum(last[:-reach], last[reach:]))
    at: IntArray = np.arange(1, count + 1)
    for power in range(len(tables) - 1, -1, -1):
        table, reach = tables[power], 2**power
        whole = at + reach <= count
        skip = whole & (table[np.minimum(at, len(table) - 1)] < peak - 1)
        at = np.where(skip, at + reach, at)
    return np.minimum(at, count)
