"""Where a proposal begins and ends: what people have drawn, against what was proposed there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.metrics.interval import candidate_pairs

WAIT = 3.0  # drawn intervals that the usual margins count as


class Margins(NamedTuple):
    """Points that a proposal begins earlier and ends later than its candidates; below 0 it is shorter."""

    before: int = 0
    after: int = 0


NOTHING: IntArray = np.zeros((0, 2), np.int64)
USUAL = Margins(1, 0)  # scores rise a point after what people call the beginning (three of four development sets)


def widened(runs: IntArray, margins: Margins, total: int, barred: IntArray = NOTHING) -> IntArray:
    """The runs [K, 2] with their margins, disjoint, in time order, within ``total`` points.

    No margin is longer than the run itself, so that a doubtful spike stays short; none reaches beyond the middle of the
    gap to the neighbour, takes the middle of the run, or enters what is barred [N, 2] (disjoint, in time order).
    """
    if len(runs) == 0:
        return runs
    size = runs[:, 1] - runs[:, 0]
    middle = (runs[:, 0] + runs[:, 1]) // 2
    starts = np.minimum(runs[:, 0] - np.minimum(margins.before, size), middle)
    stops = np.maximum(runs[:, 1] + np.minimum(margins.after, size), middle + 1)
    between = (runs[1:, 0] + runs[:-1, 1]) // 2
    starts[1:], stops[:-1] = np.maximum(starts[1:], between), np.minimum(stops[:-1], between)
    ends, begins = np.append(0, barred[:, 1]), np.append(barred[:, 0], total)
    before = ends[np.searchsorted(barred[:, 1], runs[:, 0], side="right")]
    after = begins[np.searchsorted(barred[:, 0], runs[:, 1], side="left")]
    return np.stack((np.maximum(starts, before), np.minimum(stops, after)), axis=1)


def drawn_inside(truth: BoolArray, reviewed: BoolArray) -> IntArray:
    """Intervals that people drew and that end before the reviewed points do: their boundaries are known. [D, 2].

    truth [T]: points called abnormal; reviewed [T]: points looked at.
    """
    runs = runs_of(truth & reviewed)
    padded = np.concatenate(([False], reviewed, [False]))
    return runs[padded[runs[:, 0]] & padded[runs[:, 1] + 1]]


class Pairs(NamedTuple):
    """Proposed and drawn intervals that were matched one to one, [M, 2] each, and their IoU, [M]."""

    proposed: IntArray
    drawn: IntArray
    shared: FloatArray

    @property
    def errors(self) -> IntArray:
        """Proposed less drawn start and end, in points. [M, 2]."""
        return self.proposed - self.drawn


def best_pairs(proposed: IntArray, drawn: IntArray) -> Pairs:
    """What overlaps, matched one to one, the pairs that share most first. proposed [K, 2], drawn [D, 2]."""
    of_drawn, of_proposed = candidate_pairs(drawn, proposed, 0.0)
    ours, theirs = proposed[of_proposed], drawn[of_drawn]
    low, high = np.minimum(ours, theirs), np.maximum(ours, theirs)
    shared = (low[:, 1] - high[:, 0]) / np.maximum(high[:, 1] - low[:, 0], 1)
    free_drawn, free_proposed, kept = np.ones(len(drawn), bool), np.ones(len(proposed), bool), []
    for pair in np.argsort(-shared, kind="stable"):
        if free_drawn[of_drawn[pair]] and free_proposed[of_proposed[pair]]:
            free_drawn[of_drawn[pair]] = free_proposed[of_proposed[pair]] = False
            kept.append(int(pair))
    return Pairs(ours[kept], theirs[kept], shared[kept])


def learned_margins(errors: Sequence[IntArray], usual: Margins) -> Margins:
    """The median of what would have been right, drawn towards the usual margins as if 3 intervals had asked for them.

    errors: :attr:`Pairs.errors` of each series.
    """
    every = np.concatenate([np.zeros((0, 2), np.int64), *errors])
    if len(every) == 0:
        return usual
    weight = len(every) / (len(every) + WAIT)
    early, late = np.median(every, axis=0)
    return Margins(
        round(weight * float(early) + (1 - weight) * usual.before),
        round(-weight * float(late) + (1 - weight) * usual.after),
    )
