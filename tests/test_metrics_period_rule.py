"""TSB-AD's period rule against a slow reading of it, in both of its versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsad.metrics.period_rule import FALLBACK, period_rule


def reference(values: np.ndarray, lowest: int, highest: int) -> int:
    """Lag by lag: the highest strict local maximum of the autocorrelation from lag 4 on, if it lies in the range."""
    values = values[:20_000] - values[:20_000].mean()
    total = (values**2).sum()
    if total == 0:
        return FALLBACK
    lags = range(min(400, len(values) - 1) + 1)
    correlation = [float((values[: len(values) - k] * values[k:]).sum() / total) for k in lags]
    peaks = [k for k in lags[4:-1] if correlation[k - 1] < correlation[k] > correlation[k + 1]]
    if not peaks:
        return FALLBACK
    best = max(peaks, key=lambda k: correlation[k])
    return best if lowest <= best <= highest else FALLBACK


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), points=st.integers(10, 900), period=st.floats(3.5, 380))
def test_it_is_the_reference_in_both_versions(seed: int, points: int, period: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.sin(2 * np.pi * np.arange(points) / period) + 0.3 * rng.standard_normal(points)
    assert period_rule(values) == reference(values, 6, 303)
    assert period_rule(values, "corrected") == reference(values, 4, 300)


def test_a_clear_period_is_taken_and_a_flat_line_has_none() -> None:
    wave = np.sin(2 * np.pi * np.arange(5000) / 50)
    assert period_rule(wave) == period_rule(wave, "corrected") == 50
    assert period_rule(np.zeros(100)) == period_rule(np.arange(50.0)) == FALLBACK


@pytest.mark.parametrize(
    ("period", "published", "corrected"), [(4, FALLBACK, 4), (5, FALLBACK, 5), (302, 302, FALLBACK)]
)
def test_the_versions_differ_at_the_ends(period: int, published: int, corrected: int) -> None:
    rng = np.random.default_rng(0)
    cycle = rng.standard_normal(period)
    values = np.tile(cycle, 8000 // period) if period > 10 else np.tile(cycle, 9)
    assert period_rule(values) == published and period_rule(values, "corrected") == corrected


def test_only_the_first_20000_points_are_looked_at() -> None:
    early, late = np.sin(2 * np.pi * np.arange(20_000) / 40), np.sin(2 * np.pi * np.arange(90_000) / 25)
    assert period_rule(np.concatenate((early, late))) == 40
