"""TSB-AD's rule for how wide VUS-PR's flanks get: the period of the series, from its autocorrelation."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tsad.core.types import FloatArray

FALLBACK = 125  # points, where no period is clear
_POINTS, _LAGS, _FIRST, _LONGEST = 20_000, 400, 3, 300


def period_rule(values: FloatArray, version: Literal["published", "corrected"] = "published") -> int:
    """Widest buffer of VUS-PR for a series, in points: the lag of the highest peak of its autocorrelation.

    Equal to ``find_length_rank(values, rank=1)`` in ``TSB_AD/utils/slidingWindows.py`` of TSB-AD (Liu and Paparrizos
    2024), told in our own words. There are two versions. ``published`` is that of the benchmark's tables, up to pull
    request 51 (February 2026): a peak below lag 6 or above 303 counts as none. Since then (``corrected``) lags from 4
    to 300 count. So a series whose highest peak lies at 4 or 5 has buffers of up to 125 points in one version and of
    up to 4 or 5 in the other.

    Args:
        values: [T] of the first channel, finite; the first 20,000 points are looked at.
    """
    values = values[:_POINTS] - values[:_POINTS].mean()
    total = len(values)
    size = 1 << (2 * total - 1).bit_length()
    power = np.abs(np.fft.rfft(values, size)) ** 2
    products = np.fft.irfft(power, size)[: min(_LAGS, total - 1) + 1]
    if not products[0] > 0:
        return FALLBACK
    correlation = products[_FIRST:] / products[0]
    peaks = np.flatnonzero((correlation[1:-1] > correlation[:-2]) & (correlation[1:-1] > correlation[2:])) + 1
    if not len(peaks):
        return FALLBACK
    best = int(peaks[np.argmax(correlation[peaks])])
    kept = 3 <= best <= _LONGEST if version == "published" else best + _FIRST <= _LONGEST
    return best + _FIRST if kept else FALLBACK
