"""How far sub-sequences lie from the most similar others in plain figures: odd in kind, not only in shape.

After a study on real series: short sub-sequences find what is odd in web KPIs, long ones what is odd in machine
metrics, and which to believe differs from series to series.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsad.core.types import BoolArray, FloatArray
from tsad.detectors.evidence.compiled import compiled
from tsad.detectors.evidence.course import Course, Tail
from tsad.detectors.evidence.figures import FIGURES, figures_of
from tsad.detectors.evidence.ranks import Floats, mean_of, mean_over, quantiles

REFERENCES = 128  # sub-sequences that all are compared with, drawn with a fixed seed
NEAREST = 3
EXTREME = np.float32(50)  # deviations at which a figure is cut
BLOCK = 512  # sub-sequences compared at once
FLOOR = np.float32(1e-6)
MARK = 16  # sub-sequences between two sums that are kept
ALIGNED = 16  # points: the highest rate


@dataclass(frozen=True)
class Length:
    """Sub-sequences of ``points`` values of a series that is averaged to every ``rate`` points; one begins every
    ``stride`` values."""

    points: int
    stride: int
    rate: int = 1

    @property
    def covered(self) -> int:
        """Points of the series."""
        return self.points * self.rate


LENGTHS = {
    "short": (Length(8, 4), Length(16, 4), Length(32, 8)),
    "long": (Length(32, 8, rate=2), Length(32, 8, rate=4)),
    "longest": (Length(32, 8, rate=8), Length(32, 8, rate=16)),
}


@dataclass(frozen=True, eq=False)
class Standard:
    """What makes sub-sequences of a series comparable, and others with them.

    Attributes:
        middle, unit: of the values.
        means, scales: [27] of the figures; these are the inverse of their deviations.
        squashed: see :func:`described`.
    """

    middle: float
    unit: float
    means: Floats
    scales: Floats
    squashed: bool

    def values_of(self, values: FloatArray) -> Floats:
        """Values in the unit of the series. [T]."""
        return ((values - self.middle) / self.unit).astype(np.float32)

    def table(self, averaged: Floats, points: int, starts: np.ndarray) -> Floats:
        """Figures of other sub-sequences in this standard, [N, 27]."""
        table = figures_of(averaged, points, starts)
        compiled(_standardise)(table, self.means, self.scales, self.squashed)
        return table


@dataclass(frozen=True, eq=False)
class Described:
    """The sub-sequences of one length.

    Attributes:
        starts: [N] where they begin, in values of the averaged series.
        table: [N, 27] figures, standardised over the series.
        total: points of the series.
        standard: of the figures.
        before: sub-sequences that come before these, of which only sums are at hand.
        wanted: the first point that distances are wanted of.
        course, name: where references, units and sums are kept.
    """

    length: Length
    starts: np.ndarray
    table: Floats
    total: int
    standard: Standard
    before: int
    wanted: int
    course: Course
    name: str

    def inside(self, flags: BoolArray) -> np.ndarray:
        """The sub-sequences that lie wholly within flagged points. [T] -> [K]."""
        rate, span = self.length.rate, self.length.covered
        running = np.concatenate((np.zeros(1, np.int64), np.cumsum(flags)))
        first = self.starts * rate
        last = np.minimum(first + span, self.total)
        return np.flatnonzero(running[last] - running[first] == last - first)

    def drawn(self, among: np.ndarray | None = None) -> np.ndarray:
        """At most 128 sub-sequences of ``among`` (all of them: ``None``), always the same of the same many. [K]."""
        rows = np.arange(len(self.starts)) if among is None else among
        return np.sort(rows[np.random.default_rng(0).permutation(len(rows))[:REFERENCES]])

    def references(self, normal: BoolArray | None = None) -> tuple[Floats, np.ndarray]:
        """Figures [K, 27] and starts [K] of those that are compared with: of all, or of what people call normal."""
        name = f"{self.name}.{'references' if normal is None else 'memory'}"
        table, starts = self.course.state.arrays(name, lambda: self._at(self.drawn(self._among(normal))))
        return table, starts

    def _among(self, normal: BoolArray | None) -> np.ndarray | None:
        return None if normal is None else self.inside(normal)

    def _at(self, rows: np.ndarray) -> tuple[Floats, np.ndarray]:
        return self.table[rows], self.starts[rows]


def described(
    x: Tail, lengths: tuple[Length, ...], *, squashed: bool, course: Course | None = None, name: str = ""
) -> Iterator[Described]:
    """The sub-sequences of a series, length by length; those that the series is too short for are left out.

    Args:
        squashed: the figures' logarithms, so that what is far off in one of them does not drown the others.
    """
    course = course or Course()
    total, middle, low, high, spread = course.state.numbers(
        f"{name}.level", lambda: (x.total, *quantiles(x.values, (0.5, 0.25, 0.75)), float(x.values.std()))
    )
    unit = (high - low) / 2 + 0.02 * spread + 1e-9
    # all lengths from one point on: what a point gets is the mean over the lengths
    reach = max(length.covered + length.stride * length.rate for length in lengths)
    wanted = max(0, x.changed - reach) // ALIGNED * ALIGNED
    for length in lengths:
        if length.covered * 4 <= total:
            first = max(0, -(-(wanted // length.rate - length.points + 1) // length.stride)) // MARK * MARK
            scaled = ((x.since(first * length.stride * length.rate) - middle) / unit).astype(np.float32)
            averaged = mean_of(scaled, length.rate)
            begins = np.arange(0, len(averaged) - length.points + 1, length.stride)
            table = figures_of(averaged, length.points, begins, first)
            kept = f"{name}.{length.covered}"
            means, scales = course.state.arrays(f"{kept}.standard", lambda: _usual_figures(table))  # noqa: B023
            standard = Standard(middle, unit, means, scales, squashed)
            compiled(_standardise)(table, means, scales, squashed)
            starts = begins + first * length.stride
            yield Described(length, starts, table, x.total, standard, first, wanted, course, kept)


def _usual_figures(table: Floats) -> tuple[Floats, Floats]:
    """Means, and the inverse of the deviations, of evenly spread sub-sequences. [N, 27] -> [27], [27]."""
    sample = table[:: max(1, len(table) // 65536)]
    return sample.mean(axis=0), 1 / (sample.std(axis=0) + FLOOR)


def _standardise(table: Any, middle: Any, unit: Any, squashed: Any) -> None:  # compiled; in place
    for row in range(table.shape[0]):
        for k in range(table.shape[1]):
            z = min(max((table[row, k] - middle[k]) * unit[k], -EXTREME), EXTREME)
            if squashed:  # sign(z) log2(1 + |z|) from the bits of the number, to .002: ten times as fast as a logarithm
                bits = np.float32(np.float32(1) + abs(z)).view(np.int32)
                m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
                part = ((np.float32(0.153925) * m - np.float32(1.029558)) * m + np.float32(3.010851)) * m
                size = np.float32((bits >> 23) - 128) + (part - np.float32(1.133887))
                z = size if z > 0 else -size
            table[row, k] = z


def distance_to(described: Described, references: Floats, starts: np.ndarray, name: str = "own") -> Tail:
    """At each point, how far the sub-sequences over it lie from the 3 nearest references.

    In multiples of the usual deviation above the median over the series, from 0 on; 0 where nothing is left to compare.

    Args:
        references: [K, 27] in the standard of ``described``.
        starts: [K] where they begin: those that overlap a sub-sequence do not count for it.
        name: under which the median and the usual deviation are kept.
    """
    ends = starts + described.length.points
    return on_points(described, distances(described, references, starts, ends), name)


def own_distances(described: Described) -> Floats:
    """Mean distance of each sub-sequence to the 3 nearest of at most 128 others of its series. [N]."""
    references, starts = described.references()
    return distances(described, references, starts, starts + described.length.points)


def distances(described: Described, references: Floats, lows: np.ndarray, highs: np.ndarray) -> Floats:
    """Mean distance of each sub-sequence to the 3 nearest references; 0 where nothing is left to compare. [N].

    Args:
        references: [K, 27] in the standard of ``described``.
        lows, highs: [K] each: a reference does not count for sub-sequences that share a value with ``[low, high)``.
    """
    table, squares = described.table, (references * references).sum(axis=1)
    out = np.zeros(len(table), np.float32)
    if len(references):
        for first in range(-(described.before % BLOCK), len(table), BLOCK):
            part, lead = slice(max(0, first), first + BLOCK), max(0, -first)
            rows = table[part]
            block = np.zeros((BLOCK, len(FIGURES)), np.float32)
            block[lead : lead + len(rows)] = rows  # as many as ever: the last bits of a product may depend on it
            gaps = (squares - np.float32(2) * (block @ references.T))[lead:]
            compiled(_nearest)(gaps, rows, described.starts[part], (lows - described.length.points, highs), out[part])
    return out


# compiled: the three smallest distances of a row, kept in order while all are looked through; a reference counts for
# sub-sequences that begin at the first of its two bounds or before it, or at the second or after it
def _nearest(gaps: Any, rows: Any, starts: Any, bounds: Any, out: Any) -> None:
    far = np.float32(1e30)
    before, after = bounds
    for row in range(rows.shape[0]):
        a, b, c = far, far, far
        for k in range(len(before)):
            gap = gaps[row, k]
            if gap < c and (starts[row] <= before[k] or starts[row] >= after[k]):
                if gap < b:
                    c = b
                    if gap < a:
                        b, a = a, gap
                    else:
                        b = gap
                else:
                    c = gap
        own = np.float32(0)
        for k in range(rows.shape[1]):
            own += rows[row, k] * rows[row, k]
        total, count = np.float32(0), 0
        for gap in (a, b, c):
            if gap < far:
                total += np.sqrt(max(gap + own, np.float32(0)))
                count += 1
        out[row] = total / max(count, 1)


def on_points(described: Described, distance: Floats, name: str = "own") -> Tail:
    """The mean over the sub-sequences that cover a point, in deviations. [N] -> [T - wanted].

    Args:
        name: under which the median and the usual deviation are kept.
    """
    length, course, key = described.length, described.course, f"{described.name}.{name}"
    sums = course.running(f"{key}.sums", distance, described.before, MARK)
    first, total = described.wanted // length.rate, -(-described.total // length.rate)
    spread = mean_over(described.starts, distance, length.points, total, first, (described.before, sums))
    middle, unit = course.state.numbers(f"{key}.usual", lambda: _usual(spread))
    away = np.maximum((spread - np.float32(middle)) * np.float32(1 / unit), 0)
    if length.rate > 1:
        away = np.repeat(away, length.rate)[: described.total - described.wanted]
    return Tail(away, described.wanted, described.wanted)


def _usual(spread: Floats) -> tuple[float, float]:
    middle = quantiles(spread, (0.5,))[0]
    return middle, quantiles(np.abs(spread - np.float32(middle)), (0.5,))[0] + float(FLOOR)


def together(parts: list[Tail], like: Tail) -> Tail:
    """One figure of several lengths, from 0 on: log(1 + the mean of their distances); without any 0 everywhere."""
    if not parts:
        return like.map(np.zeros_like)
    mean = parts[0].values
    for part in parts[1:]:
        mean = mean + part.values
    return Tail(np.log1p(mean * np.float32(1 / len(parts))), parts[0].begin, parts[0].changed)
