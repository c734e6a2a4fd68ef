"""Proposals from scores alone: points above a threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsad.core.intervals import merge_runs, runs_of, runs_to_intervals
from tsad.core.options import ThresholdOptions
from tsad.core.series import Series
from tsad.core.types import Detection, FloatArray, IntArray, Interval, Origin

if TYPE_CHECKING:
    from tsad.core.protocols import Examining


@dataclass(frozen=True)
class PointThreshold:
    """The :class:`~tsad.core.protocols.Proposing` that compares each point's score with a threshold.

    Attributes:
        threshold: score from which a point counts as abnormal, 0..1.
        options: what is joined, dropped and cut.
    """

    threshold: float
    options: ThresholdOptions
    origin: Origin

    def propose(self, detector: Examining, series: Sequence[Series]) -> Iterator[Detection]:
        """Runs of points above the threshold; of a detector without scores the candidates that reach it."""
        if not detector.scored:
            for one in series:
                candidates = detector.candidates(one)
                chosen = tuple(c for c in candidates if c.score >= self.threshold)
                yield Detection(one.point_id, None, chosen, self.origin, self.threshold, candidates)
            return
        for one, scores in zip(series, detector.score(series), strict=True):
            intervals = to_intervals(scores, one.timestamps, self.threshold, self.options)
            yield Detection(one.point_id, scores, intervals, self.origin, self.threshold)


def to_intervals(
    scores: FloatArray, timestamps: IntArray, threshold: float, options: ThresholdOptions
) -> tuple[Interval, ...]:
    """Proposals: runs of points that score at least ``threshold``, in time order, disjoint.

    Runs at most ``merge_gap`` points apart become one; then those shorter than ``min_length`` points are dropped
    and those longer than ``max_length`` (0 = unbounded) cut to the stretch with the highest mean score. The score
    of an interval is the highest inside it. scores [T] in 0..1, NaN = no proposal; timestamps [T] ns UTC.
    """
    return runs_to_intervals(to_runs(scores, threshold, options), timestamps, scores)


def to_runs(scores: FloatArray, threshold: float, options: ThresholdOptions) -> IntArray:
    """The same proposals as half-open positions, [K, 2]."""
    runs = merge_runs(runs_of(scores >= threshold), options.merge_gap)
    runs = runs[runs[:, 1] - runs[:, 0] >= options.min_length]
    if options.max_length > 0:
        for k in np.flatnonzero(runs[:, 1] - runs[:, 0] > options.max_length):
            runs[k] = _highest_stretch(scores, int(runs[k, 0]), int(runs[k, 1]), options.max_length)
    return runs


def _highest_stretch(scores: FloatArray, start: int, stop: int, length: int) -> tuple[int, int]:
    total = np.concatenate(([0.0], np.cumsum(np.nan_to_num(scores[start:stop]))))
    first = start + int(np.argmax(total[length:] - total[:-length]))
    return first, first + length
