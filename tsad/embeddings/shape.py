"""The embedding that needs no weights: normalised shape and spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsad.core.types import FloatArray

COLUMNS = 48  # means that a shape is drawn by
BANDS = 24  # of the spectrum, each about as wide as it is high in frequency
BLOCK = 2048  # points that a spectrum is taken of at once
TINY = 1e-12


class ShapeEmbedding:
    """Half of the vector is the shape, half the spectrum: both of values without their level and scale.

    Shape: means of 48 equal pieces. Spectrum: root of the power in 24 bands, whose width grows with frequency. Each
    half has length ``sqrt(1/2)``: distances lie in 0..2. What does not vary is the zero vector.
    """

    name = "shape"
    identity = f"shape:1:{COLUMNS}:{BANDS}"

    def embed(self, stretches: Sequence[FloatArray]) -> FloatArray:
        """A vector of each stretch of values. [L] each, NaN where missing -> [N, 72]."""
        vectors = np.zeros((len(stretches), COLUMNS + BANDS))
        for row, values in zip(vectors, stretches, strict=True):
            normal = normalised(values)
            if normal is not None:
                row[:COLUMNS] = _half(resampled(normal, COLUMNS))
                row[COLUMNS:] = _half(_spectrum(normal))
        return vectors


def normalised(values: FloatArray) -> FloatArray | None:
    """Missing values on straight lines, mean 0, deviation 1; ``None`` where nothing varies. [L] -> [L]."""
    known = np.isfinite(values)
    if not known.any():
        return None
    filled = values if known.all() else np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])
    away = filled - filled.mean()
    spread = float(away.std())
    return None if spread <= TINY * (1 + np.abs(filled).max()) else np.asarray(away / spread)


def resampled(values: FloatArray, columns: int) -> FloatArray:
    """Means over ``columns`` pieces of equal length, which need not hold whole points. [L] -> [columns]."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    edges = np.linspace(0, len(values), columns + 1)
    return np.asarray(np.diff(np.interp(edges, np.arange(len(total)), total)) * columns / len(values))


def _spectrum(values: FloatArray) -> FloatArray:
    power = np.abs(np.fft.rfft(values[: BLOCK * (len(values) // BLOCK)].reshape(-1, BLOCK), axis=1)) ** 2
    whole = power.mean(axis=0) if len(power) else np.abs(np.fft.rfft(values)) ** 2
    place = np.arange(1, len(whole)) / len(whole)  # of half the sampling rate, without the mean
    band = np.clip((BANDS * (1 + np.log2(place) / 8)).astype(np.int64), 0, BANDS - 1)
    return np.sqrt(np.bincount(band, whole[1:], BANDS))


def _half(part: FloatArray) -> FloatArray:
    length = float(np.linalg.norm(part))
    return part * (np.sqrt(0.5) / length) if length > TINY else part * 0.0
