"""What detectors do to values and deviations, whatever they look for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.core.types import BoolArray, FloatArray


def fill_missing(values: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Missing values of one channel filled by straight lines, edges held. [T] -> filled [T], observed [T].

    A channel without any value comes back as zeros.
    """
    observed = np.isfinite(values)
    if observed.all():
        return values, observed
    if not observed.any():
        return np.zeros(len(values)), observed
    at = np.flatnonzero(observed)
    return np.interp(np.arange(len(values)), at, values[at]), observed


def tame(values: FloatArray, like: FloatArray | None = None) -> FloatArray:
    """Values in a unit where their squares neither overflow nor vanish; scores do not depend on the unit. Any shape.

    Args:
        like: the values that the unit suits; ``None`` = these.
    """
    low, high = extent(values if like is None else like)
    peak = max(abs(low), abs(high))
    return values / peak if peak > 1e100 or 0.0 < peak < 1e-100 else values


def squash(deviation: FloatArray, half: float) -> FloatArray:
    """Deviations 0.. to scores 0..1, monotonic: ``d / (d + half)``, so ``half`` scores 0.5. Any shape."""
    return 1.0 - half / (deviation + half)  # written so that an infinite deviation scores 1


def is_constant(values: FloatArray) -> bool:
    """Whether a channel has no value, or one value only up to rounding. values [T], NaN where missing."""
    low, high = extent(values)
    return high - low <= 1e-12 * max(abs(low), abs(high))


def extent(values: FloatArray) -> tuple[float, float]:
    """Lowest and highest value, without a copy of the values; (0, 0) where all are missing. Any shape."""
    if values.size == 0:
        return 0.0, 0.0
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    return (float(low), float(high)) if np.isfinite(low) else (0.0, 0.0)


def combine_channels(channels: Sequence[FloatArray], count: int) -> FloatArray:
    """One score for the machine: the mean of the highest ``count // 8`` (at least one) channel scores, point by point.

    Below 16 channels that is the highest; the highest of many is always high somewhere.

    Args:
        channels: [T] each, those that vary; the others of ``count`` score 0.
        count: how many channels the series has.
    """
    top = max(1, count // 8)
    if len(channels) == 1:
        return channels[0] / top
    stacked = np.stack(channels)
    if len(stacked) > top:
        stacked = np.partition(stacked, len(stacked) - top, axis=0)[-top:]
    return stacked.sum(axis=0) / top
