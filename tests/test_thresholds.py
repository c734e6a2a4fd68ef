"""From scores to intervals, and the three rules of the threshold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsad.core.errors import ConfigError
from tsad.core.intervals import intervals_to_mask
from tsad.core.options import ThresholdOptions
from tsad.core.proposing import to_intervals
from tsad.core.types import NS_PER_SECOND
from tsad.detectors.rules.base import KnownScores
from tsad.detectors.rules.calibrated import CalibratedRule
from tsad.detectors.rules.fixed import FixedRule
from tsad.detectors.rules.quantile import QuantileRule
from tsad.detectors.rules.reviewed import ReviewedRule

PLAIN = ThresholdOptions(default=0.5, merge_gap=0, min_length=1, max_length=0)
SCORES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1) | st.just(float("nan")))


def changed(**changes: float) -> ThresholdOptions:
    return PLAIN.model_copy(update=changes)


def stamps(scores: np.ndarray) -> np.ndarray:
    return np.arange(len(scores), dtype=np.int64) * NS_PER_SECOND


@given(SCORES, st.floats(0, 1))
def test_plain_intervals_cover_exactly_the_points_above(scores: np.ndarray, threshold: float) -> None:
    intervals = to_intervals(scores, stamps(scores), threshold, PLAIN)
    assert np.array_equal(intervals_to_mask(intervals, stamps(scores)), scores >= threshold)


@given(SCORES, st.floats(0, 1), st.integers(0, 5), st.integers(1, 5), st.integers(0, 9))
def test_intervals_are_disjoint_ordered_inside_and_of_legal_length(
    scores: np.ndarray, threshold: float, gap: int, least: int, most: int
) -> None:
    options = changed(merge_gap=gap, min_length=least, max_length=most)
    intervals = to_intervals(scores, stamps(scores), threshold, options)
    end = len(scores) * NS_PER_SECOND
    assert all(0 <= i.start < i.end <= end for i in intervals)
    assert all(a.end <= b.start for a, b in itertools.pairwise(intervals))
    lengths = [(i.end - i.start) // NS_PER_SECOND for i in intervals]
    assert all(min(least, most or least) <= n and (most == 0 or n <= most) for n in lengths)
    assert all(i.score >= threshold for i in intervals)


def test_neighbours_merge_before_short_ones_are_dropped() -> None:
    scores = np.array([0, 1, 0, 1, 0, 0, 0, 1, 0], float)
    options = changed(merge_gap=1, min_length=2)
    (only,) = to_intervals(scores, stamps(scores), 0.5, options)
    assert (only.start, only.end) == (1 * NS_PER_SECOND, 4 * NS_PER_SECOND)


def test_a_long_proposal_is_cut_to_its_highest_stretch() -> None:
    scores = np.array([0.6, 0.6, 0.6, 0.9, 0.9, 0.6, 0.6])
    (only,) = to_intervals(scores, stamps(scores), 0.5, changed(max_length=2))
    assert (only.start, only.end, only.score) == (3 * NS_PER_SECOND, 5 * NS_PER_SECOND, 0.9)


def reviewed(count: int, positives: int, level: float, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Windows whose anomalies score ``level`` + .1 and whose false alarms score ``level`` - .1."""
    rng = np.random.default_rng(seed)
    scores, truths = [], []
    for k in range(count):
        score, truth = rng.uniform(0, 0.1, 256), np.zeros(256, bool)
        score[40:50] = level - 0.1
        if k < positives:
            score[150:170], truth[150:170] = level + 0.1, True
        scores.append(score)
        truths.append(truth)
    return scores, truths


def choose(options: ThresholdOptions, scores: list, truths: list, weights: np.ndarray | None = None) -> float:
    weights = np.ones(len(scores)) if weights is None else weights
    rule = ReviewedRule(**{"shrinkage": 8.0, **dict(options)})
    return rule.choose(KnownScores(scores=scores, truths=truths, weights=weights))


def test_fixed_and_quantile_rules() -> None:
    scores = [np.linspace(0, 1, 101)]
    quantile = QuantileRule(quantile=0.9, **dict(PLAIN))
    assert FixedRule(PLAIN).choose(KnownScores(unlabelled=scores)) == 0.5
    assert quantile.choose(KnownScores(unlabelled=scores)) == pytest.approx(0.9)
    assert quantile.choose(KnownScores()) == 0.5
    assert [rule.reads_unlabelled for rule in (FixedRule, QuantileRule, ReviewedRule)] == [False, True, False]
    with pytest.raises(ConfigError, match="quantile"):
        QuantileRule(quantile=1.0, **dict(PLAIN))


def test_the_calibrated_rule_hands_the_threshold_to_its_proposer() -> None:
    usual = CalibratedRule(default=0.0).first_proposer("patch").threshold
    assert 0 < usual < 1
    assert CalibratedRule(default=0.9).first_proposer("patch").threshold == 0.9
    assert FixedRule(PLAIN).first_proposer("patch") is None and not FixedRule.proposes


@pytest.mark.parametrize("level", [0.3, 0.7])
def test_many_reviews_find_the_level_that_separates(level: float) -> None:
    threshold = choose(PLAIN, *reviewed(200, 60, level))
    assert level - 0.1 < threshold < level + 0.1


def test_few_reviews_stay_near_the_default_and_none_give_it() -> None:
    few = choose(PLAIN, *reviewed(4, 2, 0.2))
    many = choose(PLAIN, *reviewed(100, 50, 0.2))
    assert many < few < 0.5
    assert choose(PLAIN, [], []) == 0.5


def test_false_alarms_alone_raise_the_threshold_but_never_lower_it() -> None:
    assert 0.5 < choose(PLAIN, *reviewed(20, 0, 0.9)) < 0.85
    assert choose(PLAIN, *reviewed(20, 0, 0.2)) == pytest.approx(0.5)


def test_one_huge_weight_does_not_decide_alone() -> None:
    scores, truths = reviewed(40, 20, 0.3)
    odd_score, odd_truth = reviewed(1, 1, 0.85)
    weights = np.array([1.0] * 40 + [1e6])
    assert choose(PLAIN, scores + odd_score, truths + odd_truth, weights) < 0.6


def test_same_reviews_same_threshold() -> None:
    assert choose(PLAIN, *reviewed(30, 9, 0.4)) == choose(PLAIN, *reviewed(30, 9, 0.4))
