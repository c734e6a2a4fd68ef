"""core.windows: cutting covers everything, stitching puts it back, excerpts show the same windows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsad.core.intervals import mask_to_intervals, runs_of
from tsad.core.series import Series, Window
from tsad.core.windows import cut, cut_between, excerpts, stitch, window_starts


def make_series(length: int, seed: int = 0, labelled: bool = False) -> Series:
    rng = np.random.default_rng(seed)
    stamps = np.cumsum(rng.integers(1, 200, length)).astype(np.int64)
    labels = mask_to_intervals(rng.random(length) < 0.2, stamps) if labelled else None
    return Series("p", stamps, rng.normal(size=(length, 2)), ("a", "b"), labels=labels)


@given(st.integers(0, 300), st.integers(1, 60), st.integers(0, 40), st.integers(0, 320))
def test_cutting_covers_the_range_once_and_leaves_no_scraps(length: int, size: int, start: int, stop: int) -> None:
    windows = cut(make_series(length), size, start, stop)
    covered = [k for w in windows for k in range(w.start, w.stop)]
    assert covered == list(range(start, min(stop, length)))
    assert all(len(w) == size for w in windows[:-1])
    if len(windows) > 1:
        assert size / 2 <= len(windows[-1]) < size * 1.5


@given(st.integers(1, 300), st.integers(1, 60), st.data())
def test_overlapping_starts_cover_everything(total: int, length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, length))
    starts = window_starts(total, length, stride)
    seen = np.zeros(total, bool)
    for start in starts:
        seen[start : start + length] = True
    assert seen.all()
    assert starts == sorted(set(starts))
    assert starts[-1] == max(0, total - length)


@given(st.integers(1, 200), st.integers(1, 50), st.data())
def test_stitching_windows_of_a_series_gives_the_series_back(total: int, length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, length))
    whole = np.random.default_rng(total).random(total)
    pieces = [(a, whole[a : a + length]) for a in window_starts(total, length, stride)]
    assert np.allclose(stitch(pieces, total), whole)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=6), st.integers(1, 40))
def test_stitching_takes_pieces_that_reach_beyond_the_end(pairs: list[tuple[int, int]], total: int) -> None:
    result = stitch([(a, np.full(n, 0.5)) for a, n in pairs], total)
    reached = np.zeros(total, bool)
    for a, n in pairs:
        reached[a : a + n] = True
    assert (np.isnan(result) == ~reached).all()
    assert np.allclose(result[reached], 0.5)


def test_the_middle_of_a_piece_counts_more_than_its_edge() -> None:
    joined = stitch([(0, np.zeros(10)), (8, np.ones(10))], 18)
    assert 0 < joined[8] < 0.5 < joined[9] < 1


@given(
    st.integers(2, 200),
    st.lists(st.tuples(st.integers(0, 199), st.integers(1, 40)), min_size=1, max_size=8),
    st.integers(0, 30),
)
def test_excerpts_keep_identity_values_labels_and_context(
    length: int, places: list[tuple[int, int]], context: int
) -> None:
    series = make_series(length, labelled=True)
    windows = [Window(series, min(a, length - 1), min(length, min(a, length - 1) + n)) for a, n in places]
    kept = excerpts(windows, context)
    assert len(kept) == len(windows)
    for before, after in zip(windows, kept, strict=True):
        assert after.window_id == before.window_id
        assert (after.values == before.values).all()
        assert (after.timestamps == before.timestamps).all()
        assert after.start == min(before.start, after.start)
        assert after.start >= min(context, before.start)
        assert len(after.series) - after.stop >= min(context, length - before.stop)


def test_windows_that_touch_share_an_excerpt_and_far_ones_do_not() -> None:
    series = make_series(1000)
    near, next_to, far = (Window(series, a, a + 50) for a in (100, 160, 800))
    kept = excerpts([far, near, next_to], 10)
    assert kept[1].series is kept[2].series
    assert kept[0].series is not kept[1].series
    assert len(kept[0].series) == 70
    assert len(kept[1].series) == 130


@given(st.integers(20, 400), st.integers(4, 60), st.data())
def test_what_lies_between_answered_windows_is_the_rest_of_the_whole_cut(
    total: int, size: int, data: st.DataObject
) -> None:
    series = make_series(total)
    whole = cut(series, size)
    answered = data.draw(st.sets(st.sampled_from(range(len(whole)))))
    left = cut_between(series, size, [whole[k].span for k in answered], size // 2)
    assert [(w.start, w.stop) for w in left] == [(w.start, w.stop) for k, w in enumerate(whole) if k not in answered]


@given(
    st.integers(20, 400), st.integers(4, 60), st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 399), st.integers(1, 90)), max_size=6),
)
def test_of_windows_answered_in_part_the_rest_is_asked_and_nothing_twice(
    total: int, size: int, least: int, stretches: list[tuple[int, int]]
) -> None:
    series, least = make_series(total), min(least, size // 2)
    taken = [Window(series, a, min(total, a + n)) for a, n in stretches if a < total]
    asked, answered = np.zeros(total, int), np.zeros(total, bool)
    for window in cut_between(series, size, [w.span for w in taken], least):
        asked[window.start : window.stop] += 1
        assert len(window) < 1.5 * size and (len(window) >= least or not taken)
    for window in taken:
        answered[window.start : window.stop] = True
    assert asked.max(initial=0) <= 1 and not (asked[answered]).any()
    left_out = runs_of(~answered & (asked == 0))
    assert all(b - a < least for a, b in left_out)
