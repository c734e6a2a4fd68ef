"""The hour that a clock shows twice, told by the order of the rows."""

from __future__ import annotations

import numpy as np

from tsad.core.types import IntArray

_APART = 6 * 3600 * 10**9  # ns: times further apart belong to different clock changes


def inferred(naive: IntArray, unclear: IntArray) -> IntArray:
    """Which of two passes each time of a repeated hour belongs to. [T]: 1 = the first, 0 = the second, -1 = unknown.

    In order of the rows the hour is there twice, and the clock steps back between the two passes, once; in files with
    the newest row first it steps forward. An hour that is there once may be either.

    Args:
        naive: [T] ns of the clock, in the order of the rows.
        unclear: [K] positions of the times that happen twice.
    """
    first = np.zeros(len(naive), np.int64)
    edges = np.flatnonzero(np.abs(np.diff(naive[unclear])) > _APART) + 1
    falling = bool(naive[0] > naive[-1])
    for group in np.split(unclear, edges):
        steps = np.diff(naive[group]) * (-1 if falling else 1)
        back = np.flatnonzero(steps <= 0)
        # a row that is there twice is no second pass
        if len(back) != 1 or (steps[back[0]] == 0 and len(group) > 2):
            first[group] = -1
            continue
        passes = np.arange(len(group)) <= back[0]
        first[group] = (~passes if falling else passes).astype(np.int64)
    return first
