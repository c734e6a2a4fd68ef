"""From scores to intervals: runs of points that score at least a threshold. Which threshold, say the ``rules``."""

from __future__ import annotations

import numpy as np

from tsad.core.intervals import merge_runs, runs_of, runs_to_intervals
from tsad.core.options import ThresholdOptions
from tsad.core.types import FloatArray, IntArray, Interval


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
