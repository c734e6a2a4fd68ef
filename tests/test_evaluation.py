"""What the gold set counts: each interval once, whatever windows cut it."""

from __future__ import annotations

import numpy as np

from tsad.core.intervals import clip, intervals_to_mask
from tsad.core.reviews import Annotation, Choice, DatasetVersion, Purpose, ReviewedWindow, ReviewState, true_intervals
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, Interval
from tsad.core.windows import cut
from tsad.metrics.units import Unit, summarise
from tsad.steps.assets import _true_intervals
from tsad.steps.showing import _lengths, _points
from tsad.training.records import window_record

SPANS = ((20, 30), (95, 110), (100, 100), (190, 205), (250, 260))


def gold(probability: float = 1.0) -> DatasetVersion:
    """300 points in three windows; two of the intervals cross a border."""
    stamps = np.arange(300) * 60 * NS_PER_SECOND
    series = Series("p", stamps, np.zeros((300, 1)))
    labels = [Interval(int(stamps[a]), int(stamps[b])) for a, b in SPANS if b > a]
    windows = []
    for window in cut(series, 100):
        truth = clip(labels, *window.span)
        choice = Choice(window, probability, "given", Purpose.GOLD)
        windows.append(ReviewedWindow(choice, (Annotation("labels", truth),), ReviewState.CORRECTED, truth))
    return DatasetVersion("abc", tuple(windows), Purpose.GOLD)


def test_every_place_counts_gold_intervals_alike() -> None:
    version = gold()
    assert sum(len(w.intervals) for w in version.windows) == 6, "two are cut by the border of windows"
    assert true_intervals(version.windows) == 4
    assert _true_intervals([window_record(w, 0) for w in version.windows]) == 4
    (point,) = _points(version)
    assert (point.intervals, point.longest, point.positive) == (4, 15, 3)
    assert sorted(_lengths(version)["p"]) == [10, 10, 15, 15]


def test_the_gate_counts_as_the_metrics_of_joined_windows_do() -> None:
    version = gold()
    (series,) = {id(w.window.series): w.window.series for w in version.windows}.values()
    truth = intervals_to_mask([i for w in version.windows for i in w.intervals], series.timestamps)
    unit = Unit("p", truth, truth)
    assert summarise([unit])["intervals"] == true_intervals(version.windows) == 4
    assert true_intervals(gold(0.5).windows) == 4, "windows drawn apart from each other weigh, and count, no less"
