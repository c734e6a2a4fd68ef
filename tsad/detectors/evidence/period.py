"""The period of a series, from its autocorrelation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tsad.core.types import FloatArray
from tsad.detectors.evidence.ranks import Floats

LONGEST = 8192  # points: no longer period is looked for
SHORTEST = 8
NO_PERIOD = 64.0  # what stands for the period of a series that has none
BLOCK = 1 << 16  # points per spectrum of a long series
NEAR_BEST = 0.9  # the smallest lag within this share of the best peak: multiples of a period correlate as well
WEAKEST = 0.1


class Period(NamedTuple):
    """``points`` per cycle and ``strength``, the autocorrelation there, 0..1; (64, 0) where nothing recurs."""

    points: float
    strength: float


def find_period(values: Floats) -> Period:
    """The smallest lag whose autocorrelation peak reaches 0.9 of the best peak, refined by a parabola.

    values: [T], finite. Linear in T for long series: spectra of blocks of 65,536 points are added up (Bartlett 1948).
    The series is clipped at its 0.5% and 99.5% quantiles and loses its slow trend first.
    """
    total = len(values)
    highest = min(total // 3, LONGEST)
    if highest <= SHORTEST + 2:
        return Period(NO_PERIOD, 0.0)
    correlation = _autocorrelation(_detrended(values, highest), highest)
    if correlation is None:
        return Period(NO_PERIOD, 0.0)
    below = np.flatnonzero(correlation < 0.3)  # beyond the lobe around lag 0
    start = max(SHORTEST, int(below[0]) if len(below) else SHORTEST)
    tail = correlation[start:]
    peaks = np.flatnonzero((tail[1:-1] > tail[:-2]) & (tail[1:-1] >= tail[2:])) + 1 if len(tail) > 2 else below[:0]
    if len(peaks) == 0 or tail[peaks].max() < WEAKEST:
        return Period(NO_PERIOD, 0.0)
    best = int(peaks[tail[peaks] >= NEAR_BEST * tail[peaks].max()][0]) + start
    left, middle, right = (float(v) for v in correlation[best - 1 : best + 2])
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if abs(bend) > 1e-12 else 0.0
    return Period(best + shift, float(np.clip(middle, 0.0, 1.0)))


def _detrended(values: Floats, highest: int) -> Floats:
    sample = values[:: max(1, len(values) // 65536)]
    low, high = np.quantile(sample, (0.005, 0.995))
    clipped = np.clip(values, low, high) if high > low else values.copy()
    clipped = clipped - clipped.mean()
    width = min(len(values) // 2, highest) | 1  # periods up to this are left alone
    total = np.cumsum(np.pad(clipped, (width // 2 + 1, width // 2), mode="reflect"), dtype=np.float64)
    slow = (total[width:] - total[:-width]) / width
    return np.asarray(clipped - slow[: len(clipped)], np.float32)


def _autocorrelation(values: Floats, highest: int) -> FloatArray | None:
    """Lags 0..highest, 1 at lag 0; ``None`` where nothing varies."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = min(len(values), max(BLOCK, 4 * highest))
    padded = next_fast_len(size + highest, real=True)
    power, pairs = np.zeros(padded // 2 + 1), np.zeros(highest + 1)
    lags = np.arange(highest + 1)
    for start in range(0, len(values), size):
        block = values[start : start + size]
        if start and len(block) <= 2 * highest:
            break
        power += np.abs(rfft(block, padded)) ** 2
        pairs += np.maximum(len(block) - lags, 0)
    sums = irfft(power, padded)[: highest + 1]
    if sums[0] <= 1e-9:
        return None
    return np.asarray(sums / sums[0] * (pairs[0] / pairs), np.float64)
