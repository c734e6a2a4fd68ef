"""What people have called normal of a series, as its evidence sees it: sub-sequences that all are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsad.core.memory import NormalStretch
from tsad.core.series import Series
from tsad.core.types import BoolArray, FloatArray
from tsad.detectors.evidence.feature_neighbours import REFERENCES, Described, Length, distances
from tsad.detectors.evidence.ranks import Floats, mean_of
from tsad.detectors.numeric import fill_missing, tame

MEMORY_ROWS = ("short_memory", "long_memory")


@dataclass(frozen=True, eq=False)
class RecalledPiece:
    """One stretch of one channel.

    Attributes:
        values: [L] float64; missing points on straight lines.
        observed: [L] bool.
        low, high: what of the series lies in the reviewed window of the stretch, as half-open positions; empty where
            the series no longer (or not yet) holds these times.
    """

    values: FloatArray
    observed: BoolArray
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Remembered:
    """All stretches of one channel, in its own unit or scaled as the series is."""

    pieces: tuple[RecalledPiece, ...]

    def scaled(self, middle: float, spread: float, far: float) -> Remembered:
        """In deviations from the median of the series, as its evidence is made of."""
        return Remembered(tuple(replace(p, values=((p.values - middle) / spread).clip(-far, far)) for p in self.pieces))

    def distances(self, described: Described, plain: Floats) -> Floats | None:
        """How far each sub-sequence of the series lies from the 3 nearest remembered ones; ``None`` without any.

        A sub-sequence that overlaps a reviewed window in time is not compared with what is remembered of that window:
        what it says of reviewed points is what it would say had nobody reviewed them. Where nothing is left, the
        distance to the rest of the series stands.

        Args:
            described: the sub-sequences of the series, of one length, N.
            plain: [N] their distances to others of the series.
        """
        drawn = list(_drawn(self.pieces, described.length))
        if not drawn:
            return None
        parts = [mean_of(described.standard.values_of(piece.values), described.length.rate) for piece, _ in drawn]
        offsets = np.cumsum([0, *(len(part) for part in parts)])
        starts = np.concatenate([begins + offset for (_, begins), offset in zip(drawn, offsets[:-1], strict=True)])
        table = described.standard.table(np.concatenate(parts), described.length.points, starts)
        rate, counts = described.length.rate, [len(begins) for _, begins in drawn]
        lows = np.repeat([piece.low // rate for piece, _ in drawn], counts)
        highs = np.repeat([-(-piece.high // rate) for piece, _ in drawn], counts)
        found = distances(described, table, lows, highs)
        alone = (described.starts < highs.min()) & (described.starts + described.length.points > lows.max())
        found[alone] = plain[alone]
        return found


def remembered_of(series: Series, channel: int, stretches: Sequence[NormalStretch]) -> Remembered | None:
    """What is remembered of a channel of a series, in the unit that its values are worked on in; ``None`` = nothing.

    A channel is known by its name; the only channel of a series by being the only one.
    """
    pieces = []
    for one in stretches:
        place = _column(series, channel, one.series)
        if place is None or not np.isfinite(one.series.values[:, place]).any():
            continue
        values, observed = fill_missing(tame(one.series.values[:, place], like=series.values[:, channel]))
        low, high = (int(at) for at in np.searchsorted(series.timestamps, one.window))
        pieces.append(RecalledPiece(values, observed, low, high))
    return Remembered(tuple(pieces)) if pieces else None


def _column(series: Series, channel: int, other: Series) -> int | None:
    if len(series.channels) == len(other.channels) == 1:
        return 0
    name = series.channels[channel]
    return other.channels.index(name) if name in other.channels else None


def _drawn(pieces: Sequence[RecalledPiece], length: Length) -> Iterator[tuple[RecalledPiece, np.ndarray]]:
    """At most 128 sub-sequences of all pieces together, drawn with a fixed seed: where they begin in each piece.

    In values of the piece as it is averaged; at least half of the points of each were observed.
    """
    begins = [_begins(piece, length) for piece in pieces]
    total = sum(len(own) for own in begins)
    chosen = np.zeros(total, bool)
    chosen[np.random.default_rng(0).permutation(total)[:REFERENCES]] = True
    first = 0
    for piece, own in zip(pieces, begins, strict=True):
        kept = own[chosen[first : first + len(own)]]
        first += len(own)
        if len(kept):
            yield piece, kept


def _begins(piece: RecalledPiece, length: Length) -> np.ndarray:
    """Where the whole sub-sequences of a piece begin, at the stride of those of the series."""
    begins = np.arange(0, len(piece.values) // length.rate - length.points + 1, length.stride)
    seen = np.concatenate((np.zeros(1, np.int64), np.cumsum(piece.observed)))
    count = seen[begins * length.rate + length.covered] - seen[begins * length.rate]
    return begins[2 * count >= length.covered]
