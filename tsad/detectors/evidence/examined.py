"""What is known of a series once a detector has looked at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import intervals_to_runs
from tsad.core.series import Series
from tsad.core.types import FloatArray, IntArray, Interval
from tsad.detectors.evidence.channels import CHANNELS, INDEX, UNIT, evidence_of
from tsad.detectors.numeric import is_constant, tame


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

    def name(self, start: int, stop: int) -> tuple[str, float]:
        """The likeliest kind of the points ``[start, stop)`` and its share among the kinds, 0..1."""
        weights = self.table[start // self.slot : -(-stop // self.slot)].sum(axis=0, dtype=np.float64)
        best = int(np.argmax(weights))
        return self.names[best], float(weights[best] / (weights.sum() + 1e-12))


@dataclass(frozen=True, eq=False)
class Examined:
    """Scores and evidence of one series.

    Attributes:
        scores: [T] float64 in 0..1; of a detector without scores the confidence of its candidates, 0 between them.
        own: these candidates; ``None`` = candidates are to be found in scores and evidence.
        kinds: names what is abnormal where; ``None`` where the detector cannot tell.
        rows: [E, T] int16 in steps of ``channels.UNIT``; of several channels, at each point the figure farthest from 0.
    """

    scores: FloatArray
    rows: npt.NDArray[np.int16]
    own: Own | None = None
    kinds: Kinds | None = None

    def row(self, name: str) -> npt.NDArray[np.float32]:
        """One statistic as float32, [T]."""
        return self.rows[INDEX[name]] * np.float32(UNIT)


def series_rows(series: Series) -> npt.NDArray[np.int16]:
    """The evidence of all channels of a series in one, [E, T]."""
    rows = (evidence_of(tame(values)).rows for values in series.values.T if not is_constant(values))
    return combined_rows(list(rows), len(series))


def combined_rows(channels: Sequence[npt.NDArray[np.int16]], length: int) -> npt.NDArray[np.int16]:
    """At each point, of each statistic, the figure farthest from 0; zeros where there is no channel."""
    if not channels:
        return np.zeros((len(CHANNELS), length), np.int16)
    together = channels[0]
    for rows in channels[1:]:
        together = np.where(np.abs(rows) > np.abs(together), rows, together)
    return together
