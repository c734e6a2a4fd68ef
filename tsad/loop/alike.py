"""What of series is held against each other: candidates in their surroundings, or whole windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tsad.core.intervals import intervals_to_runs
from tsad.core.reviews import ReviewedWindow
from tsad.core.series import Window
from tsad.core.types import Detection, FloatArray, Interval
from tsad.embeddings.kept import KeptEmbedding
from tsad.embeddings.stretches import Usual, around


@dataclass(frozen=True, eq=False)
class Spot:
    """A place in a series that others are held against.

    Attributes:
        window: the reviewed unit that it lies in.
        view: the points that are embedded.
        interval: what is considered abnormal there; ``None`` = the window as a whole.
    """

    window: Window
    view: Window
    interval: Interval | None = None

    @property
    def span(self) -> tuple[int, int]:
        """ns UTC, half-open."""
        return (self.interval.start, self.interval.end) if self.interval else self.window.span

    def meets(self, other: Spot) -> bool:
        """Whether the two share time on one point."""
        (start, end), (first, last) = self.span, other.span
        return self.window.point_id == other.window.point_id and start < last and first < end


def spot_in(window: Window, interval: Interval | None) -> Spot | None:
    """An interval of a window in its surroundings, the window itself for none; ``None`` where it covers no point."""
    if interval is None:
        return Spot(window, window)
    runs = intervals_to_runs([interval], window.series.timestamps)
    return Spot(window, around(window.series, int(runs[0, 0]), int(runs[0, 1])), interval) if len(runs) else None


def considered(detections: Sequence[Detection], windows: Sequence[Window]) -> list[Spot]:
    """Everything that a version considers: its candidates, or what it proposes where it makes none.

    Args:
        windows: all of each series that was detected in, in order and without a gap.
    """
    by_point: dict[str, list[Window]] = {}
    for window in windows:
        by_point.setdefault(window.point_id, []).append(window)
    spots: list[Spot] = []
    for detection in detections:
        own = by_point[detection.point_id]
        series, starts = own[0].series, np.array([w.start for w in own])
        intervals = detection.intervals if detection.candidates is None else detection.candidates
        for interval in intervals:
            runs = intervals_to_runs([interval], series.timestamps)
            if len(runs):
                middle = int(runs[0].sum() - 1) // 2
                owner = own[int(np.searchsorted(starts, middle, side="right")) - 1]
                spots.append(Spot(owner, around(series, int(runs[0, 0]), int(runs[0, 1])), interval))
    return spots


def judged_spots(reviewed: Iterable[ReviewedWindow]) -> list[Spot]:
    """What people have confirmed or drawn, and what they have rejected of what was proposed."""
    spots = []
    for one in reviewed:
        rejected = [p for p in one.choice.proposal or () if not any(p.overlaps(true) for true in one.intervals)]
        spots += [spot_in(one.window, interval) for interval in (*one.intervals, *rejected)]
    return [spot for spot in spots if spot is not None]


def distances(
    embedding: KeptEmbedding, of: Sequence[Spot], others: Sequence[Spot], known: Mapping[str, Usual] | None = None
) -> tuple[FloatArray, int]:
    """From the nearest of ``of`` to each of the others, 0..2, and how many vectors were kept from before. [N].

    Args:
        known: level and spread of whole series by point, where spots lie in mere excerpts of them.
    """
    table, kept = embedding.of([spot.view for spot in (*of, *others)], known)
    near = table.nearest(np.arange(len(of), dtype=np.int64))
    return near[len(of) :], kept
