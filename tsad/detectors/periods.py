"""How long one cycle of a series is, from its autocorrelation."""

from __future__ import annotations

import numpy as np

from tsad.core.types import FloatArray

SHORTEST, LONGEST = 8, 8192  # points: what counts as a period
UNKNOWN = 64  # points: what is taken where no period is found
BLOCK = 8 * LONGEST  # points whose spectrum is taken at once
NEAR_BEST = 0.9  # the smallest lag whose peak reaches this share of the best one: not its multiples
SAME_HILL = 1.2  # peaks up to this multiple of the smallest lag are ripples of one hill: its top counts
LEAST = 0.1  # a peak below this autocorrelation is noise
LOBE = 0.3  # lags count from where the autocorrelation has first fallen below this


def find_period(values: FloatArray) -> int:
    """Points of one cycle: the smallest lag with an autocorrelation peak at least .9 of the best, else ``UNKNOWN``.

    Lags from 8 to a third of the series, at most 8,192. Outliers are clipped at the .5% and 99.5% quantiles and what
    moves slower than a quarter of the series (or 8,192 points) is taken out first. Long series are taken in blocks of
    65,536 points whose spectra are averaged (Welch 1967), so time is linear in the length.

    Args:
        values: [T], finite.
    """
    return period_and_strength(values)[0]


def period_and_strength(values: FloatArray) -> tuple[int, float]:
    """The period as :func:`find_period` gives it, and its autocorrelation in 0..1; ``(UNKNOWN, 0)`` without one."""
    longest = min(LONGEST, len(values) // 3)
    if longest <= SHORTEST + 1:
        return UNKNOWN, 0.0
    correlation = autocorrelation(_levelled(values), longest)
    fallen = np.flatnonzero(correlation < LOBE)
    if len(fallen) == 0:  # a slow drift and nothing else
        return UNKNOWN, 0.0
    first = max(SHORTEST, int(fallen[0]))
    inner = correlation[1:-1]
    lags = np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:])) + 1
    lags = lags[(lags >= first) & (correlation[lags] >= LEAST)]
    if len(lags) == 0:
        return UNKNOWN, 0.0
    near = lags[correlation[lags] >= NEAR_BEST * correlation[lags].max()]
    near = near[near <= SAME_HILL * near[0]]
    best = near[correlation[near].argmax()]
    return int(best), float(min(1.0, correlation[best]))


def autocorrelation(values: FloatArray, longest: int) -> FloatArray:
    """Unbiased autocorrelation at the lags 0..longest, 1 at lag 0; zeros where nothing varies. values [T].

    By the Wiener-Khinchin theorem from spectra padded by ``longest`` zeros, so that no lag wraps around.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(min(len(values), BLOCK) + longest, real=True)
    total, pairs = np.zeros(longest + 1), np.zeros(longest + 1)
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        if start and len(block) <= longest:
            break  # a short rest has too few pairs at long lags
        total += irfft(np.abs(rfft(block, size)) ** 2, size)[: longest + 1]
        pairs += np.maximum(len(block) - np.arange(longest + 1), 0)
    if total[0] <= 0:
        return np.zeros(longest + 1)
    return (total / np.maximum(pairs, 1)) / (total[0] / pairs[0])


def _levelled(values: FloatArray) -> FloatArray:
    """Without outliers and the moving mean over a quarter of the series (at most 8,192 points); mean 0, deviation 1."""
    from scipy.ndimage import uniform_filter1d

    clipped = np.clip(values, *np.quantile(values, [0.005, 0.995]))
    if clipped.min() == clipped.max():  # nothing but a few spikes
        clipped = values
    rest = clipped - uniform_filter1d(clipped, min(len(values) // 4, LONGEST) | 1, mode="reflect")
    rest -= rest.mean()
    deviation = float(rest.std())
    return rest / deviation if deviation > 1e-9 * float(np.abs(clipped).max()) else np.zeros(len(rest))
