"""One pass over a channel: what its whole series once gave, and where the pass begins.

The rows of evidence take scales, ranks, references and a period from the whole series. A pass writes them into a state
where there is none yet, and reads them from it otherwise; so a series that has grown can be looked at as it was before,
and only what its new points reach has to be made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.detectors.evidence import ranks
from tsad.detectors.evidence.ranks import MARK, Floats

Array = npt.NDArray[Any]


class ContextError(Exception):
    """A pass began too late: never seen outside, the pass is made again from ``begin`` on."""

    def __init__(self, begin: int) -> None:
        self.begin = max(0, begin)
        super().__init__(f"needs points from {begin} on")


@dataclass(frozen=True, eq=False)
class Tail:
    """A figure of the points from ``begin`` to the end of the series.

    Attributes:
        values: [T - begin] float32.
        changed: the first point at which it may differ from what the pass before gave; not before ``begin``.
    """

    values: Floats
    begin: int = 0
    changed: int = 0

    @property
    def total(self) -> int:
        """Points of the series."""
        return self.begin + len(self.values)

    def map(self, make: Callable[[Floats], Floats]) -> Tail:
        """Another figure of each point by itself."""
        return replace(self, values=make(self.values))

    def fresh(self) -> Tail:
        """Of what has changed alone."""
        return Tail(self.since(self.changed), self.changed, self.changed)

    def since(self, first: int) -> Floats:
        """The figures of the points from ``first`` on.

        Raises:
            ContextError: the pass began later.
        """
        if first < self.begin:
            raise ContextError(first)
        return self.values[first - self.begin :]


@dataclass(frozen=True, eq=False)
class ChannelState:
    """What one channel's rows take from its whole series: named arrays, written once.

    Attributes:
        figures: by the name of the row (or the group) and of the figure.
        open: whether a figure that is not there may be made.
    """

    figures: dict[str, Array] = field(default_factory=dict)
    open: bool = True

    def arrays(self, name: str, make: Callable[[], tuple[Array, ...]]) -> tuple[Array, ...]:
        """The arrays kept under a name; made where there are none yet."""
        if f"{name}.0" not in self.figures:
            if not self.open:
                raise KeyError(f"the state holds no {name}")
            self.figures.update({f"{name}.{k}": np.asarray(array) for k, array in enumerate(make())})
        count = 0
        while f"{name}.{count}" in self.figures:
            count += 1
        return tuple(self.figures[f"{name}.{k}"] for k in range(count))

    def numbers(self, name: str, make: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
        """The same of a few numbers, in double precision."""
        (kept,) = self.arrays(name, lambda: (np.array(make(), np.float64),))
        return tuple(float(v) for v in kept)

    def closed(self) -> ChannelState:
        """The same, to which nothing may be added."""
        return ChannelState(self.figures, open=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all figures by their names."""
        return digest_of(self.figures)


def digest_of(arrays: Mapping[str, Array]) -> str:
    """SHA-256 (hex) of arrays with names, types, shapes and values."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class Course:
    """A pass over one channel.

    Attributes:
        state: what the whole series gives, or once gave.
        sums: running sums at every 256th point, by name, as the pass before left them; this one goes on from them.
        fixed: whether products of matrices always have the same number of rows: their last bits may depend on it, and
            then on where the pass began.
    """

    state: ChannelState = field(default_factory=ChannelState)
    sums: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    fixed: bool = False

    def running(self, name: str, terms: Floats, first: int, mark: int = MARK) -> npt.NDArray[np.float64]:
        """Sums of the first 0, 1, ... terms, from the ``first`` on, a multiple of ``mark``. [N] -> [N + 1].

        terms: those from the ``first`` on. Added one by one in double precision, so that a sum is the same to the bit
        wherever the pass began.
        """
        known = self.sums.get(name, np.zeros(1))[: first // mark + 1]
        if first:
            total = np.cumsum(np.concatenate((known[-1:], terms), dtype=np.float64))
        else:
            total = np.zeros(len(terms) + 1)
            np.cumsum(terms, dtype=np.float64, out=total[1:])
        if self.fixed:
            self.sums[name] = np.concatenate((known, total[mark::mark]))
        return total

    def box(self, name: str, tail: Tail, width: float, lead: int = 0) -> Tail:
        """Mean of a figure over ``width`` points, rounded up to an odd number, edges held; float64 inside.

        Args:
            name: of its running sums.
            lead: points before the first that has changed of which the mean is wanted, too.
        """
        size = int(max(1, width)) | 1
        if size == 1:
            return tail
        half, changed = size // 2, max(0, tail.changed - size // 2)
        first = max(0, changed - lead) // MARK * MARK if tail.begin else 0
        # sums begin after half a box of held values: their first term is the edge's own
        edge = np.full(half, tail.values[0]) if first == 0 and tail.begin == 0 else tail.values[:0]
        held = np.concatenate((edge, tail.since(max(0, first - half)), np.full(half, tail.values[-1])))
        total = self.running(name, held, first)
        out = np.empty(tail.total - first, np.float32)
        for start in range(0, len(out), ranks.PART):  # a series may have millions of points: no second array of doubles
            stop = min(start + ranks.PART, len(out))
            out[start:stop] = (total[start + size : stop + size] - total[start:stop]) / size
        return Tail(out, first, changed)

    def rarity(self, name: str, tail: Tail) -> Tail:
        """:func:`ranks.rarity` by the table of the whole series."""
        at, figures = self.state.arrays(f"{name}.ranks", lambda: ranks.rarity_table(tail.values))
        return tail.fresh().map(lambda v: ranks.looked_up(v, at, figures))

    def signed_rarity(self, name: str, tail: Tail) -> Tail:
        """:func:`ranks.signed_rarity` by the table of the whole series."""
        at, figures = self.state.arrays(f"{name}.ranks", lambda: ranks.signed_rarity_table(tail.values))
        return tail.fresh().map(lambda v: ranks.looked_up(v, at, figures))

    def positive(self, name: str, tail: Tail) -> Tail:
        """:func:`ranks.positive` on the scale of the whole series."""
        scale = self.state.numbers(f"{name}.scale", lambda: tuple(ranks.quantiles(tail.values, (0.5, 0.9))))
        return tail.fresh().map(lambda v: ranks.positive(v, scale))

    def signed(self, name: str, tail: Tail, floor: float) -> Tail:
        """:func:`ranks.signed` in the unit of the whole series."""
        (usual,) = self.state.numbers(f"{name}.usual", lambda: (ranks.quantiles(np.abs(tail.values), (0.5,))[0],))
        return tail.fresh().map(lambda v: ranks.signed(v, floor, usual))
