"""core.intervals: masks, runs and intervals are three views of one thing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.core.intervals import (
    clip,
    coverage_iou,
    intervals_to_mask,
    intervals_to_runs,
    iou,
    mask_of_runs,
    mask_to_intervals,
    merge,
    merge_runs,
    point_ends,
    runs_of,
    runs_to_intervals,
)
from tsad.core.series import Series
from tsad.core.types import IntArray, Interval

masks = st.lists(st.booleans(), max_size=60).map(lambda flags: np.array(flags, bool))
runs = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=8).map(
    lambda pairs: np.array([(a, a + n) for a, n in pairs], np.int64).reshape(-1, 2)
)
spans = st.tuples(st.integers(-(10**12), 10**12), st.integers(1, 10**9), st.floats(0, 1))
intervals = st.lists(spans.map(lambda s: Interval(s[0], s[0] + s[1], score=s[2])), max_size=12)


@st.composite
def stamped_masks(draw: st.DrawFn) -> tuple[IntArray, np.ndarray]:
    """Irregular timestamps with gaps, and a flag for each point."""
    steps = draw(st.lists(st.one_of(st.just(60), st.integers(1, 10**6)), min_size=1, max_size=60))
    start = draw(st.integers(-(10**15), 10**18))
    stamps = start + np.cumsum(np.array(steps, np.int64))
    return stamps, np.array(draw(st.lists(st.booleans(), min_size=len(steps), max_size=len(steps))), bool)


@given(masks)
def test_runs_give_the_mask_back(mask: np.ndarray) -> None:
    found = runs_of(mask)
    assert (mask_of_runs(found, len(mask)) == mask).all()
    assert (found[:, 1] > found[:, 0]).all()
    assert (found[1:, 0] > found[:-1, 1]).all()  # maximal: never touching


@given(stamped_masks())
def test_intervals_give_the_mask_back_whatever_the_gaps(case: tuple[IntArray, np.ndarray]) -> None:
    stamps, mask = case
    found = mask_to_intervals(mask, stamps)
    assert (intervals_to_mask(found, stamps) == mask).all()
    assert (intervals_to_runs(found, stamps) == runs_of(mask)).all()
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


@given(stamped_masks())
def test_a_point_stands_for_a_step_and_never_for_a_gap(case: tuple[IntArray, np.ndarray]) -> None:
    stamps, _ = case
    ends = point_ends(stamps)
    assert (ends > stamps).all()
    assert (ends[:-1] <= stamps[1:]).all()
    if len(stamps) > 1:
        assert (ends - stamps).max() <= max(1, int(np.median(np.diff(stamps))))


def test_an_interval_before_a_gap_ends_one_step_after_its_last_point() -> None:
    stamps = np.array([0, 60, 120, 10_000, 10_060, 10_120], np.int64)
    assert mask_to_intervals([0, 1, 1, 0, 0, 0], stamps) == (Interval(60, 180),)
    assert mask_to_intervals([0, 0, 0, 0, 0, 1], stamps) == (Interval(10_120, 10_180),)
    assert mask_to_intervals([1], np.array([5], np.int64)) == (Interval(5, 1_000_000_005),)
    assert point_ends(np.array([], np.int64)).shape == (0,)


@given(runs, st.integers(1, 80), st.integers(0, 10))
def test_merged_runs_cover_the_same_points_and_small_gaps_only(pairs: IntArray, length: int, gap: int) -> None:
    merged = merge_runs(pairs, gap)
    before, after = mask_of_runs(pairs, length), mask_of_runs(merged, length)
    assert (after >= before).all()
    assert (merged[1:, 0] > merged[:-1, 1] + gap).all()
    if gap == 0:
        assert (after == before).all()
    filled = mask_of_runs(pairs, 100)
    for start, stop in runs_of(mask_of_runs(merged, 100) & ~filled):
        assert stop - start <= gap


@given(intervals, st.integers(0, 10**6))
def test_merging_joins_what_touches_keeps_the_surest_and_is_done_after_once(items: list[Interval], gap: int) -> None:
    merged = merge(items, gap)
    assert merge(merged, gap) == merged
    assert all(a.end + gap < b.start for a, b in itertools.pairwise(merged))
    for item in items:
        owner = next(m for m in merged if m.start <= item.start and item.end <= m.end)
        assert owner.score >= item.score
    assert {m.score for m in merged} <= {i.score for i in items}


def test_merging_keeps_the_kind_of_the_surest() -> None:
    items = [Interval(0, 10, "drift", 0.2), Interval(5, 20, "spike", 0.9), Interval(20, 30, "dip", 0.5)]
    assert merge(items) == (Interval(0, 30, "spike", 0.9),)


@given(intervals, st.integers(-(10**12), 10**12), st.integers(1, 10**12))
def test_clipping_leaves_what_lies_inside(items: list[Interval], start: int, length: int) -> None:
    end = start + length
    inside = clip(items, start, end)
    assert all(start <= i.start < i.end <= end for i in inside)
    assert len(inside) == sum(i.start < end and start < i.end for i in items)
    assert clip(inside, start, end) == inside
    shared = sum(max(0, min(i.end, end) - max(i.start, start)) for i in items)
    assert sum(i.end - i.start for i in inside) == shared


@given(intervals, intervals)
def test_iou_is_symmetric_and_one_for_equals(a: list[Interval], b: list[Interval]) -> None:
    assert coverage_iou(a, b) == pytest.approx(coverage_iou(b, a))
    assert coverage_iou(a, a) == 1.0
    assert 0.0 <= coverage_iou(a, b) <= 1.0
    for one in a[:3]:
        assert iou(one, one) == 1.0
        for other in b[:3]:
            assert (iou(one, other) > 0) == one.overlaps(other)


@given(stamped_masks())
def test_slicing_a_series_cuts_its_labels_to_the_points_that_stay(case: tuple[IntArray, np.ndarray]) -> None:
    stamps, mask = case
    series = Series("p", stamps, np.zeros((len(stamps), 1)), labels=mask_to_intervals(mask, stamps))
    for start, stop in _pieces(len(stamps)):
        piece = series.slice(start, stop)
        assert piece.labels is not None
        assert (intervals_to_mask(piece.labels, piece.timestamps) == mask[start:stop]).all()


def _pieces(length: int) -> Sequence[tuple[int, int]]:
    return [(0, length), (length // 3, length), (0, max(1, length // 2)), (length // 3, length // 3 + 1)]


def test_an_interval_scores_its_highest_point_and_missing_scores_count_as_nothing() -> None:
    stamps = np.arange(6, dtype=np.int64) * 60
    scores = np.array([0.1, 0.7, np.nan, 2.0, np.nan, np.nan])
    found = runs_to_intervals([[0, 3], [3, 4], [4, 6]], stamps, scores)
    assert [i.score for i in found] == [0.7, 1.0, 0.0]
    assert runs_to_intervals([], stamps) == ()
