"""What is known of a series once a detector has looked at it."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import intervals_to_runs
from tsad.core.memory import NormalMemory
from tsad.core.series import Series
from tsad.core.types import BoolArray, FloatArray, IntArray, Interval, StateUsed
from tsad.detectors.evidence.channels import (
    CHANNELS,
    INDEX,
    REPLACED,
    UNIT,
    Beside,
    Evidence,
    evidence_of,
    scaled_values,
)
from tsad.detectors.evidence.period import Period
from tsad.detectors.evidence.remembered import remembered_of
from tsad.detectors.evidence.together import cross_residuals
from tsad.detectors.numeric import fill_missing, is_constant, tame


@dataclass(frozen=True, eq=False)
class Own:
    """Candidates that a detector made itself, in time order, disjoint.

    Attributes:
        intervals: K of them, each with its confidence, label and note.
        runs: [K, 2] the same as half-open positions.
    """

    intervals: tuple[Interval, ...]
    runs: IntArray

    @classmethod
    def of(cls, candidates: Sequence[Interval], timestamps: IntArray) -> Own:
        """Those of the candidates that cover a point. timestamps [T] ns UTC."""
        held = [(c, intervals_to_runs([c], timestamps)) for c in candidates]
        kept = [(c, run) for c, run in held if len(run)]
        runs = np.concatenate([run for _, run in kept]) if kept else np.empty((0, 2), np.int64)
        return cls(tuple(c for c, _ in kept), runs)


# What stands for rows that the second edition does without, among candidates and their features.
STAND_INS = {
    "neighbour": "cycle", "neighbour_rarity": "cycle_rarity", "middle_neighbour": "short_features",
    "middle_neighbour_rarity": "short_features_rarity", "short_neighbour": "brief_neighbour",
    "short_neighbour_rarity": "brief_neighbour_rarity", "short_core": "brief_core",
}  # fmt: skip
LEADING = ("cycle", "brief_neighbour", "energy")  # rows by which a channel leads where channels have no scores
ScaleLogits = tuple[tuple[int, npt.NDArray[np.float16]], ...]  # (points taken as one, log odds [ceil(T / points)])


@dataclass(frozen=True, eq=False)
class ExaminedChannel:
    """One channel that varies, as far as candidates need it.

    Attributes:
        values: [T] float32, in deviations from the median; missing points on straight lines.
        logits: log odds of the detector's network per scale, at the scale's own rate, finest first; empty without one.
    """

    values: npt.NDArray[np.float32]
    period: Period
    logits: ScaleLogits = ()

    @classmethod
    def of(cls, evidence: Evidence, logits: ScaleLogits = ()) -> ExaminedChannel:
        """What candidates need of a channel's evidence."""
        return cls(evidence.values, evidence.period, logits)

SIDES = ("dip", "spike")  # kinds that differ only by the side of what is around them on which they lie


@dataclass(frozen=True, eq=False)
class Kinds:
    """What a detector thinks each part of a series to be, if it is abnormal.

    Attributes:
        names: K kinds, the normal one left out.
        table: [S, K] float16, weight of each kind in every ``slot`` points; rows need not add up to 1.
        slot: points.
    """

    names: tuple[str, ...]
    table: npt.NDArray[np.float16]
    slot: int

    def name(self, start: int, stop: int, above: bool | None = None) -> tuple[str, float]:
        """The likeliest kind of the points ``[start, stop)`` and its share among the kinds, 0..1.

        Args:
            above: whether they stand out above what is around them: that, and not the table, tells a spike from a dip;
                ``None`` = the table does.
        """
        weights = self.table[start // self.slot : -(-stop // self.slot)].sum(axis=0, dtype=np.float64)
        if above is not None and set(SIDES) <= set(self.names):
            sides = [self.names.index(side) for side in SIDES]
            weights[sides] = np.array([not above, above]) * weights[sides].sum()
        best = int(np.argmax(weights))
        return self.names[best], float(weights[best] / (weights.sum() + 1e-12))


@dataclass(frozen=True, eq=False)
class Opinion:
    """What a member of a committee makes of a series.

    Attributes:
        name: of the member.
        runs: [K, 2] its candidates, half-open positions in order.
        probability: [K] of each, by the weights of before any review.
        height: [T] float32 in 0..4, how unusual its score is at each point.
        intervals: what it would propose by itself.
        asked: [T] which points it was shown; ``None`` = all.
        own: candidates that it made itself, with label and note; none of a member with scores.
    """

    name: str
    runs: IntArray
    probability: FloatArray
    height: npt.NDArray[np.float32]
    intervals: tuple[Interval, ...]
    asked: BoolArray | None = None
    own: tuple[Interval, ...] = ()

    def reason(self, start: int, end: int) -> str:
        """What it says in words of the time ``[start, end)`` ns UTC: the note of its surest candidate there; "" for
        nothing.
        """
        told = [c for c in self.own if c.note.strip("- ") and c.start < end and start < c.end]
        return max(told, key=lambda c: c.score).note if told else ""

    def vote(self, start: int, stop: int) -> float | None:
        """The probability of its likeliest candidate that touches the points ``[start, stop)``, 0 without any;
        ``None`` where it was shown none of them.
        """
        if self.asked is not None and not self.asked[start:stop].any():
            return None
        touching = (self.runs[:, 0] < stop) & (self.runs[:, 1] > start)
        return float(self.probability[touching].max(initial=0.0))


@dataclass(frozen=True, eq=False)
class Examined:
    """Scores and evidence of one series.

    Attributes:
        scores: [T] float64 in 0..1; of a detector without scores the confidence of its candidates, 0 between them.
        own: these candidates; ``None`` = candidates are to be found in scores and evidence.
        rows: [E, T] int16 in steps of ``channels.UNIT``; of several channels, at each point the figure farthest from 0.
        channels: those that vary.
        leading: [T] which of ``channels`` is the most abnormal at each point; ``None`` where there are fewer than two.
        kinds: names what is abnormal where; ``None`` where the detector cannot tell.
        state: what the series was looked at under; ``None`` = afresh.
        opinions: of the members of a committee, the first one's own at the beginning; none of a single detector.
    """

    scores: FloatArray
    rows: npt.NDArray[np.int16]
    own: Own | None = None
    channels: tuple[ExaminedChannel, ...] = ()
    leading: npt.NDArray[np.uint16] | None = None
    kinds: Kinds | None = None
    state: StateUsed | None = None
    opinions: tuple[Opinion, ...] = ()

    def kind_of(self, start: int, stop: int) -> tuple[str, float] | None:
        """The likeliest kind of the points ``[start, stop)`` and its share, where the detector can tell."""
        if self.kinds is None:
            return None
        away = self.rows[INDEX["short_residual"], start:stop]
        farthest = int(away[np.abs(away).argmax()])
        return self.kinds.name(start, stop, farthest > 0 if farthest else None)

    @classmethod
    def plain(
        cls, series: Series, scores: FloatArray, own: Own | None = None, memory: NormalMemory | None = None
    ) -> Examined:
        """What a detector without a network of ours knows: scores, or its own candidates, and the evidence."""
        found = [evidence for _, evidence in channel_evidence(series, memory=memory)]
        heights = (np.sum([np.abs(one.row(name)) for name in LEADING], axis=0) for one in found)
        return cls(scores, combined_rows([one.rows for one in found], len(series)), own,
                   tuple(ExaminedChannel.of(one) for one in found), leading_of(heights))  # fmt: skip

    @cached_property
    def replaced(self) -> bool:
        """Whether the rows that the second edition does without were left out: others stand for them."""
        return not any(self.rows[INDEX[name]].any() for name in REPLACED)

    def place(self, name: str) -> int:
        """Where a statistic stands in ``rows``: its own row, or the one that stands for it."""
        return INDEX[STAND_INS.get(name, name) if self.replaced else name]

    def row(self, name: str) -> npt.NDArray[np.float32]:
        """One statistic as float32, [T]; of one that was left out what stands for it."""
        return self.rows[self.place(name)] * np.float32(UNIT)


def leading_of(heights: Iterable[npt.NDArray[np.floating]]) -> npt.NDArray[np.uint16] | None:
    """Number of the highest channel at each point, the first of equals; ``None`` of fewer than two. [T] each -> [T]."""
    remaining = iter(heights)
    first, second = next(remaining, None), next(remaining, None)
    if first is None or second is None:
        return None
    highest, leading = first.copy(), np.zeros(len(first), np.uint16)
    for number, height in enumerate(itertools.chain([second], remaining), start=1):
        higher = height > highest
        highest[higher], leading[higher] = height[higher], number
    return leading


def channel_evidence(
    series: Series, wanted: Container[str] = CHANNELS, memory: NormalMemory | None = None
) -> Iterator[tuple[int, Evidence]]:
    """Number and evidence of each channel that varies.

    Args:
        wanted: rows that are needed.
        memory: what people have called normal of this series and others.
    """
    known = () if memory is None else memory.of(series.point_id)
    varying = [c for c, values in enumerate(series.values.T) if not is_constant(values)]
    residuals: npt.NDArray[np.float32] | None = None
    if len(varying) > 1 and ("others_residual" in wanted or "others_energy" in wanted):
        filled = (fill_missing(tame(series.values[:, c]))[0] for c in varying)
        residuals = cross_residuals(np.stack([scaled_values(values) for values in filled], axis=1))
    for place, channel in enumerate(varying):
        residual = None if residuals is None else residuals[:, place]
        beside = Beside(residual, memory=remembered_of(series, channel, known))
        yield channel, evidence_of(tame(series.values[:, channel]), wanted, beside)


def combined_rows(channels: Sequence[npt.NDArray[np.int16]], length: int) -> npt.NDArray[np.int16]:
    """At each point, of each statistic, the figure farthest from 0; zeros where there is no channel."""
    if not channels:
        return np.zeros((len(CHANNELS), length), np.int16)
    together = channels[0]
    for rows in channels[1:]:
        together = np.where(np.abs(rows) > np.abs(together), rows, together)
    return together
