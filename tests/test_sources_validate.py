"""sources.validate: what the one door mends and notes, and what it refuses by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tsad.core.errors import LabelError, SeriesError
from tsad.core.intervals import intervals_to_mask
from tsad.core.series import Series
from tsad.core.types import Interval
from tsad.sources.validate import PointLabels, RawSeries, Rules
from tsad.sources.validate import validate as door

S = 10**9
NAN = np.nan
RULES = ("duplicates", "backward", "infinite", "min_points")


def validate(point_id: str, timestamps: Any, values: Any, channels: Sequence[str] = ("value",), **more: Any) -> Series:
    """The door, with rows and rules as keyword arguments."""
    rules = Rules(**{key: more.pop(key) for key in RULES if key in more})
    return door(RawSeries(point_id, timestamps, values, channels, **more), rules)


def test_clean_rows_pass_as_they_are() -> None:
    series = validate("p", [0, S, 2 * S], [1.0, 2.0, 3.0], source="csv:x")
    assert series.timestamps.tolist() == [0, S, 2 * S]
    assert series.values.tolist() == [[1.0], [2.0], [3.0]]
    assert (series.labels, series.source, dict(series.notes)) == (None, "csv:x", {})


def test_of_equal_timestamps_the_last_row_stays() -> None:
    series = validate("p", [0, S, S, S, 2 * S], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert series.values[:, 0].tolist() == [1.0, 4.0, 5.0]
    assert series.notes == {"duplicates_dropped": 2}


def test_or_their_mean_where_missing_values_do_not_count() -> None:
    series = validate("p", [0, S, S, 2 * S, 2 * S], [1.0, 2.0, 4.0, NAN, 7.0], duplicates="mean")
    assert series.values[:, 0].tolist() == [1.0, 3.0, 7.0]
    assert series.notes == {"duplicates_averaged": 2}


def test_or_they_are_refused_by_row() -> None:
    with pytest.raises(SeriesError, match=r"rows 2 and 3 have the same timestamp 1970-01-01T00:00:01.000Z"):
        validate("p", [0, S, S], [1.0, 2.0, 3.0], duplicates="error")


def test_backward_steps_are_sorted_stably_and_counted() -> None:
    series = validate("p", [0, 3 * S, S, 2 * S, S], [0.0, 3.0, 1.0, 2.0, 1.5])
    assert series.values[:, 0].tolist() == [0.0, 1.5, 2.0, 3.0]
    assert series.notes == {"backward_steps": 2, "duplicates_dropped": 1}
    with pytest.raises(SeriesError, match="time steps backwards at row 3 "):
        validate("p", [0, 3 * S, S], [0.0, 3.0, 1.0], backward="error")


def test_a_label_survives_its_duplicate_and_moves_with_its_row() -> None:
    series = validate("p", [2 * S, 0, S, S], [2.0, 0.0, 1.0, 1.0], labels=np.array([False, False, True, False]))
    assert series.labels == (Interval(S, 2 * S),)


def test_missing_values_stay_missing_and_the_longest_run_is_noted() -> None:
    series = validate("p", np.arange(6) * S, [1.0, NAN, 2.0, NAN, NAN, 3.0])
    assert np.isnan(series.values[:, 0]).tolist() == [False, True, False, True, True, False]
    assert series.notes == {"missing": 3, "longest_missing_run": 2}


def test_nothing_but_missing_values_is_refused() -> None:
    with pytest.raises(SeriesError, match="only missing values"):
        validate("p", [0, S], [NAN, NAN])


def test_an_empty_channel_beside_a_full_one_is_noted() -> None:
    series = validate("p", [0, S], [[1.0, NAN], [2.0, NAN]], ("a", "b"))
    assert series.notes == {"missing": 2, "longest_missing_run": 2, "empty_channels": 1}


def test_infinite_values_are_refused_by_row_or_taken_as_missing() -> None:
    with pytest.raises(SeriesError, match=r"infinite value in column 'value', row 2 \(1 in all\)"):
        validate("p", [0, S], [1.0, np.inf])
    series = validate("p", [0, S], [1.0, -np.inf], infinite="missing")
    assert series.notes["infinite_as_missing"] == 1
    assert np.isnan(series.values[1, 0])


def test_a_constant_series_is_allowed_and_noted() -> None:
    assert validate("p", [0, S, 2 * S], [4.0, NAN, 4.0]).notes["constant_channels"] == 1


@pytest.mark.parametrize(("count", "found"), [(0, "has no rows"), (1, "fewer than source.min_points=2")])
def test_too_short_series_are_refused(count: int, found: str) -> None:
    with pytest.raises(SeriesError, match=found):
        validate("p", np.arange(count) * S, np.ones(count))
    assert len(validate("p", [0], [1.0], min_points=1)) == 1


def test_rows_that_mostly_share_their_timestamps_with_others_are_no_duplicates() -> None:
    years, values = [S * (k // 4) for k in range(40)], [float(k) for k in range(40)]
    with pytest.raises(SeriesError, match="30 of 40 rows differ from another one of their timestamp"):
        validate("p", years, values)
    assert len(validate("p", years, [float(k // 4) for k in range(40)])) == 10, "an export of everything four times"
    assert len(validate("p", years, values, duplicates="mean")) == 10


def test_too_short_counts_after_duplicates_went() -> None:
    with pytest.raises(SeriesError, match="has 1 point"):
        validate("p", [0, 0], [1.0, 2.0])


def test_kinds_become_intervals_of_their_own() -> None:
    labels = PointLabels(np.array([0, 1, 1, 2, 0, 2]), ("spike", "drift"))
    series = validate("p", np.arange(6) * S, np.arange(6.0), labels=labels)
    assert series.labels == (
        Interval(S, 3 * S, "spike"), Interval(3 * S, 4 * S, "drift"), Interval(5 * S, 6 * S, "drift"),
    )  # fmt: skip


def test_given_intervals_are_cut_to_the_series_and_refused_outside() -> None:
    stamps, values = np.arange(3) * S, np.arange(3.0)
    assert validate("p", stamps, values, labels=[Interval(-S, S), Interval(2 * S, 9 * S)]).labels == (
        Interval(0, S), Interval(2 * S, 3 * S),
    )  # fmt: skip
    assert validate("p", stamps, values, labels=()).labels == ()
    with pytest.raises(LabelError, match="lies outside the series"):
        validate("p", stamps, values, labels=[Interval(50 * S, 60 * S)])


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(-1e6, 1e6), st.booleans()), min_size=2, max_size=40))
def test_whatever_the_order_the_result_is_sorted_unique_and_labelled_as_the_rows_were(
    rows: list[tuple[int, float, bool]],
) -> None:
    last = {r[0] * S: r[1] for r in rows}
    assume(2 * sum(last[r[0] * S] != r[1] for r in rows) <= len(rows))  # else they are refused: of several series
    stamps = np.array([r[0] * S for r in rows])
    marked = {r[0] * S for r in rows if r[2]}
    series = validate("p", stamps, [r[1] for r in rows], labels=np.array([r[2] for r in rows]), min_points=1)
    assert (np.diff(series.timestamps) > 0).all()
    assert set(series.timestamps.tolist()) == set(stamps.tolist())
    assert series.values[:, 0].tolist() == [last[t] for t in series.timestamps.tolist()]
    mask = intervals_to_mask(series.labels or (), series.timestamps)
    assert set(series.timestamps[mask].tolist()) == marked
