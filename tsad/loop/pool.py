"""What a queue is drawn from: windows that nobody has answered, and what is known of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.intervals import confidence_along, intervals_to_mask, point_scores
from tsad.core.reviews import ReviewedWindow
from tsad.core.series import Series, Window
from tsad.core.types import BoolArray, Detection, FloatArray, IntArray, Interval
from tsad.embeddings.stretches import Usual, outlines_of
from tsad.embeddings.table import Embedded, likeness_of, twins_of
from tsad.loop.alike import Spot, distances, judged_spots, spot_in
from tsad.loop.embedding import embedding_of

if TYPE_CHECKING:
    from tsad.core.options import ThresholdOptions
    from tsad.review.strategies.base import Pool


@dataclass(frozen=True, eq=False)
class ScoredSeries:
    """Series with what the champion says of them.

    Attributes:
        runs: how its scores become intervals, where it makes no candidates.
    """

    series: Sequence[Series]
    detections: Sequence[Detection]
    runs: ThresholdOptions

    @cached_property
    def usual(self) -> Mapping[str, Usual]:
        """Level and spread of each whole series by point: what is kept of reviewed windows are excerpts."""
        return {one.point_id: Usual.of(one) for one in self.series}

    def peaks(self, windows: Sequence[Window]) -> FloatArray:
        """How likely each window holds an anomaly, [K]: its highest candidate's probability, else its highest score."""
        along = {id(s): _along(s, d) for s, d in zip(self.series, self.detections, strict=True)}
        return np.array([along[id(w.series)][w.start : w.stop].max() for w in windows])

    def dissent(self, windows: Sequence[Window]) -> FloatArray:
        """How far the members of a committee disagree, [K] in 0..1: 1 = at some point half of them propose something.

        Four times the variance of the votes, at the point of a window where it is highest.
        """
        split = {id(s): _dissent(s, d) for s, d in zip(self.series, self.detections, strict=True)}
        return np.array([split[id(w.series)][w.start : w.stop].max() for w in windows])

    def surest(self, windows: Sequence[Window]) -> list[Spot | None]:
        """The likeliest candidate that begins in each window; ``None`` where none does."""
        own = {id(s): _considered(d) for s, d in zip(self.series, self.detections, strict=True)}
        spots: list[Spot | None] = []
        for window in windows:
            intervals, starts = own[id(window.series)]
            low, high = np.searchsorted(starts, window.span)
            best = max(intervals[low:high], key=lambda i: i.score, default=None)
            spots.append(None if best is None else spot_in(window, best))
        return spots


@dataclass(frozen=True, eq=False)
class EarlierReviews:
    """What is known from earlier queues: ids of windows left in conflict, and what people have reviewed."""

    conflicts: Collection[str] = ()
    reviewed: Sequence[ReviewedWindow] = ()


def pool_of(bench: Workbench, windows: Sequence[Window], scored: ScoredSeries, before: EarlierReviews) -> Pool:
    """The windows with what the strategy asks for, and which of them are all but the same.

    Raises:
        EmbeddingError: the detector has no base model to embed with.
    """
    from tsad.review.strategies.base import Pool, doubts_of

    strategy = bench.strategy
    asked, once = strategy.asks_for, strategy.settings.once
    peaks, threshold = scored.peaks(windows), scored.detections[0].threshold
    groups, answered = _twins(windows, scored, before, once) if once > 0 else (None, None)
    return Pool(
        windows, peaks, doubts_of(peaks, threshold), scored.dissent(windows) if "dissent" in asked else None,
        _likeness(bench, windows, scored, before) if "likeness" in asked else None,
        _embedded(bench, windows, scored, before) if "embedded" in asked else None, groups, answered,
    )  # fmt: skip


def _twins(
    windows: Sequence[Window], scored: ScoredSeries, before: EarlierReviews, within: float
) -> tuple[IntArray, BoolArray]:
    """Groups of windows that are all but the same, and which of them people have answered in another one. [N], [N]."""
    known = scored.usual
    outlines = outlines_of([*(r.window for r in before.reviewed), *windows], known)
    count = len(before.reviewed)
    return twins_of(outlines[:count], outlines[count:], within)


def _likeness(bench: Workbench, windows: Sequence[Window], scored: ScoredSeries, before: EarlierReviews) -> FloatArray:
    """1 = a candidate looks exactly like one that people have judged, 0 = like none, or there is none. [N]."""
    likeness, references = np.zeros(len(windows)), judged_spots(before.reviewed)
    known = [(k, spot) for k, spot in enumerate(scored.surest(windows)) if spot is not None]
    if known and references:
        model = embedding_of(bench, bench.strategy.embedding)
        away, _ = distances(model, references, [spot for _, spot in known], scored.usual)
        likeness[[k for k, _ in known]] = likeness_of(away)
    return likeness


def _embedded(bench: Workbench, windows: Sequence[Window], scored: ScoredSeries, before: EarlierReviews) -> Embedded:
    """The windows, and after them those that people have reviewed."""
    every = [*windows, *(r.window for r in before.reviewed)]
    return embedding_of(bench, bench.strategy.embedding).of(every, scored.usual)[0]


def _along(series: Series, detection: Detection) -> FloatArray:
    """[T] the probability of the candidate at each point, 0 between them; the scores where there are no candidates."""
    if detection.candidates is None:
        return point_scores(detection, series.timestamps)
    return confidence_along(detection.candidates, series.timestamps)


def _dissent(series: Series, detection: Detection) -> FloatArray:
    if not detection.opinions:
        return np.zeros(len(series))
    votes = [intervals_to_mask(opinion.intervals, series.timestamps) for opinion in detection.opinions]
    share = np.mean(votes, axis=0)
    return np.asarray(4.0 * share * (1.0 - share))


def _considered(detection: Detection) -> tuple[tuple[Interval, ...], IntArray]:
    """Candidates, or proposals where it makes none, and where they start."""
    intervals = detection.intervals if detection.candidates is None else detection.candidates
    return intervals, np.array([i.start for i in intervals], np.int64)
