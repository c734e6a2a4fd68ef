"""Which windows are gold: no training run may read them, every iteration is scored on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tsad.core.intervals import clip
from tsad.core.series import Series, Window
from tsad.core.windows import cut


@dataclass(frozen=True)
class GoldSplit:
    """Windows of labelled series kept for scoring, and all others; never one in both, nor overlapping in time."""

    gold: list[Window]
    pool: list[Window]


def reviewable(windows: Sequence[Window]) -> list[Window]:
    """The windows that hold at least one value; of the others nobody could say anything."""
    return [w for w in windows if np.isfinite(w.values).any()]


def is_disputed(window: Window) -> bool:
    """Whether it touches a stretch that the source's own annotators disagree about: nobody knows the truth there."""
    return bool(window.series.disputed) and bool(clip(window.series.disputed, *window.span))


def split_at(series: Sequence[Series], starts: Mapping[int, int], length: int) -> GoldSplit:
    """Series split into gold and pool, in windows of ``length`` points; disputed windows go to the pool.

    Args:
        starts: first gold position by ``id`` of the series; none = all of it goes to the pool.
    """
    gold, pool = [], []
    for item in series:
        start = starts.get(id(item), len(item))
        held_windows = cut(item, length, start)
        pool += [*cut(item, length, 0, start), *(w for w in held_windows if is_disputed(w))]
        gold += [w for w in held_windows if not is_disputed(w)]
    return GoldSplit(reviewable(gold), reviewable(pool))
