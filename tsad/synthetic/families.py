"""The families of normal behaviour, how often each occurs, and batches of base series drawn from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tsad.core.types import FloatArray, IntArray
from tsad.synthetic import habits, series
from tsad.synthetic.curves import log_uniform, noise, pick, wander
from tsad.synthetic.series import Base

Family = Callable[[np.random.Generator, Base, IntArray, FloatArray], None]

# name -> (share, function that fills its rows of signal, period and life, and may set the rows' noise scale)
FAMILIES: dict[str, tuple[float, Family]] = {
    "seasonal": (0.22, series.seasonal),
    "quasi-periodic": (0.2, series.quasi),
    "counts": (0.15, series.counts),
    "level": (0.06, series.level),
    "walk": (0.05, series.walk),
    "bursts": (0.05, series.occasional),
    "machine": (0.04, series.machine),
    "counter": (0.03, series.counter),
    "peaks": (0.08, habits.peaks),
    "loose": (0.06, habits.loose),
    "workdays": (0.06, habits.workdays),
    "sparse": (0.03, habits.sparse),
}


def base_batch(rng: np.random.Generator, count: int, length: int) -> Base:
    """``count`` base series of ``length`` points (at least 64), each of a family drawn by :data:`FAMILIES`."""
    names = list(FAMILIES)
    shares = np.array([FAMILIES[name][0] for name in names])
    family = rng.choice(len(names), count, p=shares / shares.sum())
    scale = log_uniform(rng, 0.01, 0.6, count)
    nothing = np.empty(0, np.int64)
    base = Base(np.zeros((count, length)), noise(rng, count, length), np.zeros(count), [nothing] * count,
                ["free"] * count)
    for number, name in enumerate(names):
        rows = np.flatnonzero(family == number)
        if len(rows):
            FAMILIES[name][1](rng, base, rows, scale)
    brief = np.array([life == "brief" for life in base.life])
    still = ~base.noise.any(axis=1)  # whole numbers stay whole
    trend = np.flatnonzero(pick(rng, count, 0.34) & ~brief & ~still)
    base.signal[trend] += _trends(rng, len(trend), length)
    base.noise *= scale[:, None]
    uneven = np.flatnonzero((pick(rng, count, 0.25) | brief & pick(rng, count, 0.6)) & ~still)
    base.noise[uneven] *= _loudness(rng, base.signal[uneven])
    habits.hold(rng, base)
    habits.litter(rng, base)
    return base


def _trends(rng: np.random.Generator, n: int, length: int) -> FloatArray:
    """[n, length] straight, bent or wandering trends."""
    t = np.linspace(-0.5, 0.5, length)
    sort = rng.integers(0, 3, (n, 1))
    slope = rng.uniform(-3, 3, (n, 1))
    curved = np.where(sort == 1, 4 * t**2, wander(rng, n, length, 2, 6) / 2)
    return slope * np.where(sort == 0, t, curved)


def _loudness(rng: np.random.Generator, signal: FloatArray) -> FloatArray:
    """[n, L] factor by which noise grows with the level of the signal, or comes and goes by itself."""
    n, length = signal.shape
    above = signal - signal.min(axis=1, keepdims=True)
    level = (0.2 + above / (above.mean(axis=1, keepdims=True) + 1e-9)) / 1.2
    level **= rng.choice((0.5, 1.0), (n, 1))
    alone = np.exp(0.6 * wander(rng, n, length, 2, 10))
    flat = above.max(axis=1, keepdims=True) < 1e-9
    return np.where(flat | pick(rng, n, 0.3)[:, None], alone, level)
