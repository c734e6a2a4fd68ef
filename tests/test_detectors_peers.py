"""The classical peers: what every detector promises, and what is peculiar to each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tsad.config.workbench import Workbench
from tsad.core.errors import DetectorError, MissingPackageError
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.detectors.base import Detector
from tsad.detectors.kmeans import KMeans
from tsad.detectors.matrix_profile import BLOCK, MatrixProfile, _profile
from tsad.detectors.nearest_neighbour import NearestNeighbour
from tsad.detectors.numeric import combine_channels
from tsad.detectors.poly import Poly
from tsad.detectors.sub_pca import SubPCA
from tsad.detectors.subsequences import condense, robust_excess, subsequences, to_points

NAMES = ["poly", "sub_pca", "kmeans", "nearest_neighbour", "matrix_profile"]


def make_series(values: np.ndarray, point_id: str = "T1.PV") -> Series:
    values = np.asarray(values, float)
    values = values[:, None] if values.ndim == 1 else values
    names = tuple(f"value_{c}" for c in range(values.shape[1]))
    return Series(point_id, np.arange(len(values), dtype=np.int64) * NS_PER_SECOND, values, names)


def spiky(n: int = 300, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal(n)
    x[n // 2 : n // 2 + 5] += 25.0
    return x


def waves(n: int = 360, period: int = 24, seed: int = 0) -> np.ndarray:
    """Cycles with a little noise, one of them upside down from 240 to 264."""
    x = np.sin(np.arange(n) * 2 * np.pi / period) + 0.05 * np.random.default_rng(seed).standard_normal(n)
    x[240:264] *= -1
    return x


def peers(window: int) -> list[Detector]:
    return [
        Poly(window=window, degree=2, smooth=1.0, half=6.0),
        SubPCA(window=window, variance=0.9, most_values=32, fit_windows=512, half=6.0),
        KMeans(window=window, clusters=8, shape=False, most_values=32, fit_windows=512, half=6.0, seed=0),
        NearestNeighbour(window=window, references=256, neighbours=1, shape=False, most_values=32, half=6.0),
        MatrixProfile(window=window, half=6.0),
    ]


@pytest.fixture(autouse=True, scope="module")
def uncompiled() -> Iterator[None]:
    """stumpy as plain Python: compiling it takes half a minute, series of a few hundred points need no compiler."""
    import numba

    before = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = True
    import stumpy

    stumpy.stump(np.random.default_rng(0).standard_normal(32), m=4)  # its modules are imported on first use
    numba.config.DISABLE_JIT = before
    yield


@pytest.mark.parametrize("detector", peers(12), ids=lambda d: d.name)
class TestPromises:
    def test_an_outlier_scores_highest(self, detector: Detector) -> None:
        (scores,) = detector.score([make_series(spiky() if detector.name != "matrix_profile" else waves())])
        place = 150 if detector.name != "matrix_profile" else 250
        assert scores.dtype == np.float64 and scores.min() >= 0 and scores.max() <= 1
        assert abs(int(scores.argmax()) - place) <= 16
        far = np.abs(np.arange(len(scores)) - place) > 40
        assert scores[far].max() < scores.max() and (detector.name == "matrix_profile" or scores[150:155].min() > 0.5)

    def test_missing_points_score_zero(self, detector: Detector) -> None:
        x = spiky()
        x[[0, 100, 101, 299]] = np.nan
        (scores,) = detector.score([make_series(x)])
        assert np.all(scores[[0, 100, 101, 299]] == 0) and np.isfinite(scores).all()

    def test_nothing_to_see_scores_zero(self, detector: Detector) -> None:
        for x in (np.full(50, 3.7), np.full(50, np.nan), np.full(1, 2.0), np.empty(0), 0.1 + np.zeros(300)):
            (scores,) = detector.score([make_series(x)])
            assert scores.shape == x.shape and np.all(scores == 0)

    def test_short_series_and_constant_stretches_are_scored(self, detector: Detector) -> None:
        for n in (2, 5, 15, 16, 17, 23, 40, 60):
            (scores,) = detector.score([make_series(spiky(n, n))])
            assert scores.shape == (n,) and np.isfinite(scores).all() and scores.max() <= 1
        x = spiky()
        x[40:120] = x[200:260] = 0.5
        (scores,) = detector.score([make_series(x)])
        assert np.isfinite(scores).all() and scores.max() <= 1

    def test_several_series_equal_one_by_one(self, detector: Detector) -> None:
        many = [make_series(spiky(n, seed), f"P{n}") for seed, n in enumerate((40, 300))]
        for one, scores in zip(many, detector.score(many), strict=True):
            assert np.array_equal(detector.score([one])[0], scores)

    def test_the_unit_does_not_matter(self, detector: Detector) -> None:
        (plain,) = detector.score([make_series(spiky())])
        for x in (spiky() * 1e300, spiky() * 1e-300, spiky() + 1e6):
            (scores,) = detector.score([make_series(x)])
            assert np.allclose(scores, plain, atol=1e-3)

    def test_channels_are_scored_by_themselves(self, detector: Detector) -> None:
        quiet, odd = np.random.default_rng(1).standard_normal(300), spiky()
        (one,) = detector.score([make_series(odd)])
        (both,) = detector.score([make_series(np.stack((quiet, odd, np.zeros(300)), axis=1))])
        assert np.all(both >= one) and both.max() <= 1
        if detector.name != "matrix_profile":  # to which one outlier is a shape like any other
            assert np.allclose(both[148:157], one[148:157], atol=0.2)

    def test_it_is_rebuilt_from_its_description(self, detector: Detector) -> None:
        config = detector.describe()
        assert config.pop("_target_") == f"{type(detector).__module__}.{type(detector).__name__}"
        assert type(detector)(**config).config_hash == detector.config_hash
        with pytest.raises(DetectorError, match=detector.name):
            detector.with_adapter(Path("adapter"))


@pytest.mark.parametrize("detector", peers(0), ids=lambda d: d.name)
def test_the_period_is_the_default_window(detector: Detector) -> None:
    (scores,) = detector.score([make_series(waves())])
    assert 225 <= int(scores.argmax()) <= 280 or detector.name == "poly"  # no polynomial follows eleven cycles
    same = type(detector)(**{**detector.options(), "window": 24})
    assert np.array_equal(same.score([make_series(waves())])[0], scores)


@pytest.mark.parametrize("name", NAMES)
def test_yaml_builds_it(bench: Callable[..., Workbench], name: str) -> None:
    detector = bench(f"detector={name}").make_detector()
    assert detector.name == name and not detector.trainable
    (scores,) = detector.score([make_series(waves())])
    assert np.isfinite(scores).all() and scores.max() > 0


@pytest.mark.parametrize(
    ("kind", "wrong", "word"),
    [
        (Poly, {"window": 2}, "window"), (Poly, {"window": -1}, "window"), (Poly, {"half": 0.0}, "half"),
        (Poly, {"degree": 11}, "degree"), (Poly, {"smooth": -1.0}, "smooth"), (SubPCA, {"variance": 1.0}, "variance"),
        (SubPCA, {"most_values": 0}, "most_values"), (KMeans, {"clusters": 0}, "clusters"),
        (KMeans, {"fit_windows": 0}, "fit_windows"), (NearestNeighbour, {"references": 0}, "references"),
        (NearestNeighbour, {"neighbours": 0}, "neighbours"), (MatrixProfile, {"window": 3}, "window"),
    ],
)  # fmt: skip
def test_impossible_options_are_refused(kind: type[Detector], wrong: dict, word: str) -> None:
    good = next(d for d in peers(12) if type(d) is kind).options()
    with pytest.raises(DetectorError, match=rf"detector\.{word}"):
        kind(**{**good, **wrong})


def test_stumpy_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install -e '.*\[peers\]'"):
        MatrixProfile(window=0, half=6.0)


# --- what each of them computes -----------------------------------------------------------------------------


def test_poly_leaves_a_polynomial_alone_up_to_its_degree() -> None:
    t = np.linspace(-1, 1, 200)
    cubic = Poly(window=10, degree=3, smooth=0.0, half=6.0)
    assert np.abs(cubic._residuals(t**3 - t, 10)).max() < 1e-9 < np.abs(cubic._residuals(t**4, 10)).max()


def test_poly_residuals_are_those_of_a_fit_without_the_block() -> None:
    x = np.random.default_rng(0).standard_normal(131)  # the last block overlaps the one before it
    found = Poly(window=10, degree=2, smooth=0.0, half=6.0)._residuals(x, 10)
    for start in (0, 50, 120):
        first = int(np.clip(start - 50, 0, 131 - 110))
        around = np.setdiff1d(np.arange(first, first + 110), np.arange(start, start + 10))
        fit = np.polynomial.Polynomial.fit(around, x[around], 2)
        raw = x[start : start + 10] - fit(np.arange(start, start + 10))
        ratio = (raw / found[start : start + 10])[: 10 if start < 120 else 1]  # a last block from 121 on has the rest
        assert np.all(ratio >= 1.0) and (start != 50 or ratio.max() < 1.1)


def test_pca_and_kmeans_and_neighbours_of_repeated_cycles_are_near() -> None:
    x = np.tile(np.sin(np.arange(24) * 2 * np.pi / 24), 20)
    for detector in peers(24)[1:4]:
        (scores,) = detector.score([make_series(x)])
        assert scores.max() < 0.5, detector.name


@pytest.mark.parametrize("cells", [1 << 21, 500])
def test_neighbours_that_overlap_do_not_count(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsad.detectors.subsequences.CELLS", cells)  # in one batch, and in many
    x = np.random.default_rng(0).standard_normal(80)
    x[40:48] = [9, -9, 9, -9, 9, -9, 9, -9]
    every = NearestNeighbour(window=8, references=1000, neighbours=1, shape=False, most_values=64, half=6.0)
    rows = subsequences(x, 8, np.arange(73), shape=False).astype(float)
    square = np.square(rows[:, None] - rows[None]).sum(axis=2)
    square[np.abs(np.subtract.outer(np.arange(73), np.arange(73))) < 8] = np.inf
    expected = to_points(np.sqrt(square.min(axis=1)), 8) / np.sqrt(8)
    assert np.allclose(every.deviation(x, 8), expected, atol=1e-4)


def test_matrix_profile_of_a_block_is_the_definition() -> None:
    x = waves(120)
    rows = subsequences(x, 12, np.arange(109), shape=True).astype(float)
    distance = np.sqrt(np.square(rows[:, None] - rows[None]).sum(axis=2))
    distance[np.abs(np.subtract.outer(np.arange(109), np.arange(109))) <= 3] = np.inf  # stumpy's exclusion zone
    assert np.allclose(_profile(x, 12), distance.min(axis=1), atol=1e-3)


def test_matrix_profile_takes_long_series_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def fake(values: np.ndarray, width: int) -> np.ndarray:
        sizes.append(len(values))
        return np.arange(len(values) - width + 1, dtype=float)

    monkeypatch.setattr("tsad.detectors.matrix_profile._profile", fake)
    found = MatrixProfile(window=100, half=6.0).deviation(np.zeros(2 * BLOCK + 500), 100)
    assert sizes == [BLOCK] * 3 and found.shape == (2 * BLOCK + 500,) and np.isfinite(found).all()


def test_to_points_is_the_mean_over_what_covers() -> None:
    assert to_points(np.array([1.0, 3.0, 8.0]), 2).tolist() == [1.0, 2.0, 5.5, 8.0]


def test_condensed_subsequences_have_few_values() -> None:
    values, width, factor = condense(np.arange(1000.0), 250, 64)
    assert (width, factor) == (62, 4) and len(values) == 250 and values[0] == 1.5
    assert condense(values, 20, 64) == (values, 20, 1) or condense(values, 20, 64)[2] == 1


def test_robust_excess_counts_from_the_median() -> None:
    assert robust_excess(np.array([1.0, 2.0, 3.0])).tolist() == pytest.approx([0, 0, 1 / 1.4826])
    assert robust_excess(np.zeros(5)).tolist() == [0] * 5


def test_channels_are_combined_by_their_highest_eighth() -> None:
    rows = np.random.default_rng(0).random((16, 40))
    assert np.allclose(combine_channels(list(rows), 16), np.sort(rows, axis=0)[-2:].mean(axis=0))
    assert np.allclose(combine_channels(list(rows[:3]), 7), rows[:3].max(axis=0))
    assert np.allclose(combine_channels([rows[0]], 16), rows[0] / 2)
