"""What every detector promises, and the two classical ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsad.core.errors import DetectorError
from tsad.core.options import ThresholdOptions
from tsad.core.proposing import PointThreshold
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, Origin
from tsad.detectors.base import Detector
from tsad.detectors.isolation_forest import IsolationForest
from tsad.detectors.numeric import fill_missing, squash
from tsad.detectors.robust_zscore import RobustZScore

PLAIN = ThresholdOptions(default=0.5, merge_gap=0, min_length=1, max_length=0)


def make_series(values: np.ndarray, point_id: str = "T1.PV") -> Series:
    values = np.asarray(values, float)
    values = values[:, None] if values.ndim == 1 else values
    names = tuple(f"value_{c}" for c in range(values.shape[1]))
    return Series(point_id, np.arange(len(values), dtype=np.int64) * NS_PER_SECOND, values, names)


def spiky(n: int = 600, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal(n)
    x[n // 2 : n // 2 + 5] += 25.0
    return x


def classical() -> list[Detector]:
    forest = IsolationForest(window=8, stride=2, trees=25, fit_windows=256, half=6.0, batch_size=100, seed=0)
    return [RobustZScore(half=6.0, window=0), RobustZScore(half=6.0, window=101), forest]


@pytest.mark.parametrize("detector", classical(), ids=lambda d: f"{d.name}-{d.config_hash}")
class TestPromises:
    def test_an_outlier_scores_highest_and_above_one_half(self, detector: Detector) -> None:
        (scores,) = detector.score([make_series(spiky())])
        assert scores.shape == (600,) and scores.dtype == np.float64
        assert scores[300:305].min() > 0.5 and np.delete(scores, range(290, 315)).max() < 0.5

    def test_missing_points_score_zero(self, detector: Detector) -> None:
        x = spiky()
        x[[0, 100, 101, 599]] = np.nan
        (scores,) = detector.score([make_series(x)])
        assert np.all(scores[[0, 100, 101, 599]] == 0) and np.isfinite(scores).all()

    def test_nothing_to_see_scores_zero(self, detector: Detector) -> None:
        for x in (np.full(50, 3.7), np.full(50, np.nan), np.full(1, 2.0), np.empty(0), 0.1 + np.zeros(300)):
            (scores,) = detector.score([make_series(x)])
            assert scores.shape == x.shape and np.all(scores == 0)

    def test_several_series_equal_one_by_one(self, detector: Detector) -> None:
        many = [make_series(spiky(n, seed), f"P{n}") for seed, n in enumerate((40, 300, 1500))]
        together = detector.score(many)
        for one, scores in zip(many, together, strict=True):
            assert np.array_equal(detector.score([one])[0], scores)

    def test_extreme_values_stay_finite(self, detector: Detector) -> None:
        for x in (spiky() * 1e300, spiky() * 1e-300, spiky() + 1e12):
            (scores,) = detector.score([make_series(x)])
            assert np.isfinite(scores).all() and scores.max() <= 1 and scores[302] > 0.5

    def test_an_odd_channel_is_enough(self, detector: Detector) -> None:
        quiet = np.random.default_rng(1).standard_normal(600)
        (scores,) = detector.score([make_series(np.stack((quiet, spiky()), axis=1))])
        assert scores[300:305].min() > 0.5

    def test_it_is_rebuilt_from_its_description(self, detector: Detector) -> None:
        config = detector.describe()
        target = config.pop("_target_")
        assert target == f"{type(detector).__module__}.{type(detector).__name__}"
        again = type(detector)(**config)
        assert again.config_hash == detector.config_hash and len(again.config_hash) == 12

    def test_an_adapter_is_refused_by_name(self, detector: Detector) -> None:
        assert detector.with_adapter(None) is detector and detector.base_reference() == {}
        with pytest.raises(DetectorError, match=detector.name):
            detector.with_adapter(Path("adapter"))

    def test_detect_carries_scores_intervals_and_origin(self, detector: Detector) -> None:
        origin = Origin(detector.name, f"{detector.name}:base")
        (found,) = detector.detect([make_series(spiky())], PointThreshold(0.5, PLAIN, origin))
        assert found.point_id == "T1.PV" and found.origin == origin and found.threshold == 0.5
        (only,) = found.intervals
        assert only.start // NS_PER_SECOND in range(290, 301) and only.end // NS_PER_SECOND in range(303, 315)


def test_robust_zscore_follows_its_formula() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    (scores,) = RobustZScore(half=6.0, window=0).score([make_series(x)])
    z = np.abs(x - 3.0) / (1.4826 * 1.0)
    assert np.allclose(scores, z / (z + 6.0))


def test_mostly_equal_values_fall_back_to_the_mean_deviation() -> None:
    x = np.zeros(100)
    x[50] = 10.0
    (scores,) = RobustZScore(half=6.0, window=0).score([make_series(x)])
    assert scores[50] > 0.9 and np.all(np.delete(scores, 50) == 0)


def test_the_moving_window_follows_a_drift() -> None:
    x = spiky() + np.linspace(0, 200, 600)
    (whole,) = RobustZScore(half=6.0, window=0).score([make_series(x)])
    (moving,) = RobustZScore(half=6.0, window=61).score([make_series(x)])
    assert whole[302] < 0.5 < moving[302]


@pytest.mark.parametrize("wrong", [{"half": 0.0, "window": 0}, {"half": 6.0, "window": 2}, {"half": 6.0, "window": -1}])
def test_impossible_options_are_refused(wrong: dict) -> None:
    with pytest.raises(DetectorError, match=r"detector\.(half|window)"):
        RobustZScore(**wrong)


@settings(max_examples=50)
@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6) | st.just(float("nan"))))
def test_filling_keeps_what_was_observed(x: np.ndarray) -> None:
    filled, observed = fill_missing(x)
    assert np.array_equal(filled[observed], x[observed]) and np.isfinite(filled).all()
    assert np.array_equal(observed, ~np.isnan(x))


@given(st.floats(0, 1e300), st.floats(0, 1e300))
def test_squash_is_monotonic_and_bounded(a: float, b: float) -> None:
    low, high = squash(np.array([min(a, b), max(a, b)]), 6.0)
    assert 0 <= low <= high <= 1
    assert squash(np.array([0.0, 6.0, np.inf]), 6.0).tolist() == [0.0, 0.5, 1.0]
