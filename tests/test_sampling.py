"""Sampling: the probabilities reported are the ones that hold, and estimates built on them are unbiased."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsad.core.errors import ConfigError
from tsad.core.series import Series, Window
from tsad.review.sampling import capped, inclusion_probabilities, select
from tsad.review.strategies.base import Pool, Strategy
from tsad.review.strategies.low_confidence import LowConfidence
from tsad.review.strategies.mix import Mix
from tsad.review.strategies.random import Random
from tsad.review.strategies.top_score import TopScore

KINDS = {kind.name: kind for kind in (TopScore, LowConfidence, Random, Mix)}
STRATEGIES = ("top_score", "low_confidence", "random")
VALUES = {
    "windows": 8, "mix": {"top_score": 0.5, "low_confidence": 0.25, "random": 0.25}, "temperature": 0.1,
    "max_per_series": 0, "seed": 3, "once": 0.0, "embedding": "shape",
}  # fmt: skip


def made(strategy: str = "mix", **changes: Any) -> Strategy:
    """A strategy by name, with those of VALUES that it takes."""
    kind = KINDS[strategy]
    return kind(**{key: value for key, value in (VALUES | changes).items() if key in kind.options_model.model_fields})


OPTIONS = made()


def candidates(series: int, each: int, length: int = 4) -> list[Window]:
    out = []
    for k in range(series):
        stamps = np.arange(each * length, dtype=np.int64) * 1_000_000_000
        s = Series(f"P{k}", stamps, np.zeros((each * length, 1)))
        out += [Window(s, i * length, (i + 1) * length) for i in range(each)]
    return out


def scored(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.6, 3.0, count)
    return scores, 1.0 - np.abs(scores - 0.5) * 2


@pytest.mark.parametrize(("strategy", "limit"), [*((s, 0) for s in STRATEGIES), ("mix", 0), ("mix", 2)])
def test_reported_probability_is_the_frequency_and_horvitz_thompson_is_unbiased(strategy: str, limit: int) -> None:
    windows = candidates(6, 6)
    scores, doubts = scored(len(windows))
    truth = (scores > 0.3).astype(float)
    options = made(strategy, max_per_series=limit)
    draws = 800
    hits, reported, totals = np.zeros(len(windows)), np.zeros(len(windows)), []
    for seed in range(draws):
        picks = select(Pool(windows, scores, doubts), options, seed)
        assert len(picks) == options.settings.windows
        index = np.array([i for i, _, _ in picks])
        weights = np.array([p for _, p, _ in picks])
        assert len(set(index)) == len(index)
        assert ((weights > 0) & (weights <= 1)).all()
        if limit:
            assert np.bincount([int(windows[i].point_id[1:]) for i in index]).max() <= limit
        hits[index] += 1
        reported[index] = weights
        totals.append((truth[index] / weights).sum())
    seen = reported > 0
    error = np.sqrt(reported * (1 - reported) / draws) + 1e-9
    assert (np.abs(hits / draws - reported)[seen] <= 5 * error[seen] + 1e-9).all()
    assert reported.sum() == pytest.approx(options.settings.windows, abs=0.1)  # all but the never drawn ones
    standard_error = np.std(totals) / np.sqrt(draws)
    assert abs(np.mean(totals) - truth.sum()) <= 4 * standard_error + 0.02


def test_top_score_prefers_high_scores_without_certainty_or_impossibility() -> None:
    windows = candidates(1, 200)
    scores = np.linspace(0, 1, 200)
    weights = np.maximum(np.exp((scores - 1) / 0.1), 1e-3)
    probabilities = capped(weights, 10)
    assert probabilities.min() > 0 and probabilities.max() < 1
    picks = select(Pool(windows, scores, 1 - scores), made("top_score", windows=10), 1)
    assert np.mean([scores[i] for i, _, _ in picks]) > 0.75
    assert [p for i, p, _ in picks] == pytest.approx([probabilities[i] for i, _, _ in picks])


def test_mix_names_the_strategies_in_their_shares() -> None:
    windows = candidates(1, 400)
    scores, doubts = scored(400, 5)
    names = [n for seed in range(200) for _, _, n in select(Pool(windows, scores, doubts), OPTIONS, seed)]
    shares = {n: names.count(n) / len(names) for n in STRATEGIES}
    assert shares == pytest.approx(VALUES["mix"], abs=0.06)


def test_the_same_seed_draws_the_same_and_another_seed_another() -> None:
    windows, (scores, doubts) = candidates(3, 30), scored(90)
    assert select(Pool(windows, scores, doubts), OPTIONS, 7) == select(Pool(windows, scores, doubts), OPTIONS, 7)
    assert select(Pool(windows, scores, doubts), OPTIONS, 7) != select(Pool(windows, scores, doubts), OPTIONS, 8)


def test_more_windows_than_candidates_takes_all_with_certainty() -> None:
    windows, (scores, doubts) = candidates(2, 3), scored(6)
    picks = select(Pool(windows, scores, doubts), made(windows=50), 0)
    assert [(i, p) for i, p, _ in picks] == [(i, 1.0) for i in range(6)]
    assert len(select(Pool(windows, scores, doubts), made(windows=50, max_per_series=2), 0)) == 4
    assert select(Pool([], np.array([]), np.array([])), OPTIONS, 0) == []


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=40),
    size=st.integers(1, 50),
    limit=st.integers(0, 5),
    groups=st.integers(1, 6),
)
def test_probabilities_sum_to_what_is_drawn(weights: list[float], size: int, limit: int, groups: int) -> None:
    group = np.arange(len(weights)) % groups
    p = inclusion_probabilities(np.array(weights), group, size, limit)
    sizes = np.bincount(group)
    most = np.minimum(sizes, limit).sum() if limit else len(weights)
    assert p.sum() == pytest.approx(min(size, most))
    assert (p > 0).all() and (p <= 1 + 1e-12).all()
    if limit:
        assert (np.bincount(group, p) <= limit + 1e-6).all()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"mix": {"top_score": 1.0}}, "random is 0"),
        ({"mix": {"random": 0.5, "lucky": 0.5}}, "lucky"),
        ({"mix": {"random": 0.5, "top_score": 0.6}}, "add up to 1.1"),
        ({"windows": 0}, "windows"),
    ],
)
def test_impossible_options_are_refused_by_name(change: dict, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        made(**change)


def test_scores_outside_the_unit_range_are_refused() -> None:
    windows = candidates(1, 2)
    with pytest.raises(ValueError, match="scores must be 2 numbers"):
        Pool(windows, np.array([0.1, np.nan]), np.array([0.1, 0.2]))
