"""Calibration error against its definition, against samples whose truth is known, and its interval's coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsad.metrics.calibration import Resampling, ece_interval, expected_calibration_error, reliability_table, wilson

few = settings(max_examples=50, deadline=None)
cases = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        hnp.arrays(bool, n), hnp.arrays(np.float64, n, elements=st.integers(0, 20).map(lambda v: v / 20))
    )
)


def drawn(n: int, bend: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``n`` cases whose true probability is the stated one to the power ``bend``; 1 = perfectly calibrated."""
    rng = np.random.default_rng(seed)
    said = rng.beta(0.7, 1.5, n)
    return rng.random(n) < said**bend, said


def test_bins_hold_equally_many_and_the_error_is_their_weighted_gap() -> None:
    truth, said = drawn(203, 1.5, 0)
    parts = np.array_split(np.argsort(said), 7)
    assert [row.cases for row in reliability_table(truth, said, 7)] == [len(p) for p in parts] == [29] * 7
    expected = sum(len(p) * abs(truth[p].mean() - said[p].mean()) for p in parts) / 203
    assert expected_calibration_error(truth, said, 7) == pytest.approx(expected)


@few
@given(cases, st.integers(1, 12))
def test_table_and_error_agree_and_ties_are_never_split(case: tuple[np.ndarray, np.ndarray], bins: int) -> None:
    truth, said = case
    table = reliability_table(truth, said, bins)
    assert sum(row.cases for row in table) == len(said) and 1 <= len(table) <= bins
    total = sum(row.cases * abs(row.share - row.probability) for row in table) / len(said)
    assert expected_calibration_error(truth, said, bins) == pytest.approx(total)
    assert all(a.high < b.low for a, b in itertools.pairwise(table))
    shuffled = np.random.default_rng(0).permutation(len(said))
    assert expected_calibration_error(truth[shuffled], said[shuffled], bins) == pytest.approx(total)
    assert all(row.share_low - 1e-9 <= row.share <= row.share_high + 1e-9 for row in table)


def test_known_errors() -> None:
    truth, said = drawn(200_000, 1.0, 1)
    assert expected_calibration_error(truth, said) < 0.005
    assert expected_calibration_error(truth, np.ones(len(truth))) == pytest.approx(1 - truth.mean())
    assert expected_calibration_error([True, False], [1.0, 0.0], 2) == 0.0
    assert expected_calibration_error([False, True], [1.0, 0.0], 2) == 1.0
    half = expected_calibration_error([True, False], [0.5, 0.5])  # a tie is one bin
    assert half == 0.0 and len(reliability_table([True, False], [0.5, 0.5])) == 1
    assert np.isnan(expected_calibration_error([], [])) and reliability_table([], []) == []


@pytest.mark.parametrize(("bend", "error"), [(1.0, 0.0), (1.5, 0.094)])
def test_the_interval_covers_the_truth(bend: float, error: float) -> None:
    ends = [ece_interval(*drawn(500, bend, seed), resampling=Resampling(200, seed)) for seed in range(80)]
    assert np.mean([low <= error <= high for low, high in ends]) >= 0.85
    estimate = expected_calibration_error(*drawn(500, bend, 0))
    assert ends[0][0] <= estimate <= ends[0][1]
    assert ece_interval(*drawn(500, bend, 0), resampling=Resampling(200)) == ends[0]


def test_cases_that_go_together_are_drawn_together() -> None:
    truth, said = drawn(60, 1.0, 3)
    groups = [f"series {k}" for k in range(60) for _ in range(20)]
    many = np.repeat(truth, 20), np.repeat(said, 20)  # each case told twenty times is no more evidence than once
    low, high = ece_interval(*many, groups, resampling=Resampling(seed=1))
    alone_low, alone_high = ece_interval(*many, resampling=Resampling(seed=1))
    assert high - low > 1.5 * (alone_high - alone_low)
    assert all(np.isnan(ece_interval(*many, ["one"] * 1200)))


def test_shares_of_few_cases_are_wide() -> None:
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([True], [1.2]), "outside 0..1"), (([True], [np.nan]), "NaN or infinite"),
        (([True], [0.1, 0.2]), "equal length"), (([True, False], [0.1, 0.2], ["a"]), "do not fit 2"),
    ],
)  # fmt: skip
def test_what_is_no_probability_is_refused(arguments: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ece_interval(*arguments)
    with pytest.raises(ValueError, match="bins=0"):
        expected_calibration_error([True], [0.5], 0)
    with pytest.raises(ValueError, match="resamples=0"):
        ece_interval([True], [0.5], resampling=Resampling(0))
