"""core.overview: a whole series in little, and how it is kept with the review queue."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsad.core.errors import DatasetError
from tsad.core.overview import SeriesOverview, overview_of
from tsad.core.reviews import Choice
from tsad.core.series import Series, Window
from tsad.training.queues import OVERVIEWS, WINDOWS, load_queue, save_queue

SECOND = 1_000_000_000


def gappy(length: int = 500, seed: int = 0, channels: int = 2, name: str = "P1") -> Series:
    """Uneven steps, one long gap, values missing here and there."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 4, length)
    steps[length // 2] += 400
    values = rng.normal(size=(length, channels))
    values[rng.random(values.shape) < 0.1] = np.nan
    names = tuple(f"c{k}" for k in range(channels))
    return Series(name, np.cumsum(steps).astype(np.int64) * SECOND, values, names)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(0, 5), st.integers(1, 400))
def test_no_value_is_lost_and_stretches_without_one_are_empty(length: int, seed: int, columns: int) -> None:
    series = gappy(length, seed)
    little = overview_of(series, columns)
    assert len(little.edges) == min(columns, length) + 1
    assert little.edges[0] == series.timestamps[0] and little.edges[-1] == series.timestamps[-1] + series.step
    assert np.ptp(np.diff(little.edges)) <= 1, "stretches of equal time"
    for k, (start, stop) in enumerate(zip(little.edges, little.edges[1:], strict=False)):
        inside = series.values[(series.timestamps >= start) & (series.timestamps < stop)]
        for channel, column in enumerate(inside.T):
            known = column[np.isfinite(column)]
            expected = (known.min(), known.max()) if len(known) else (np.nan, np.nan)
            np.testing.assert_array_equal((little.low[k, channel], little.high[k, channel]), expected)
    assert little.missing == pytest.approx(np.isnan(series.values).mean())


def test_what_is_usual_is_where_nine_of_ten_values_lie_and_an_empty_channel_has_none() -> None:
    series = gappy()
    series.values[:, 1] = np.nan
    little = overview_of(series)
    known = series.values[np.isfinite(series.values[:, 0]), 0]
    share = ((known >= little.usual[0, 0]) & (known <= little.usual[1, 0])).mean()
    assert share == pytest.approx(0.9, abs=0.01)
    assert np.isnan(little.usual[:, 1]).all() and np.isnan(little.low[:, 1]).all()
    assert (little.points, little.step, little.channels) == (500, series.step, ("c0", "c1"))


def queue() -> list[Choice]:
    wide, narrow = gappy(), gappy(80, 1, 1, "P2")
    shared = overview_of(wide)
    return [
        Choice(Window(wide, 0, 100), 0.5, "mix", iteration=3, overview=shared),
        Choice(Window(wide, 300, 400), 0.5, "mix", iteration=3, overview=shared),
        Choice(Window(narrow, 0, 80), 0.5, "mix", iteration=3, overview=overview_of(narrow)),
        Choice(Window(narrow, 0, 40), 0.5, "mix"),
    ]


def same(one: SeriesOverview, other: SeriesOverview) -> bool:
    arrays = ("edges", "low", "high", "usual")
    assert all(np.array_equal(getattr(one, n), getattr(other, n), equal_nan=True) for n in arrays)
    assert all(getattr(one, name).dtype == getattr(other, name).dtype for name in arrays)
    plain = ("point_id", "channels", "time_kind", "points", "step", "missing")
    return all(getattr(one, name) == getattr(other, name) for name in plain)


def test_a_queue_keeps_overviews_exactly_each_once(tmp_path: Path) -> None:
    save_queue(queue(), tmp_path / "queue")
    kept = load_queue(tmp_path / "queue")
    assert [c.iteration for c in kept] == [3, 3, 3, 0]
    for one, other in zip(queue()[:3], kept, strict=False):
        assert one.overview is not None and other.overview is not None and same(one.overview, other.overview)
    assert kept[0].overview is kept[1].overview and kept[3].overview is None
    assert (tmp_path / "queue" / OVERVIEWS).stat().st_size < 60_000


def test_queues_of_before_have_no_overview_and_damage_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    save_queue([replace(c, overview=None, iteration=0) for c in queue()], folder)
    assert not (folder / OVERVIEWS).exists()
    rows = json.loads((folder / WINDOWS).read_text())
    older = [{key: value for key, value in row.items() if key not in ("iteration", "overview")} for row in rows]
    (folder / WINDOWS).write_text(json.dumps(older))
    assert [(c.iteration, c.overview) for c in load_queue(folder)] == [(0, None)] * 4
    (folder / WINDOWS).write_text(json.dumps([{**row, "overview": 7} for row in rows]))
    with pytest.raises(DatasetError, match=r"review queue.*IndexError"):
        load_queue(folder)
