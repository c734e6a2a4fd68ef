"""The evidence of a whole series: one row per statistic, computed once at the series' own rate."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray, FloatArray
from tsad.detectors.evidence.feature_neighbours import (
    LENGTHS,
    described,
    distance_to,
    on_points,
    own_distances,
    together,
)
from tsad.detectors.evidence.neighbours import REFERENCES, cycle_references, neighbour_distances
from tsad.detectors.evidence.period import Period, find_period
from tsad.detectors.evidence.ranks import PART, Floats, box, positive, quantiles, rarity, signed, signed_rarity
from tsad.detectors.evidence.remembered import Remembered
from tsad.detectors.evidence.residuals import polynomial_residual, seasonal_residual
from tsad.detectors.numeric import fill_missing

FIRST_EDITION = (
    "amplitude", "difference", "short_residual", "short_energy", "short_energy_rarity", "energy", "energy_rarity",
    "season_residual", "season_score", "shape", "shape_rarity", "neighbour", "neighbour_rarity", "middle_neighbour",
    "middle_neighbour_rarity", "short_neighbour", "short_neighbour_rarity", "short_core", "level", "spread", "strength",
    "log_period",
)  # fmt: skip
CHANNELS = (
    *FIRST_EDITION, "brief_neighbour", "brief_neighbour_rarity", "brief_core", "cycle", "cycle_rarity", "two_cycles",
    "two_cycles_rarity", "short_features", "short_features_rarity", "long_features", "long_features_rarity",
    "longest_features", "longest_features_rarity", "short_memory", "long_memory", "others_residual", "others_energy",
)  # fmt: skip
# what the second edition does without: the same is told by ``brief_neighbour`` and ``cycle`` in less time
REPLACED = ("neighbour", "neighbour_rarity", "middle_neighbour", "middle_neighbour_rarity", "short_neighbour",
            "short_neighbour_rarity", "short_core")  # fmt: skip
SECOND_EDITION = tuple(name for name in CHANNELS if name not in REPLACED)
# change sign with the series
SIGNED = ("amplitude", "short_residual", "season_residual", "season_score", "level", "others_residual")
INDEX = {name: row for row, name in enumerate(CHANNELS)}
SHORT = 12  # points per block of the short polynomial
SHORTEST = 8  # points of the shortest sub-sequences
FEW = 256  # that they are compared with, where speed counts
BREAK = 16  # points over which channels must agree
LONGEST_CYCLE = 1024  # points
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


@dataclass(frozen=True, eq=False)
class Beside:
    """What is known of a channel beside its own values.

    Attributes:
        residual: [T] what the other channels of the machine leave unexplained, in deviations; ``None`` = no others.
        normal: [T] true where people have called the series normal; ``None`` = nobody has looked.
        memory: what of it a registered version remembers, in the unit of the values; takes the place of ``normal``.
    """

    residual: Floats | None = None
    normal: BoolArray | None = None
    memory: Remembered | None = None


def evidence_of(values: FloatArray, wanted: Container[str] = CHANNELS, beside: Beside | None = None) -> Evidence:
    """Evidence of one channel, in linear time. values: [T] float64, NaN where missing, any finite unit.

    ``*_rarity`` and ``amplitude``, ``difference``, ``level``, ``spread``: half the ``-log10`` of the share of points as
    extreme. ``short_*`` and ``energy``: what polynomials over 12 points and over about a period leave unexplained.
    ``season_*``: distance from the same phase of neighbouring periods. ``shape``, ``neighbour``: distance of
    sub-sequences of a period to their nearest neighbours, ``middle_neighbour`` of a third of it, ``short_*`` of 8
    points (``brief_*``: among fewer); ``*_core`` is the lowest of the sub-sequences over a point. ``cycle``,
    ``two_cycles``: the same of one and two periods among very many others. ``*_features``: distance in plain figures,
    of 8 to 32, 64 and 128, 256 and 512 points; ``*_memory``: to what people have called normal. ``others_*``: what the
    machine's other channels leave unexplained.

    Args:
        wanted: rows that are needed; the others stay 0 (and take neither time nor memory).
        beside: what people and other channels say; without it the rows of theirs are 0.
    """
    filled, observed = fill_missing(values)
    scaled = scaled_values(filled)
    if beside is not None and beside.memory is not None:
        beside = replace(beside, memory=beside.memory.scaled(*scale_of(filled), FAR))
    period = find_period(scaled)
    rows = np.zeros((len(CHANNELS), len(values)), np.int16)
    if len(values) >= 16:
        for name, row in rows_of(scaled, period, wanted, beside or Beside()):
            for start in range(0, len(row), PART):
                part = slice(start, start + PART)
                rows[INDEX[name], part] = np.clip(np.nan_to_num(row[part]), -LIMIT, LIMIT) * np.float32(1 / UNIT)
    if not observed.all():
        missing = ~observed
        for name in CHANNELS:
            if name in wanted:
                rows[INDEX[name], missing] = 0
    return Evidence(scaled, observed, rows, period)


def scaled_values(filled: FloatArray) -> Floats:
    """Values in deviations from the median, as the network and all evidence see them. [T] without gaps -> [T]."""
    middle, spread = scale_of(filled)
    return ((filled - middle) / spread).clip(-FAR, FAR).astype(np.float32)


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


Rows = Iterator[tuple[str, Floats]]


def rows_of(x: Floats, period: Period, wanted: Container[str], beside: Beside) -> Rows:
    """The wanted rows of a scaled channel, one statistic after the other: a series may have millions of points."""
    makers: tuple[tuple[tuple[str, ...], Callable[[], Rows]], ...] = (
        (("amplitude", "difference", "strength", "log_period"), lambda: _plain(x, period)),
        (("short_residual", "short_energy", "short_energy_rarity"), lambda: _short_polynomial(x)),
        (("energy", "energy_rarity"), lambda: _polynomial(x, period)),
        (("season_residual", "season_score"), lambda: _season(x, period)),
        (("shape", "shape_rarity", "neighbour", "neighbour_rarity"), lambda: _neighbours(x, period, wanted)),
        (("middle_neighbour", "middle_neighbour_rarity"), lambda: _middle(x, period)),
        (("short_neighbour", "short_neighbour_rarity", "short_core"), lambda: _shortest(x, "short", REFERENCES)),
        (("brief_neighbour", "brief_neighbour_rarity", "brief_core"), lambda: _shortest(x, "brief", FEW)),
        (("level", "spread"), lambda: _moving(x, period)),
        (("cycle", "cycle_rarity"), lambda: _cycles(x, period, "cycle", 1)),
        (("two_cycles", "two_cycles_rarity"), lambda: _cycles(x, period, "two_cycles", 2)),
        (("short_features", "short_features_rarity", "short_memory"), lambda: _features(x, "short", beside)),
        (("long_features", "long_features_rarity", "long_memory"), lambda: _features(x, "long", beside)),
        (("longest_features", "longest_features_rarity"), lambda: _features(x, "longest", beside)),
        (("others_residual", "others_energy"), lambda: _others(beside)),
    )
    for names, make in makers:
        if any(name in wanted for name in names):
            yield from ((name, row) for name, row in make() if name in wanted)


def _width(period: Period) -> float:
    return float(np.clip(period.points, 24, 128))


def _plain(x: Floats, period: Period) -> Rows:
    yield "amplitude", signed_rarity(x)
    yield "difference", rarity(np.abs(np.diff(x, prepend=x[:1])))
    yield "strength", np.full(len(x), period.strength, np.float32)
    yield "log_period", np.full(len(x), np.log2(period.points / 64) / 4, np.float32)


def _short_polynomial(x: Floats) -> Rows:
    residual = polynomial_residual(x, SHORT)
    energy = np.sqrt(np.maximum(box(residual * residual, SHORT), 0))
    yield "short_residual", signed(residual, 0.02)
    yield "short_energy", positive(energy)
    yield "short_energy_rarity", rarity(energy)


def _polynomial(x: Floats, period: Period) -> Rows:
    width = _width(period)
    residual = polynomial_residual(x, int(width))
    energy = np.sqrt(np.maximum(box(residual * residual, width), 0))
    yield "energy", positive(energy)
    yield "energy_rarity", rarity(energy)


def _season(x: Floats, period: Period) -> Rows:
    if period.strength <= 0:
        return
    residual, spread = seasonal_residual(x, period.points)
    yield "season_residual", signed(residual, 0.02)
    spread = box(spread, period.points / 24)
    usual = 1.4826 * spread + 0.3 * quantiles(spread, (0.5,))[0] + 0.02
    yield "season_score", np.asarray(np.arcsinh(residual / usual) / 2, np.float32)


def _neighbours(x: Floats, period: Period, wanted: Container[str]) -> Rows:
    both = "neighbour" in wanted or "neighbour_rarity" in wanted
    shape, *amplitude = neighbour_distances(x, min(period.points, 512.0), shape=True, amplitude=both)
    yield from _near("shape", shape)
    del shape
    if amplitude:
        yield from _near("neighbour", amplitude[0])


def _near(name: str, distance: Floats) -> Rows:
    yield name, positive(distance)
    yield f"{name}_rarity", rarity(distance)


def _middle(x: Floats, period: Period) -> Rows:
    length = float(np.clip(period.points / 3, 16, 48))
    yield from _near("middle_neighbour", neighbour_distances(x, length, shape=False)[0])


def _shortest(x: Floats, name: str, references: int) -> Rows:
    from scipy.ndimage import minimum_filter1d

    distance = neighbour_distances(x, SHORTEST, shape=False, references=references)[0]
    yield from _near(f"{name}_neighbour", distance)
    yield f"{name}_core", positive(minimum_filter1d(distance, SHORTEST))  # sharper edges


def _moving(x: Floats, period: Period) -> Rows:
    width = _width(period)
    yield "level", signed_rarity(box(x, width))
    yield "spread", signed_rarity(box(np.abs(np.diff(x, prepend=x[:1])), width / 2))


def _cycles(x: Floats, period: Period, name: str, count: int) -> Rows:
    length = min(count * period.points, float(LONGEST_CYCLE))
    (distance,) = neighbour_distances(x, length, shape=False, references=cycle_references(length))
    yield from _near(name, distance)


def _features(x: Floats, name: str, beside: Beside) -> Rows:
    apart, remembered = [], []
    for table in described(x, LENGTHS[name], squashed=name == "short"):
        plain = own_distances(table)
        apart.append(on_points(table, plain))
        if name == "longest":
            continue
        if beside.memory is not None:
            recalled = beside.memory.distances(table, plain)
            if recalled is not None:
                remembered.append(on_points(table, recalled))
        elif beside.normal is not None:
            rows = table.drawn(table.inside(beside.normal))
            remembered.append(distance_to(table, table.table[rows], table.starts[rows]))
    row = together(apart, len(x))
    yield f"{name}_features", row
    yield f"{name}_features_rarity", rarity(row)
    if remembered:
        yield f"{name}_memory", together(remembered, len(x))


def _others(beside: Beside) -> Rows:
    if beside.residual is None:
        return
    yield "others_residual", signed(beside.residual, 0.02)
    yield "others_energy", positive(np.sqrt(np.maximum(box(beside.residual * beside.residual, BREAK), 0)))
