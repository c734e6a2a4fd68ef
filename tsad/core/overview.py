"""A whole series in little: what a picture of years needs, a few kilobytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsad.core.series import Series
from tsad.core.types import FloatArray, IntArray, TimeKind

COLUMNS = 600  # stretches of equal time
USUAL = (5.0, 95.0)  # percentiles between which values usually lie


@dataclass(frozen=True, eq=False)
class SeriesOverview:
    """Lowest and highest value per stretch of time; B stretches, C channels.

    Attributes:
        edges: [B + 1] int64 ns UTC, ascending, equally far apart.
        low, high: [B, C] float64, NaN where a stretch holds no value.
        usual: [2, C] float64, 5th and 95th percentile of the whole series, NaN where it has no value.
        points: of the series. step: its median sampling interval in ns. missing: share of missing values, 0..1.
    """

    point_id: str
    channels: tuple[str, ...]
    time_kind: TimeKind
    edges: IntArray
    low: FloatArray
    high: FloatArray
    usual: FloatArray
    points: int
    step: int
    missing: float

    def extent(self, channel: int) -> tuple[float, float] | None:
        """Lowest and highest value of a channel; ``None`` of an empty one."""
        low, high = self.low[:, channel], self.high[:, channel]
        return (float(np.nanmin(low)), float(np.nanmax(high))) if np.isfinite(low).any() else None


def overview_of(series: Series, columns: int = COLUMNS) -> SeriesOverview:
    """The series in at most ``columns`` stretches (as many as it has points, where these are fewer)."""
    stamps, values = series.timestamps, series.values
    first, after, count = int(stamps[0]), int(stamps[-1]) + series.step, min(columns, len(series))
    edges = first + ((after - first) * np.arange(count + 1, dtype=object) // count).astype(np.int64)
    bounds = np.searchsorted(stamps, edges)
    shape = (count, values.shape[1])
    low, high, usual = np.full(shape, np.nan), np.full(shape, np.nan), np.full((2, shape[1]), np.nan)
    known = np.isfinite(values)
    for column in range(shape[1]):
        if known[:, column].any():
            usual[:, column] = np.percentile(values[known[:, column], column], USUAL)
    filled = np.flatnonzero(np.diff(bounds) > 0)
    starts = bounds[filled]  # of the stretches that hold points: each reaches to the start of the next of them
    bottom = np.minimum.reduceat(np.where(known, values, np.inf), starts, axis=0)
    top = np.maximum.reduceat(np.where(known, values, -np.inf), starts, axis=0)
    low[filled] = np.where(np.isfinite(bottom), bottom, np.nan)
    high[filled] = np.where(np.isfinite(top), top, np.nan)
    return SeriesOverview(
        series.point_id, series.channels, series.time_kind, edges, low, high, usual,
        len(series), series.step, float(1.0 - known.mean()),
    )
