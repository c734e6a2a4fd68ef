"""The evidence of a whole series: one row per statistic, computed once at the series' own rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray, FloatArray
from tsad.detectors.evidence.neighbours import neighbour_distances
from tsad.detectors.evidence.period import Period, find_period
from tsad.detectors.evidence.ranks import PART, Floats, box, positive, quantiles, rarity, signed, signed_rarity
from tsad.detectors.evidence.residuals import polynomial_residual, seasonal_residual
from tsad.detectors.numeric import fill_missing

CHANNELS = (
    "amplitude", "difference", "short_residual", "short_energy", "short_energy_rarity", "energy", "energy_rarity",
    "season_residual", "season_score", "shape", "shape_rarity", "neighbour", "neighbour_rarity", "middle_neighbour",
    "middle_neighbour_rarity", "short_neighbour", "short_neighbour_rarity", "short_core", "level", "spread", "strength",
    "log_period",
)  # fmt: skip
SIGNED = ("amplitude", "short_residual", "season_residual", "season_score", "level")  # change sign with the series
# rows that fail together
GROUPS = ((0, 1), (2, 3, 4), (5, 6), (7, 8), (9, 10, 11, 12), (13, 14), (15, 16, 17), (18,), (19,), (20, 21))
INDEX = {name: row for row, name in enumerate(CHANNELS)}
SHORT = 12  # points per block of the short polynomial
SHORTEST = 8  # points of the shortest sub-sequences
LIMIT = 6.0
FAR = 1e6  # deviations: beyond it a value is only far away
UNIT = 1 / 4096  # whole numbers of 16 bits take half the memory of float32, and numpy compares them fast


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the whole of one channel says of each of its points.

    Attributes:
        values: [T] float32, in deviations from the median; missing points on straight lines.
        observed: [T] bool.
        rows: [len(CHANNELS), T] int16 in steps of :data:`UNIT`, within -6..6; 0 where missing.
    """

    values: Floats
    observed: BoolArray
    rows: npt.NDArray[np.int16]
    period: Period

    def row(self, name: str) -> Floats:
        """One statistic as float32, [T]."""
        return self.rows[INDEX[name]] * np.float32(UNIT)


def evidence_of(values: FloatArray) -> Evidence:
    """Evidence of one channel, in linear time. values: [T] float64, NaN where missing, any finite unit.

    ``*_rarity`` and ``amplitude``, ``difference``, ``level``, ``spread``: half the ``-log10`` of the share of points as
    extreme. ``short_*`` and ``energy``: what polynomials over 12 points and over about a period leave unexplained.
    ``season_*``: distance from the same phase of neighbouring periods. ``shape``, ``neighbour``: distance of
    sub-sequences of a period to their nearest neighbours, ``middle_neighbour`` of a third of it, ``short_*`` of 8
    points; ``short_core`` is the lowest of the sub-sequences over a point.
    """
    filled, observed = fill_missing(values)
    middle, spread = scale_of(filled)
    scaled = ((filled - middle) / spread).clip(-FAR, FAR).astype(np.float32)
    period = find_period(scaled)
    rows = np.zeros((len(CHANNELS), len(values)), np.int16)
    if len(values) >= 16:
        for name, row in _rows(scaled, period):
            for start in range(0, len(row), PART):
                part = slice(start, start + PART)
                rows[INDEX[name], part] = np.clip(np.nan_to_num(row[part]), -LIMIT, LIMIT) * np.float32(1 / UNIT)
    if not observed.all():
        rows[:, ~observed] = 0
    return Evidence(scaled, observed, rows, period)


def scale_of(filled: FloatArray) -> tuple[float, float]:
    """Median, and standard deviation without the extreme percent; the latter is never 0. [T]."""
    if len(filled) == 0:
        return 0.0, 1.0
    sample = filled[:: max(1, len(filled) // 262144)]
    low, middle, high = (float(q) for q in np.quantile(sample, (0.005, 0.5, 0.995)))
    spread = float(np.std(np.clip(sample, low, high)))
    if spread <= 1e-12 * max(abs(low), abs(high)):  # constant but for a few points
        spread = float(np.std(filled)) or 1.0
    return middle, spread


def _rows(x: Floats, period: Period):  # type: ignore[no-untyped-def]
    from scipy.ndimage import minimum_filter1d

    yield "amplitude", signed_rarity(x)
    yield "difference", rarity(np.abs(np.diff(x, prepend=x[:1])))
    residual = polynomial_residual(x, SHORT)
    energy = np.sqrt(np.maximum(box(residual * residual, SHORT), 0))
    yield "short_residual", signed(residual, 0.02)
    yield "short_energy", positive(energy)
    yield "short_energy_rarity", rarity(energy)
    width = float(np.clip(period.points, 24, 128))
    residual = polynomial_residual(x, int(width))
    energy = np.sqrt(np.maximum(box(residual * residual, width), 0))
    yield "energy", positive(energy)
    yield "energy_rarity", rarity(energy)
    del residual, energy  # a series may have millions of points
    if period.strength > 0:
        residual, spread = seasonal_residual(x, period.points)
        yield "season_residual", signed(residual, 0.02)
        spread = box(spread, period.points / 24)
        yield "season_score", np.arcsinh(residual / (1.4826 * spread + 0.3 * quantiles(spread, (0.5,))[0] + 0.02)) / 2
        del residual, spread
    shape, amplitude = neighbour_distances(x, min(period.points, 512.0), shape=True)
    yield "shape", positive(shape)
    yield "shape_rarity", rarity(shape)
    del shape
    yield "neighbour", positive(amplitude)
    yield "neighbour_rarity", rarity(amplitude)
    amplitude = neighbour_distances(x, float(np.clip(period.points / 3, 16, 48)), shape=False)[0]
    yield "middle_neighbour", positive(amplitude)
    yield "middle_neighbour_rarity", rarity(amplitude)
    amplitude = neighbour_distances(x, SHORTEST, shape=False)[0]
    yield "short_neighbour", positive(amplitude)
    yield "short_neighbour_rarity", rarity(amplitude)
    yield "short_core", positive(minimum_filter1d(amplitude, SHORTEST))  # sharper edges
    mean = box(x, width)
    yield "level", signed_rarity(mean)
    yield "spread", signed_rarity(box(np.abs(np.diff(x, prepend=x[:1])), width / 2))
    yield "strength", np.full(len(x), period.strength, np.float32)
    yield "log_period", np.full(len(x), np.log2(period.points / 64) / 4, np.float32)
