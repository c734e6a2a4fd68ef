"""Shorter series: spikes, labels, gaps and missing stretches stay, and every point knows its original time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.config import Settings
from tsad.core.errors import ConfigError
from tsad.core.intervals import intervals_to_mask, mask_to_intervals
from tsad.core.options import DownsampleOptions
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.sources.downsample import Downsampled, downsample

S = 10**9
START = 1_577_836_800 * S
METHODS = ("m4", "minmax", "mean")


def made(values: Any, stamps: Any = None, **more: Any) -> Series:
    table = np.asarray(values, np.float64)
    table = table[:, None] if table.ndim == 1 else table
    seconds = np.arange(len(table)) if stamps is None else np.asarray(stamps)
    names = tuple(f"c{k}" for k in range(table.shape[1]))
    return Series("p", START + seconds.astype(np.int64) * S, table, names, **more)


def shorter(series: Series, method: str, every: str | None = None, count: int | None = None) -> Downsampled:
    return downsample(series, DownsampleOptions(method=method, every=every, count=count))


def noise(points: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=points)


# --- whatever the method -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 5])
def test_count_is_about_what_stays_and_the_notes_say_what_was(method: str, channels: int) -> None:
    series = made(noise(20_000 * channels).reshape(-1, channels), notes={"backward_steps": 1})
    for done in (shorter(series, method, count=1000), shorter(series, method, every="20s")):
        assert 800 <= len(done.series) <= 1050
        assert (np.diff(done.series.timestamps) > 0).all()
        assert done.series.notes == {"backward_steps": 1, "downsampled_from": 20_000, "downsampled_by": method}
        assert done.series.values.shape == (len(done.series), channels) and done.series.labels is None


@pytest.mark.parametrize("method", METHODS)
def test_what_is_short_enough_stays_as_it_is(method: str) -> None:
    series = made(noise(500))
    assert shorter(series, method, count=500).series is series
    assert shorter(series, method, every="1s").series is series
    assert shorter(made([1.0]), method, count=500).positions is None
    assert shorter(series, "none").series is series
    untouched = Interval(START + 5, START + 7 * S)
    assert shorter(series, "none").original(untouched) == untouched


@pytest.mark.parametrize("method", ["m4", "minmax"])
def test_points_that_stay_are_the_measured_ones(method: str) -> None:
    series = made(noise(9000).reshape(-1, 3))
    done = shorter(series, method, count=300)
    assert done.positions is not None
    assert (done.series.timestamps == series.timestamps[done.positions]).all()
    assert (done.series.values == series.values[done.positions]).all()
    assert done.positions[0] == 0 and done.positions[-1] == 2999


def test_mean_bins_begin_at_multiples_of_their_width() -> None:
    series = made(np.arange(120.0), np.arange(120) + 30)
    done = shorter(series, "mean", every="1min").series
    assert ((done.timestamps - START) // S).tolist() == [0, 60, 120]
    assert done.values[:, 0].tolist() == [14.5, 59.5, 104.5]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("step", [1, 7])
def test_a_series_that_grows_keeps_the_points_it_had(method: str, step: int) -> None:
    values = noise(9000).reshape(-1, 2)
    values[400:700, 0] = np.nan
    stamps = np.delete(np.arange(4500), range(2000, 2200))[:4000] * step
    whole = shorter(made(values[:4000], stamps), method, every="60s").series
    for length in (1000, 2100, 3333):
        part = shorter(made(values[:length], stamps[:length]), method, every="60s").series
        settled = part.timestamps < START + (stamps[length - 1] - 60 * 6) * S  # a bin of two channels keeps 6 points
        same = settled.sum()
        assert same > 5
        assert (whole.timestamps[:same] == part.timestamps[:same]).all()
        np.testing.assert_array_equal(whole.values[:same], part.values[:same])


# --- spikes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@given(
    at=st.integers(0, 1999),
    holes=st.lists(st.tuples(st.integers(0, 1999), st.integers(1, 400)), max_size=4),
    height=st.sampled_from([1e3, -1e3, 1e9]),
    every=st.sampled_from(["2s", "3s", "7s", "60s", "1000s"]),
    channel=st.integers(0, 1),
    seed=st.integers(0, 50),
)
def test_a_one_point_spike_never_disappears(
    method: str, at: int, holes: list[tuple[int, int]], height: float, every: str, channel: int, seed: int
) -> None:
    values = noise(4000, seed).reshape(-1, 2)
    for start, length in holes:
        values[start : start + length] = np.nan
    values[at, channel] = height
    done = shorter(made(values), method, every=every)
    assert (done.series.values[:, channel] == height).sum() == 1
    found = int(np.flatnonzero(done.series.values[:, channel] == height)[0])
    assert done.starts is None or done.ends is None or done.starts[found] <= START + at * S < done.ends[found]


def test_a_mean_is_a_mean_where_nothing_stands_out() -> None:
    values = noise(60_000, 3)
    done = shorter(made(values), "mean", every="60s").series.values[:, 0]
    np.testing.assert_allclose(done, values.reshape(-1, 60).mean(axis=1), rtol=1e-9)
    ramp = np.arange(6000.0) + 1e12
    done = shorter(made(ramp), "mean", every="60s").series.values[:, 0]
    np.testing.assert_array_equal(done, ramp.reshape(-1, 60).mean(axis=1))


def test_a_level_is_no_spike_and_a_switch_keeps_both_sides() -> None:
    values = np.where(np.arange(600) < 330, 2.0, 5.0)
    done = shorter(made(values), "mean", every="60s").series.values[:, 0]
    assert done.tolist() == [2.0] * 5 + [3.5] + [5.0] * 4


# --- gaps and missing values -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_gaps_stay_gaps(method: str) -> None:
    stamps = np.concatenate((np.arange(3000), np.arange(9000, 12_000)))
    done = shorter(made(noise(6000), stamps), method, every="10s").series
    inside = (done.timestamps > START + 3000 * S) & (done.timestamps < START + 9000 * S)
    assert not inside.any() and 500 < len(done) < 650


@pytest.mark.parametrize("method", METHODS)
def test_missing_stretches_stay_missing(method: str) -> None:
    values = noise(6000)
    values[2003:2500] = np.nan
    values[5000:5002] = np.nan
    done = shorter(made(values), method, count=600).series
    gone = np.isnan(done.values[:, 0])
    inside = intervals_to_mask([Interval(START + 2003 * S, START + 2500 * S)], done.timestamps)
    assert gone.any() and gone[inside].all()
    short = intervals_to_mask([Interval(START + 5000 * S, START + 5002 * S)], done.timestamps)
    assert (inside | short | ~gone).all()


# --- labels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@given(
    st.lists(st.tuples(st.integers(0, 1999), st.integers(1, 30)), max_size=8),
    st.lists(st.tuples(st.integers(0, 1999), st.integers(1, 30)), max_size=3),
    st.integers(16, 400),
)
def test_no_labelled_or_disputed_interval_vanishes(
    method: str, labels: list[tuple[int, int]], disputed: list[tuple[int, int]], count: int
) -> None:
    def intervals(pairs: list[tuple[int, int]]) -> tuple[Interval, ...]:
        return tuple(Interval(START + a * S, START + (a + n) * S, f"kind {k}") for k, (a, n) in enumerate(pairs))

    series = made(noise(2000), labels=intervals(labels), disputed=intervals(disputed))
    done = shorter(series, method, count=count)
    for before, after in ((series.labels, done.series.labels), (series.disputed, done.series.disputed)):
        assert before is not None and after is not None and len(before) == len(after)
        for item in before:
            (kept,) = [i for i in after if i.label == item.label]
            assert intervals_to_mask([kept], done.series.timestamps).any()
            back = done.original(kept)
            assert back.start < item.end and item.start < back.end and back.label == item.label


# --- the way back ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("given_by", [{"count": 200}, {"every": "30s"}])
def test_a_detection_on_the_shorter_series_covers_the_original_points(method: str, given_by: dict[str, Any]) -> None:
    stamps = np.concatenate((np.arange(3000), np.arange(9000, 12_000)))
    series = made(noise(6000), stamps)
    done = shorter(series, method, **given_by)
    assert done.starts is not None and done.ends is not None
    covered = np.zeros(len(series), int)
    for start, end in zip(done.starts, done.ends, strict=True):
        covered += intervals_to_mask([Interval(int(start), int(end))], series.timestamps)
    assert (covered == 1).all(), "every original point stands behind exactly one kept point"
    mask = np.ones(len(done.series), bool)
    whole = [done.original(i) for i in mask_to_intervals(mask, done.series.timestamps)]
    assert whole == [Interval(START, START + 12_000 * S)]
    k = int(np.searchsorted(done.series.timestamps, START + 9000 * S)) - 1  # the last one before the gap
    (before_gap,) = mask_to_intervals(np.arange(len(mask)) == k, done.series.timestamps)
    assert done.original(before_gap).end == START + 3000 * S


def test_a_mean_bin_gives_the_time_that_was_measured_in_it() -> None:
    done = shorter(made(np.arange(100.0), np.arange(100) + 30), "mean", every="60s")
    (alarm,) = mask_to_intervals([False, True, False], done.series.timestamps)
    assert alarm == Interval(START + 60 * S, START + 120 * S) == done.original(alarm)
    (first,) = mask_to_intervals([True, False, False], done.series.timestamps)
    assert first == Interval(START, START + 60 * S)
    assert done.original(first) == Interval(START + 30 * S, START + 60 * S)


# --- the options -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["downsample=m4", "downsample.every=60s"], r"m4 with downsample\.every=60s and downsample\.count=10000"),
        (["downsample=mean", "downsample.every=null"], "neither downsample.every nor downsample.count"),
        (["downsample.count=100"], r"downsample\.count=100 with downsample\.method=none"),
        (["downsample=m4", "downsample.count=3"], r"downsample\.count is 3"),
        (["downsample=mean", "downsample.every=60"], r"downsample\.every is '60'\. Give a number and a unit"),
        (["downsample.method=lttb"], "downsample.method is 'lttb'"),
    ],
)
def test_impossible_options_are_refused(options: Callable[..., Settings], overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        options(*overrides)


def test_exactly_one_of_every_and_count(options: Callable[..., Settings]) -> None:
    assert options("downsample=m4").downsample.count == 10_000
    assert options("downsample=m4", "downsample.every=5min", "downsample.count=null").downsample.every == "5min"
