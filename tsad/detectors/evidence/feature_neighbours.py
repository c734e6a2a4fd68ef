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
from tsad.detectors.evidence.figures import FIGURES, figures_of
from tsad.detectors.evidence.ranks import Floats, mean_of, mean_over, quantiles

REFERENCES = 128  # sub-sequences that all are compared with, drawn with a fixed seed
NEAREST = 3
EXTREME = np.float32(50)  # deviations at which a figure is cut
BLOCK = 512  # sub-sequences compared at once
FLOOR = np.float32(1e-6)


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
    """

    length: Length
    starts: np.ndarray
    table: Floats
    total: int
    standard: Standard

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


def described(values: Floats, lengths: tuple[Length, ...], *, squashed: bool) -> Iterator[Described]:
    """The sub-sequences of a series, length by length; those that the series is too short for are left out. [T].

    Args:
        squashed: the figures' logarithms, so that what is far off in one of them does not drown the others.
    """
    middle, low, high = quantiles(values, (0.5, 0.25, 0.75))
    unit = (high - low) / 2 + 0.02 * float(values.std()) + 1e-9
    scaled = ((values - middle) / unit).astype(np.float32)
    for length in lengths:
        if length.covered * 4 <= len(values):
            averaged = mean_of(scaled, length.rate)
            starts = np.arange(0, len(averaged) - length.points + 1, length.stride)
            table = figures_of(averaged, length.points, starts)
            sample = table[:: max(1, len(table) // 65536)]
            standard = Standard(middle, unit, sample.mean(axis=0), 1 / (sample.std(axis=0) + FLOOR), squashed)
            compiled(_standardise)(table, standard.means, standard.scales, squashed)
            yield Described(length, starts, table, len(values), standard)


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


def distance_to(described: Described, references: Floats, starts: np.ndarray) -> Floats:
    """At each point, how far the sub-sequences over it lie from the 3 nearest references. [T].

    In multiples of the usual deviation above the median over the series, from 0 on; 0 where nothing is left to compare.

    Args:
        references: [K, 27] in the standard of ``described``.
        starts: [K] where they begin: those that overlap a sub-sequence do not count for it.
    """
    return on_points(described, distances(described, references, starts, starts + described.length.points))


def own_distances(described: Described) -> Floats:
    """Mean distance of each sub-sequence to the 3 nearest of at most 128 others of its series. [N]."""
    rows = described.drawn()
    starts = described.starts[rows]
    return distances(described, described.table[rows], starts, starts + described.length.points)


def distances(described: Described, references: Floats, lows: np.ndarray, highs: np.ndarray) -> Floats:
    """Mean distance of each sub-sequence to the 3 nearest references; 0 where nothing is left to compare. [N].

    Args:
        references: [K, 27] in the standard of ``described``.
        lows, highs: [K] each: a reference does not count for sub-sequences that share a value with ``[low, high)``.
    """
    table, squares = described.table, (references * references).sum(axis=1)
    out = np.zeros(len(table), np.float32)
    if len(references):
        block = np.zeros((BLOCK, len(FIGURES)), np.float32)
        for first in range(0, len(table), BLOCK):
            part = slice(first, first + BLOCK)
            rows = table[part]
            block[: len(rows)] = rows  # always as many: the last bits of a product may depend on the number of rows
            gaps = squares - np.float32(2) * (block @ references.T)
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


def on_points(described: Described, distance: Floats) -> Floats:
    """The mean over the sub-sequences that cover a point, in deviations. [N] -> [T]."""
    length, total = described.length, described.total
    spread = mean_over(described.starts, distance, length.points, -(-total // length.rate))
    middle = quantiles(spread, (0.5,))[0]
    unit = quantiles(np.abs(spread - np.float32(middle)), (0.5,))[0] + float(FLOOR)
    away = np.maximum((spread - np.float32(middle)) * np.float32(1 / unit), 0)
    return away if length.rate == 1 else np.repeat(away, length.rate)[:total]


def together(parts: list[Floats], total: int) -> Floats:
    """One figure of several lengths, from 0 on: log(1 + the mean of their distances). [T] each."""
    if not parts:
        return np.zeros(total, np.float32)
    mean = parts[0]
    for part in parts[1:]:
        mean = mean + part
    return np.log1p(mean * np.float32(1 / len(parts)))
