"""core: types, times as text, digests, the gate's decision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.core.errors import TsadError
from tsad.core.series import Series, Window
from tsad.core.times import format_time, parse_time
from tsad.core.types import Interval
from tsad.core.windows import cut, without_overlap

MINUTE = 60_000_000_000


def make_series(length: int = 100, point_id: str = "U1.TI1", start: int = 0) -> Series:
    stamps = start + np.arange(length, dtype=np.int64) * MINUTE
    return Series(point_id, stamps, np.arange(length, dtype=float)[:, None])


@given(st.integers(-(10**18), 4 * 10**18))
def test_time_text_round_trip(stamp: int) -> None:
    assert parse_time(format_time(stamp)) == stamp


@given(st.integers(0, 10**9), st.integers(0, 999_999_999))
def test_index_text_round_trip(index: int, fraction: int) -> None:
    stamp = index * 1_000_000_000 + fraction
    assert parse_time(format_time(stamp, "index"), "index") == stamp


def test_whole_seconds_are_written_without_a_fraction() -> None:
    assert format_time(0) == "1970-01-01T00:00:00Z"
    assert format_time(500_000_000) == "1970-01-01T00:00:00.5Z"
    assert format_time(7_000_000_000, "index") == "7"


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        parse_time("2026-01-01T00:00:00")


def test_an_interval_must_not_be_empty() -> None:
    with pytest.raises(ValueError, match="not after"):
        Interval(5, 5)
    with pytest.raises(ValueError, match="outside"):
        Interval(5, 6, score=1.5)


def test_a_window_names_what_is_looked_at_and_not_its_context() -> None:
    whole = make_series()
    inside = Window(whole, 20, 40)
    excerpt = Window(whole.slice(10, 60), 10, 30)
    assert inside.window_id == excerpt.window_id
    assert inside.span == excerpt.span == (20 * MINUTE, 40 * MINUTE)
    assert Window(whole, 20, 41).window_id != inside.window_id


def test_a_slice_keeps_the_labels_inside_it() -> None:
    labels = (Interval(5 * MINUTE, 15 * MINUTE, "spike"), Interval(90 * MINUTE, 95 * MINUTE))
    base = make_series()
    series = Series(base.point_id, base.timestamps, base.values, labels=labels)
    assert series.slice(10, 50).labels == (Interval(10 * MINUTE, 15 * MINUTE, "spike"),)
    assert make_series().slice(10, 50).labels is None


def test_digest_follows_the_values() -> None:
    a, b = make_series(), make_series()
    assert a.digest == b.digest
    changed = Series(a.point_id, a.timestamps, a.values + 1e-12)
    assert changed.digest != a.digest


def test_without_overlap_looks_at_time_and_point() -> None:
    one, other = make_series(), make_series(point_id="U1.TI2")
    taken = [Window(one, 30, 50)]
    kept = without_overlap(cut(one, 20) + cut(other, 20), taken)
    assert [(w.point_id, w.start) for w in kept] == [
        ("U1.TI1", 0), ("U1.TI1", 60), ("U1.TI1", 80),
        ("U1.TI2", 0), ("U1.TI2", 20), ("U1.TI2", 40), ("U1.TI2", 60), ("U1.TI2", 80),
    ]


def test_an_error_says_what_and_what_to_do() -> None:
    assert str(TsadError("no rows in a.csv", "Check the file.")) == "no rows in a.csv. Check the file."
