"""The evidence of a whole series: one row per statistic, computed once at the series' own rate."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tsad.core.types import BoolArray, FloatArray
from tsad.detectors.evidence.course import Course, Tail
from tsad.detectors.evidence.feature_neighbours import (
    LENGTHS,
    described,
    distance_to,
    on_points,
    own_distances,
    together,
)
from tsad.detectors.evidence.neighbours import REFERENCES, cycle_references, neighbour_tails
from tsad.detectors.evidence.period import Period, find_period
from tsad.detectors.evidence.ranks import PART, Floats, quantiles
from tsad.detectors.evidence.remembered import Remembered
from tsad.detectors.evidence.residuals import fitting_width, polynomial_tail, seasonal_tails
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
MEMORY = "memory"  # of the figures of a state that belong to what people have called normal
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

    def part(self, first: int, stop: int | None = None) -> Evidence:
        """That of the points ``[first, stop)``, to the end without ``stop``; a view."""
        at = slice(first, stop)
        return Evidence(self.values[at], self.observed[at], self.rows[:, at], self.period)


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

    def scaled(self, scale: tuple[float, float]) -> Beside:
        """The same with the memory in deviations from the median; ``scale``: :func:`scale_of` of the values."""
        return self if self.memory is None else replace(self, memory=self.memory.scaled(*scale, FAR))


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
    course = Course()
    scale = scale_of(filled)
    scaled = scaled_values(filled, scale)
    beside = (beside or Beside()).scaled(scale)
    period = period_of(scaled, course)
    rows = np.zeros((len(CHANNELS), len(values)), np.int16)
    for name, tail in rows_of(Tail(scaled), period, wanted, beside, course):
        write_row(rows[INDEX[name]], tail, observed)
    return Evidence(scaled, observed, rows, period)


def write_row(row: npt.NDArray[np.int16], tail: Tail, observed: BoolArray) -> None:
    """One statistic from the point on where it has changed, in steps of :data:`UNIT`; 0 where nothing was observed."""
    values = tail.since(tail.changed)
    for start in range(0, len(values), PART):
        part = values[start : start + PART]
        row[tail.changed + start : tail.changed + start + len(part)] = np.clip(
            np.nan_to_num(part), -LIMIT, LIMIT
        ) * np.float32(1 / UNIT)
    row[tail.changed :][~observed[tail.changed :]] = 0


def period_of(scaled: Floats, course: Course) -> Period:
    """The period of a whole scaled channel, or the one that its state holds."""
    return Period(*course.state.numbers("period", lambda: find_period(scaled)))


def scaled_values(filled: FloatArray, scale: tuple[float, float] | None = None) -> Floats:
    """Values in deviations from the median, as the network and all evidence see them. [T] without gaps -> [T].

    scale: median and deviation of another series.
    """
    middle, spread = scale or scale_of(filled)
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


Rows = Iterator[tuple[str, Tail]]
SHORTEST_SERIES = 16  # points: of a shorter series nothing can be said


def rows_of(x: Tail, period: Period, wanted: Container[str], beside: Beside, course: Course) -> Rows:
    """The wanted rows of a scaled channel, one statistic after the other: a series may have millions of points."""
    if course.state.numbers("points", lambda: (float(x.total),))[0] < SHORTEST_SERIES:
        return
    # first what takes the most memory to make, while there are few rows
    makers: tuple[tuple[tuple[str, ...], Callable[[], Rows]], ...] = (
        (("short_features", "short_features_rarity", "short_memory"), lambda: _features(x, "short", beside, course)),
        (("long_features", "long_features_rarity", "long_memory"), lambda: _features(x, "long", beside, course)),
        (("longest_features", "longest_features_rarity"), lambda: _features(x, "longest", beside, course)),
        (("amplitude", "difference", "strength", "log_period"), lambda: _plain(x, period, course)),
        (("short_residual", "short_energy", "short_energy_rarity"), lambda: _short_polynomial(x, course)),
        (("energy", "energy_rarity"), lambda: _polynomial(x, period, course)),
        (("season_residual", "season_score"), lambda: _season(x, period, course)),
        (("shape", "shape_rarity", "neighbour", "neighbour_rarity"), lambda: _neighbours(x, period, wanted, course)),
        (("middle_neighbour", "middle_neighbour_rarity"), lambda: _middle(x, period, course)),
        (("short_neighbour", "short_neighbour_rarity", "short_core"), lambda: _shortest(x, "short", course)),
        (("brief_neighbour", "brief_neighbour_rarity", "brief_core"), lambda: _shortest(x, "brief", course)),
        (("level", "spread"), lambda: _moving(x, period, course)),
        (("cycle", "cycle_rarity"), lambda: _cycles(x, period, "cycle", course)),
        (("two_cycles", "two_cycles_rarity"), lambda: _cycles(x, period, "two_cycles", course)),
        (("others_residual", "others_energy"), lambda: _others(x, beside, course)),
    )
    for names, make in makers:
        if any(name in wanted for name in names):
            yield from ((name, row) for name, row in make() if name in wanted)


def _width(period: Period) -> float:
    return float(np.clip(period.points, 24, 128))


def _steps(x: Tail) -> Tail:
    """The size of the step to each point."""
    if not x.begin:
        return x.map(lambda v: np.abs(np.diff(v, prepend=v[:1])))
    return Tail(np.abs(np.diff(x.values)), x.begin + 1, x.changed)


def _energy(residual: Tail, name: str, width: float, course: Course) -> Tail:
    square = course.box(f"{name}.sums", residual.map(lambda v: v * v), width)
    return square.map(lambda v: np.sqrt(np.maximum(v, 0)))


def _plain(x: Tail, period: Period, course: Course) -> Rows:
    yield "amplitude", course.signed_rarity("amplitude", x)
    yield "difference", course.rarity("difference", _steps(x))
    yield "strength", x.fresh().map(lambda v: np.full(len(v), period.strength, np.float32))
    yield "log_period", x.fresh().map(lambda v: np.full(len(v), np.log2(period.points / 64) / 4, np.float32))


def _fitted(x: Tail, name: str, width: int, course: Course) -> Tail:
    (kept,) = course.state.numbers(f"{name}.width", lambda: (float(fitting_width(x.total, width)),))
    return polynomial_tail(x, int(kept), fixed=course.fixed)


def _short_polynomial(x: Tail, course: Course) -> Rows:
    residual = _fitted(x, "short_residual", SHORT, course)
    energy = _energy(residual, "short_energy", SHORT, course)
    yield "short_residual", course.signed("short_residual", residual, 0.02)
    yield from _scored("short_energy", energy, course)


def _polynomial(x: Tail, period: Period, course: Course) -> Rows:
    width = _width(period)
    yield from _scored("energy", _energy(_fitted(x, "energy", int(width), course), "energy", width, course), course)


def _season(x: Tail, period: Period, course: Course) -> Rows:
    if period.strength <= 0:
        return
    residual, spread = seasonal_tails(x, period.points)
    yield "season_residual", course.signed("season_residual", residual, 0.02)
    spread = course.box("season.sums", spread, period.points / 24)
    (middle,) = course.state.numbers("season.spread", lambda: (quantiles(spread.values, (0.5,))[0],))
    usual = 1.4826 * spread.since(spread.changed) + 0.3 * middle + 0.02
    score = np.asarray(np.arcsinh(residual.since(spread.changed) / usual) / 2, np.float32)
    yield "season_score", Tail(score, spread.changed, spread.changed)


def _neighbours(x: Tail, period: Period, wanted: Container[str], course: Course) -> Rows:
    both = "neighbour" in wanted or "neighbour_rarity" in wanted
    kinds = ("shape", "amplitude") if both else ("shape",)
    shape, *amplitude = neighbour_tails(course, "neighbour", x, min(period.points, 512.0), kinds=kinds)
    yield from _scored("shape", shape, course)
    del shape
    if amplitude:
        yield from _scored("neighbour", amplitude[0], course)


def _scored(name: str, distance: Tail, course: Course) -> Rows:
    yield name, course.positive(name, distance)
    yield f"{name}_rarity", course.rarity(name, distance)


def _middle(x: Tail, period: Period, course: Course) -> Rows:
    length = float(np.clip(period.points / 3, 16, 48))
    yield from _scored("middle_neighbour", neighbour_tails(course, "middle", x, length)[0], course)


def _shortest(x: Tail, name: str, course: Course) -> Rows:
    from scipy.ndimage import minimum_filter1d

    references = REFERENCES if name == "short" else FEW
    distance = neighbour_tails(course, name, x, SHORTEST, references=references)[0]
    yield from _scored(f"{name}_neighbour", distance, course)
    lowest = distance.map(lambda v: minimum_filter1d(v, SHORTEST))  # sharper edges
    begin, changed = (max(0, at + side) for at, side in ((lowest.begin, SHORTEST * bool(lowest.begin)),
                                                         (lowest.changed, -SHORTEST)))  # fmt: skip
    yield f"{name}_core", course.positive(f"{name}_core", Tail(lowest.since(begin), begin, changed))


def _moving(x: Tail, period: Period, course: Course) -> Rows:
    width = _width(period)
    yield "level", course.signed_rarity("level", course.box("level.sums", x, width))
    yield "spread", course.signed_rarity("spread", course.box("spread.sums", _steps(x), width / 2))


def _cycles(x: Tail, period: Period, name: str, course: Course) -> Rows:
    length = min((1 if name == "cycle" else 2) * period.points, float(LONGEST_CYCLE))
    (distance,) = neighbour_tails(course, name, x, length, references=cycle_references(length))
    yield from _scored(name, distance, course)


def _features(x: Tail, name: str, beside: Beside, course: Course) -> Rows:
    apart, remembered = [], []
    for table in described(x, LENGTHS[name], squashed=name == "short", course=course, name=f"{name}_features"):
        plain = own_distances(table)
        apart.append(on_points(table, plain))
        if name == "longest":
            continue
        if beside.memory is not None:
            recalled = beside.memory.distances(table, plain)
            if recalled is not None:
                remembered.append(on_points(table, recalled, MEMORY))
        elif beside.normal is not None:
            remembered.append(distance_to(table, *table.references(beside.normal), MEMORY))
    row = together(apart, x)
    yield f"{name}_features", row
    yield f"{name}_features_rarity", course.rarity(f"{name}_features", row)
    if remembered:
        yield f"{name}_memory", together(remembered, x)


def _others(x: Tail, beside: Beside, course: Course) -> Rows:
    if beside.residual is None:
        return
    residual = Tail(beside.residual[x.begin :], x.begin, x.changed)
    yield "others_residual", course.signed("others_residual", residual, 0.02)
    yield "others_energy", course.positive("others_energy", _energy(residual, "others", BREAK, course))
