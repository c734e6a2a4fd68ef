"""Reductions over many stretches of a row at once, and the medians of many windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.core.types import FloatArray, IntArray

Floats = npt.NDArray[np.float32]


def over(row: npt.NDArray[Any], function: np.ufunc, runs: IntArray) -> FloatArray:
    """``function`` reduced over each run [K, 2] of a row [T]; no run is empty. [K] float64."""
    padded = np.append(row, row[-1:])  # a run may end at T
    return np.asarray(function.reduceat(padded, runs.ravel())[::2], np.float64)


def over_or(row: npt.NDArray[Any], function: np.ufunc, runs: IntArray, empty: float | FloatArray) -> FloatArray:
    """The same where runs may be empty or reach beyond the row; ``empty`` stands for those without a point. [K]."""
    clipped = np.clip(runs, 0, len(row))
    none = clipped[:, 0] >= clipped[:, 1]
    clipped[none] = (0, 1)
    return np.where(none, empty, over(row, function, clipped))


def gather(row: Floats, runs: IntArray, width: int) -> Floats:
    """The points of each run [K, 2] that lie in the row, ``inf`` after them. [K, width]."""
    starts, stops = np.maximum(runs[:, :1], 0), np.minimum(runs[:, 1:], len(row))
    places = starts + np.arange(width)
    return np.where(places < stops, row[np.minimum(places, len(row) - 1)], np.float32(np.inf))


def medians(table: Floats) -> tuple[FloatArray, IntArray]:
    """Median of each row's finite figures, NaN without any, and their number; sorts the table in place. [K], [K]."""
    table.sort(axis=1)
    count = np.isfinite(table).sum(axis=1)
    rows = np.arange(len(table))
    low, high = (table[rows, np.maximum(k, 0)].astype(np.float64) for k in ((count - 1) // 2, count // 2))
    return np.where(count > 0, (low + high) / 2, np.nan), count
