"""Whether the same comes back: a period later, or at the same hour of other days."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray
from tsad.detectors.proposals.features.context import Context
from tsad.detectors.proposals.features.spans import over_or

NAMES = (*(f"{what}_a_{lag}_away" for lag in ("period", "day") for what in ("mean", "highest", "above", "known")),
         "same_hour")  # fmt: skip
AWAY = (-3, -2, -1, 1, 2, 3)
TOLERANCES = (4, 8, 16, 32, 64)  # points on either side that are looked at; the nearest to half the candidate's length
SHORTEST = 8  # points: no shorter lag tells apart
NOTHING = -2.5  # log odds that stand for what is not known
HALF_HOUR = 1 / 48  # of a day
BLOCK = 1024


def recurrence_features(context: Context) -> FloatArray:
    """[K, 9] in the order of :data:`NAMES`.

    Of the highest log odds one to three periods (days) before and after: mean, highest, the peak above the highest, and
    whether there is any such lag. ``same_hour``: candidates within half an hour of the same time of other days, at most
    1 lower, per day.
    """
    period, strength = context.period.T
    columns = []
    for lags in (np.where(strength > 0, period, 0.0), np.full(len(period), context.day)):
        mean, highest = _away(context, lags)
        columns += [mean, highest, context.peak - highest, (lags > SHORTEST).astype(float)]
    return np.stack([*columns, _same_hour(context)], axis=1)


def _away(context: Context, lags: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and highest log odds at the same phase, one to three lags away. [K], [K]."""
    tolerances, half = np.array(TOLERANCES), np.clip(context.size // 2, 3, TOLERANCES[-1])
    width = tolerances[np.abs(half[:, None] - tolerances).argmin(axis=1)]
    heights = np.full((len(lags), len(AWAY)), np.nan)
    for column, away in enumerate(AWAY):
        at = np.floor(context.candidates.peaks + away * lags).astype(np.int64)
        inside = (lags > SHORTEST) & (at >= 0) & (at < context.total)
        span = np.stack((at - width, at + width + 1), axis=1)
        heights[inside, column] = over_or(context.height, np.maximum, span[inside], np.nan)
    known = ~np.isnan(heights)
    count = known.sum(axis=1)
    mean = np.where(known, heights, 0.0).sum(axis=1) / np.maximum(count, 1)
    highest = np.where(known, heights, -np.inf).max(axis=1)
    return np.where(count > 0, mean, NOTHING), np.where(count > 0, highest, NOTHING)


def _same_hour(context: Context) -> FloatArray:
    """Candidates at most 1 lower at the same hour of other days, per day; 0 where there is no day. [K]."""
    out = np.zeros(len(context.candidates))
    if not context.day:
        return out
    peaks, peak, others = context.candidates.peaks, context.peak, context.references
    share = len(peaks) / max(len(others), 1)
    for start in range(0, len(peaks), BLOCK):
        part = slice(start, start + BLOCK)
        apart = (peaks[part, None] - peaks[others]) / context.day
        same = np.abs((apart + 0.5) % 1 - 0.5) < HALF_HOUR
        as_high = peak[others] > peak[part, None] - 1
        out[part] = (same & as_high & (np.abs(apart) > 0.5)).sum(axis=1) * share
    return out / (context.total / context.day)
