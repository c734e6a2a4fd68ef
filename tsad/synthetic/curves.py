"""Building blocks of synthetic series, vectorised over rows: slow curves, cycle templates, noise.

Every function takes the random generator first and draws nothing else, so a seed fixes the result.
Rows are series; ``n`` rows of ``length`` points are an array [n, length] of float64.
"""

from __future__ import annotations

import numpy as np

from tsad.core.types import BoolArray, FloatArray
from tsad.synthetic.filters import lfilter

TEMPLATE_POINTS = 128
AR_COEFFICIENTS = (0.3, 0.6, 0.8, 0.9, 0.95)


def log_uniform(rng: np.random.Generator, low: float, high: float, n: int) -> FloatArray:
    """[n] values between ``low`` and ``high``, every order of magnitude equally likely."""
    return np.exp(rng.uniform(np.log(low), np.log(high), n))


def pick(rng: np.random.Generator, n: int, share: float) -> BoolArray:
    """[n] bool: which rows get an optional trait that a share of all series has."""
    return rng.random(n) < share


def standardise(rows: FloatArray) -> FloatArray:
    """Rows [n, m] with mean 0 and standard deviation 1 (a constant row becomes zeros)."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    return centred / (centred.std(axis=1, keepdims=True) + 1e-9)


def lookup(table: FloatArray, position: FloatArray) -> FloatArray:
    """Linear interpolation in each row's own table: table [n, m], position [n, L] in 0..m-1 -> [n, L]."""
    n, m = table.shape
    whole = np.minimum(position.astype(np.int32), m - 2)
    part = position - whole
    whole += np.arange(n, dtype=np.int32)[:, None] * m
    flat = table.ravel()
    low = flat[whole]
    whole += 1
    return low + part * (flat[whole] - low)


def wander(rng: np.random.Generator, n: int, length: int, low: float, high: float) -> FloatArray:
    """[n, length] slow random curves of about unit variance, with ``low``..``high`` knots each."""
    knots = rng.uniform(low, high, n)
    table = rng.standard_normal((n, int(np.ceil(high)) + 2))
    return lookup(table, np.linspace(0, 1, length)[None, :] * knots[:, None])


def templates(rng: np.random.Generator, n: int) -> FloatArray:
    """[n, 129] one standardised cycle per row, first point repeated at the end so that it closes.

    Six sorts: sine, random harmonics, duty cycle, asymmetric triangle, pulses, random knots.
    """
    t = np.arange(TEMPLATE_POINTS) / TEMPLATE_POINTS
    sort = rng.integers(0, 6, n)
    rows = np.sin(2 * np.pi * (t + rng.random((n, 1))))
    makers = (_harmonics, _duty, _triangle, _pulses, _knots)
    for number, maker in enumerate(makers, start=1):
        chosen = np.flatnonzero(sort == number)
        if len(chosen):
            rows[chosen] = maker(rng, len(chosen), t)
    rows = standardise(rows)
    return np.concatenate((rows, rows[:, :1]), axis=1)


def _harmonics(rng: np.random.Generator, n: int, t: FloatArray) -> FloatArray:
    order = np.arange(1, 7)
    height = rng.standard_normal((n, 6)) / order ** rng.uniform(0.7, 1.5, (n, 1))
    height[order > rng.integers(2, 7, (n, 1))] = 0
    angle = 2 * np.pi * (order[:, None] * t + rng.random((n, 6, 1)))
    return (height[:, :, None] * np.sin(angle)).sum(axis=1)


def _duty(rng: np.random.Generator, n: int, t: FloatArray) -> FloatArray:
    return (t < rng.uniform(0.1, 0.9, (n, 1))).astype(float)


def _triangle(rng: np.random.Generator, n: int, t: FloatArray) -> FloatArray:
    peak = rng.uniform(0.05, 0.95, (n, 1))
    return np.where(t < peak, t / peak, (1 - t) / (1 - peak))


def _pulses(rng: np.random.Generator, n: int, t: FloatArray) -> FloatArray:
    height = rng.standard_normal((n, 3))
    height += np.sign(height)
    height[:, 1:][rng.random((n, 2)) < 0.5] = 0
    away = np.abs(t - rng.random((n, 3, 1)))
    away = np.minimum(away, 1 - away)
    return (height[:, :, None] * np.exp(-0.5 * (away / rng.uniform(0.01, 0.08, (n, 3, 1))) ** 2)).sum(axis=1)


def _knots(rng: np.random.Generator, n: int, t: FloatArray) -> FloatArray:
    count = rng.integers(4, 14, n)
    table = rng.standard_normal((n, 15))
    table[np.arange(n), count] = table[:, 0]
    return lookup(table, t[None, :] * count[:, None])


def noise(rng: np.random.Generator, n: int, length: int) -> FloatArray:
    """[n, length] noise of about unit variance: white, AR(1), MA(1), heavy-tailed or skewed, per row."""
    rows = rng.standard_normal((n, length))
    sort = rng.choice(6, n, p=(0.22, 0.18, 0.18, 0.1, 0.16, 0.16))
    for number in (1, 2):
        # One filter call per coefficient: rows share it, so there is no loop over rows.
        which = rng.integers(0, len(AR_COEFFICIENTS), n)
        for index, phi in enumerate(AR_COEFFICIENTS):
            chosen = np.flatnonzero((sort == number) & (which == index))
            if len(chosen):
                rows[chosen] = autoregressive(rng, rows[chosen], phi)
    chosen = np.flatnonzero(sort == 3)
    theta = rng.uniform(-0.8, 0.8, (len(chosen), 1))
    white = rows[chosen]
    white[:, 1:] += theta * white[:, :-1].copy()
    rows[chosen] = white / np.sqrt(1 + theta**2)
    chosen = np.flatnonzero(sort == 4)
    freedom = rng.uniform(2.5, 6, (len(chosen), 1))
    rows[chosen] = 0.6 * rng.standard_t(freedom, (len(chosen), length))
    chosen = np.flatnonzero(sort == 5)
    shape = rng.uniform(0.6, 3, (len(chosen), 1))
    rows[chosen] = (rng.standard_gamma(shape, (len(chosen), length)) - shape) / np.sqrt(shape)
    return rows


def autoregressive(rng: np.random.Generator, white: FloatArray, phi: float) -> FloatArray:
    """White noise [n, L] to stationary AR(1) noise of unit variance with coefficient ``phi``."""
    start = phi * rng.standard_normal((len(white), 1))  # the filter starts in its stationary state
    filtered, _ = lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], white, axis=1, zi=start)
    return filtered
