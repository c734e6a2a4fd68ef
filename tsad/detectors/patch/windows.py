"""From series to the network's windows and back: scales, surroundings, padding.

Scoring, training and pre-training all cut and normalise here, so that a window looks the same to the network in
each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray, FloatArray
from tsad.core.windows import window_starts
from tsad.detectors.base import fill_missing

BLOCK = 1 << 16  # shrunk points made at once


@dataclass(frozen=True, eq=False)
class Piece:
    """One network window, padded to the network's length.

    Attributes:
        start: position of its first point in the (shrunk) channel.
        size: points before the padding.
        values: [L] float32, in deviations of the surroundings from their median.
        observed: [L] bool; false where filled in or padded.
    """

    start: int
    size: int
    values: npt.NDArray[np.float32]
    observed: BoolArray


def scale_weight(scale: int) -> float:
    """What a scale counts in scores, and how often it is drawn for training: the coarser, the less."""
    return scale**-0.5


def shrink(values: FloatArray, scale: int) -> FloatArray:
    """Every ``scale`` points of a channel as one: half their mean, half the one farthest from it. [T] -> [ceil(T / k)].

    Keeping part of the extreme lets a short spike survive. Missing where all of them are missing.
    """
    if scale == 1:
        return values
    step = BLOCK * scale  # block by block: a long series must not be copied five times over
    return np.concatenate([_shrink(values[k : k + step], scale) for k in range(0, len(values), step)])


def _shrink(values: FloatArray, scale: int) -> FloatArray:
    padded = np.concatenate((values, np.full(-len(values) % scale, np.nan))).reshape(-1, scale)
    seen = np.isfinite(padded)
    count = seen.sum(axis=1)
    mean = np.where(seen, padded, 0.0).sum(axis=1) / np.maximum(count, 1)
    away = np.where(seen, np.abs(padded - mean[:, None]), -1.0).argmax(axis=1)
    mixed = 0.5 * mean + 0.5 * padded[np.arange(len(padded)), away]
    return np.where(count > 0, mixed, np.nan)


def shrink_flags(flags: BoolArray, scale: int) -> BoolArray:
    """True where any of ``scale`` points is. [T] -> [ceil(T / k)]."""
    if scale == 1:
        return flags
    return np.concatenate((flags, np.zeros(-len(flags) % scale, bool))).reshape(-1, scale).any(axis=1)


def surroundings(values: FloatArray, start: int, stop: int, margin: int) -> tuple[float, float]:
    """Median and standard deviation of ``[start - margin, stop + margin)``; the latter 0 where nothing varies."""
    around = values[max(0, start - margin) : stop + margin]
    seen = around[np.isfinite(around)]
    if len(seen) == 0:
        return 0.0, 0.0
    level, spread = float(np.median(seen)), float(np.std(seen))
    return level, spread if spread > 1e-9 * abs(level) else 0.0  # rounding noise of a large constant is no variation


def encode_piece(values: FloatArray, start: int, length: int, margin: int) -> Piece:
    """The window from ``start`` on, relative to its surroundings: ``margin`` points more on either side.

    values: one (shrunk) channel, [N], NaN where missing. A series shorter than the window is padded.
    """
    stop = min(start + length, len(values))
    level, spread = surroundings(values, start, stop, margin)
    filled, observed = fill_missing(values[start:stop])
    if not observed.any():
        filled = np.full(stop - start, level)
    scaled = (filled - level) / spread if spread > 0 else np.zeros(stop - start)
    small = scaled.clip(-1e6, 1e6).astype(np.float32)
    if pad := length - (stop - start):
        small, observed = np.pad(small, (0, pad), mode="edge"), np.pad(observed, (0, pad))
    return Piece(start, stop - start, small, observed)


def pieces(values: FloatArray, length: int, stride: int, margin: int) -> Iterator[Piece]:
    """Overlapping windows over one (shrunk) channel, one at a time."""
    for start in window_starts(len(values), length, stride):
        yield encode_piece(values, start, length, margin)
