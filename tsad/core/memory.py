"""What people have called normal, series by series: part of a version, so that what it says can be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tsad.core.errors import TrainingError
from tsad.core.intervals import intervals_to_mask, mask_of_runs, runs_of
from tsad.core.reviews import DatasetVersion, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import BoolArray

MARGIN = 8  # points on either side of what people drew: where an anomaly begins and ends is never drawn to the point
SHORTEST = 8  # points of a stretch: as many as the shortest sub-sequence that is compared
PIECE = 256  # points that are drawn together where not all can be kept


@dataclass(frozen=True, eq=False)
class NormalStretch:
    """Neighbouring points of one reviewed window that people left as normal.

    Attributes:
        series: these points alone, without labels.
        window: start and end of the whole window, ns UTC, half-open: nothing in it is compared with the stretch.
    """

    series: Series
    window: tuple[int, int]


@dataclass(frozen=True, eq=False)
class NormalMemory:
    """Stretches of reviewed windows that people left as normal, by ``point_id``, each in order of time."""

    stretches: Mapping[str, tuple[NormalStretch, ...]] = field(default_factory=dict)

    def of(self, point_id: str) -> tuple[NormalStretch, ...]:
        """Those of a series; none where nobody has looked at it."""
        return self.stretches.get(point_id, ())

    @property
    def points(self) -> int:
        """Points of all series together."""
        return sum(len(one.series) for own in self.stretches.values() for one in own)


def remembered(version: DatasetVersion, most: int) -> NormalMemory | None:
    """The memory that a training dataset version gives; ``None`` where nothing in it is normal.

    Args:
        most: points kept of each series, see :func:`normal_memory`; 0 = no memory.

    Raises:
        TrainingError: the version is a gold set.
    """
    if version.purpose != Purpose.TRAIN:
        raise TrainingError(f"Dataset version {version.digest} is a gold set", "Gold windows are never remembered.")
    if not most:
        return None
    windows = ((r.window, intervals_to_mask(r.intervals, r.window.timestamps)) for r in version.windows)
    memory = normal_memory(windows, most)
    return memory if memory.stretches else None


def normal_memory(reviewed: Iterable[tuple[Window, BoolArray]], most: int) -> NormalMemory:
    """What of reviewed windows lies at least ``MARGIN`` points from everything abnormal.

    Args:
        reviewed: windows, each with the points that people call abnormal, [L] bool.
        most: points kept of each series; of more, pieces of at most ``PIECE`` points are drawn with a fixed seed.
    """
    found: dict[str, list[NormalStretch]] = {}
    for window, abnormal in reviewed:
        near = mask_of_runs(runs_of(abnormal) + np.array([-MARGIN, MARGIN]), len(window))
        for start, stop in runs_of(~near).tolist():
            if stop - start >= SHORTEST:
                found.setdefault(window.point_id, []).append(_stretch(window, start, stop))
    thinned = {point: _thinned(own, most) for point, own in sorted(found.items())}
    return NormalMemory({point: own for point, own in thinned.items() if own})


def _stretch(window: Window, start: int, stop: int) -> NormalStretch:
    series, part = window.series, slice(window.start + start, window.start + stop)
    return NormalStretch(
        Series(series.point_id, series.timestamps[part], series.values[part], series.channels, series.time_kind),
        window.span,
    )


def _thinned(stretches: Sequence[NormalStretch], most: int) -> tuple[NormalStretch, ...]:
    """At most ``most`` points of them, in order of time."""
    kept = list(stretches)
    if sum(len(one.series) for one in kept) > most:
        size, left = min(PIECE, most), most
        pieces = [
            NormalStretch(one.series.slice(start, start + size), one.window)
            for one in sorted(kept, key=_begin)
            for start in range(0, len(one.series), size)
        ]
        kept = []
        for k in np.random.default_rng(0).permutation(len(pieces)):
            if SHORTEST <= len(pieces[k].series) <= left:
                kept.append(pieces[k])
                left -= len(pieces[k].series)
    return tuple(sorted(kept, key=_begin))


def _begin(stretch: NormalStretch) -> int:
    return int(stretch.series.timestamps[0])
