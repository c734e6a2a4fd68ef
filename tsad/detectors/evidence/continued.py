"""Evidence under a state: of a whole series, or of what new points reach in one that has grown.

Both give the same to the bit: sums are taken up where the pass before left them, products of matrices always have the
same number of rows, and everything else is a matter of each point, or each sub-sequence, by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.core.memory import NormalMemory
from tsad.core.series import Series
from tsad.core.types import BoolArray
from tsad.detectors.evidence.channels import (
    CHANNELS,
    INDEX,
    Beside,
    Evidence,
    period_of,
    rows_of,
    scale_of,
    scaled_values,
    write_row,
)
from tsad.detectors.evidence.course import ChannelState, ContextError, Course, Tail, digest_of
from tsad.detectors.evidence.ranks import Floats
from tsad.detectors.evidence.remembered import remembered_of
from tsad.detectors.evidence.together import cross_residuals
from tsad.detectors.numeric import fill_missing, is_constant, tame

NEARBY = 2048  # points that a pass goes back at least; it goes back farther where rows need it
WIDTHS, PERIODS = 13, 9  # of the longest polynomial block and of the period that it goes back
BLOCK = 128  # points: that block


@dataclass(frozen=True, eq=False)
class SeriesState:
    """What scoring takes from the whole of a series, fitted once.

    Attributes:
        point_id, channels: of the series.
        points: those that it was fitted to.
        varying: numbers of the channels that vary.
        holed: of each of them, whether a value is missing.
        states: of each of them.
        machine: what all channels together give.
    """

    point_id: str
    channels: tuple[str, ...]
    points: int
    varying: tuple[int, ...]
    holed: tuple[bool, ...]
    states: tuple[ChannelState, ...]
    machine: ChannelState

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what it holds."""
        return digest_of(self.arrays() | {"about": self._about()})

    def _about(self) -> npt.NDArray[Any]:
        return np.frombuffer(json.dumps(self.about(), sort_keys=True).encode(), np.uint8)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All its figures by number of the channel and name."""
        found = {f"machine/{name}": array for name, array in self.machine.figures.items()}
        for number, state in zip(self.varying, self.states, strict=True):
            found |= {f"{number}/{name}": array for name, array in state.figures.items()}
        return found

    @classmethod
    def new(cls, series: Series) -> SeriesState:
        """One to be filled by the first pass."""
        varying = tuple(c for c, values in enumerate(series.values.T) if not is_constant(values))
        holed = tuple(not bool(np.isfinite(series.values[:, c]).all()) for c in varying)
        states = tuple(ChannelState() for _ in varying)
        return cls(series.point_id, series.channels, len(series), varying, holed, states, ChannelState())

    @classmethod
    def of(cls, about: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> SeriesState:
        """The inverse of :meth:`about` and :meth:`arrays`."""
        varying = tuple(int(c) for c in about["varying"])
        grouped: dict[str, dict[str, npt.NDArray[Any]]] = {str(c): {} for c in ("machine", *varying)}
        for name, array in arrays.items():
            group, _, figure = name.partition("/")
            grouped[group][figure] = array
        states = tuple(ChannelState(grouped[str(c)], open=False) for c in varying)
        return cls(
            str(about["point_id"]), tuple(about["channels"]), int(about["points"]), varying,
            tuple(bool(h) for h in about["holed"]), states, ChannelState(grouped["machine"], open=False),
        )

    def about(self) -> dict[str, Any]:
        """What it says of the series, JSON-able."""
        return {"point_id": self.point_id, "channels": list(self.channels), "points": self.points,
                "varying": list(self.varying), "holed": list(self.holed)}  # fmt: skip

    def closed(self) -> SeriesState:
        """The same, to which nothing may be added."""
        return replace(self, states=tuple(s.closed() for s in self.states), machine=self.machine.closed())

    def misfit(self, series: Series) -> str:
        """Why it cannot be that of the series, in words; "" where it can."""
        if (self.point_id, self.channels) != (series.point_id, series.channels) or self.points > len(series):
            return "it is of another series"
        if self.varying != tuple(c for c, values in enumerate(series.values.T) if not is_constant(values)):
            return "another channel varies now"
        for channel, holed in zip(self.varying, self.holed, strict=True):
            values = series.values[:, channel]
            if not holed and not np.isfinite(values).all():
                return "the first value is missing"
            if tame(values) is not values:
                return "values are extreme"
        return ""


@dataclass(frozen=True, eq=False)
class Before:
    """What an earlier pass over a channel left.

    Attributes:
        rows: [T] int16, the wanted ones by their names.
        sums: running sums.
    """

    rows: Mapping[str, npt.NDArray[np.int16]]
    sums: dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Continued:
    """Evidence of a channel under a state.

    Attributes:
        changed: the first point of which values or rows are not those of the earlier pass.
        before: for the next pass.
    """

    evidence: Evidence
    changed: int
    before: Before


def continued_evidence(
    series: Series, state: SeriesState, wanted: tuple[str, ...], earlier: tuple[int, list[Before]] | None,
    memory: NormalMemory | None = None,
) -> list[Continued]:  # fmt: skip
    """Evidence of each channel that varies, under the state; an open state is filled.

    Args:
        earlier: how many points the earlier pass saw, which are the same now, and what it left of each channel;
            ``None`` = everything is made.
        memory: what people have called normal of this series and others, the same in every pass.
    """
    known = () if memory is None else memory.of(series.point_id)
    channels, scales, changed = [], [], len(series)
    for number, own in zip(state.varying, state.states, strict=True):
        filled, observed = fill_missing(tame(series.values[:, number]))
        middle, spread = own.numbers("scale", lambda: scale_of(filled))  # noqa: B023
        scales.append((middle, spread))
        channels.append((scaled_values(filled, scales[-1]), observed))
        seen = np.flatnonzero(observed[: earlier[0]]) if earlier else observed[:0]
        changed = min(changed, int(seen[-1]) + 1 if len(seen) else 0)  # a gap at the end is filled anew
    residuals: Floats | None = None
    if len(channels) > 1 and ("others_residual" in wanted or "others_energy" in wanted):
        residuals = cross_residuals(
            np.stack([scaled for scaled, _ in channels], axis=1), Course(state.machine, fixed=True)
        )
    found = []
    for place, (scaled, observed) in enumerate(channels):
        residual = None if residuals is None else residuals[:, place]
        beside = Beside(residual, memory=remembered_of(series, state.varying[place], known))
        beside = beside.scaled(scales[place])
        channel = _Channel(scaled, observed, wanted, beside, state.states[place])
        found.append(channel.whole() if earlier is None else channel.grown(earlier[0], earlier[1][place], changed))
    return found


@dataclass(frozen=True, eq=False)
class _Channel:
    scaled: Floats
    observed: BoolArray
    wanted: tuple[str, ...]
    beside: Beside
    state: ChannelState

    def whole(self) -> Continued:
        course = Course(self.state, {}, fixed=True)
        rows = np.zeros((len(CHANNELS), len(self.scaled)), np.int16)
        self._write(course, rows, 0, 0)
        return self._continued(course, rows, 0)

    def grown(self, total: int, before: Before, changed: int) -> Continued:
        """Rows of what lies before the first change are the earlier ones."""
        period = period_of(self.scaled, Course(self.state)).points
        base = changed - NEARBY - WIDTHS * BLOCK - int(PERIODS * period)
        rows = np.zeros((len(CHANNELS), len(self.scaled)), np.int16)
        for name in self.wanted:
            rows[INDEX[name], :total] = before.rows[name]
        while True:
            base = max(0, base)
            course = Course(self.state, dict(before.sums), fixed=True)
            try:
                first = self._write(course, rows, base, changed)
                break
            except ContextError:  # some row goes back farther than most
                base = len(self.scaled) - 2 * (len(self.scaled) - base)
        first = min(first, changed)
        for name in self.wanted:
            differs = np.flatnonzero(rows[INDEX[name], first:total] != before.rows[name][first:total])
            changed = min(changed, first + int(differs[0])) if len(differs) else changed
        return self._continued(course, rows, changed)

    def _write(self, course: Course, rows: npt.NDArray[np.int16], base: int, changed: int) -> int:
        """Make the wanted rows from the first point on that has changed; that point."""
        x, first = Tail(self.scaled[base:], base, changed), len(self.scaled)
        for name, tail in rows_of(x, period_of(self.scaled, course), self.wanted, self.beside, course):
            write_row(rows[INDEX[name]], tail, self.observed)
            first = min(first, tail.changed)
        return first

    def _continued(self, course: Course, rows: npt.NDArray[np.int16], changed: int) -> Continued:
        evidence = Evidence(self.scaled, self.observed, rows, period_of(self.scaled, course))
        kept = {name: rows[INDEX[name]] for name in self.wanted}
        return Continued(evidence, changed, Before(kept, course.sums))
