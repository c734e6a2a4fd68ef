"""Lengths of time in configs: written as people write them, exact inside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.core.durations import UNITS, format_duration, parse_duration
from tsad.core.errors import ConfigError

S = 10**9


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("60s", 60 * S), ("5min", 300 * S), ("1h", 3600 * S), ("30d", 30 * 86400 * S), ("1.5h", 5400 * S),
        ("2w", 14 * 86400 * S), ("250ms", S // 4), ("1us", 1000), ("7ns", 7), (" 10 s ", 10 * S), ("0.1s", S // 10),
    ],
)  # fmt: skip
def test_numbers_with_a_unit(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "60", "s", "0s", "-5s", "5m", "1M", "1y", "1h30min", "0.5ns", "9999999d", "1e3s"])
def test_anything_else_names_the_key_and_shows_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=r"source\.chunk is .*e\.g\. 60s, 5min, 1h or 30d"):
        parse_duration(text, "source.chunk")


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (300 * S, "5 min"), (86400 * S, "1 d"), (90 * S, "90 s"), (S // 4, "250 ms"), (3 * S // 2, "1.5 s"), (0, "0 s"),
        (7, "7 ns"),
    ],
)  # fmt: skip
def test_the_largest_whole_unit_is_shown(ns: int, text: str) -> None:
    assert format_duration(ns) == text


@given(st.integers(1, 200), st.sampled_from(sorted(UNITS)))
def test_what_is_shown_reads_back(count: int, unit: str) -> None:
    span = count * UNITS[unit]
    assert parse_duration(format_duration(span)) == span
