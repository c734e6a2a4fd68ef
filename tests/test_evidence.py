"""Evidence of a whole series: bounded, blind to offset and unit, linear in time, and each row sees what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from tsad.detectors.evidence import neighbours
from tsad.detectors.evidence.channels import CHANNELS, LIMIT, SIGNED, UNIT, evidence_of
from tsad.detectors.evidence.neighbours import REFERENCES, neighbour_distances
from tsad.detectors.evidence.period import NO_PERIOD, _autocorrelation, find_period
from tsad.detectors.evidence.ranks import rarity, signed_rarity
from tsad.detectors.evidence.residuals import DEGREE, REACH, SEASONS, polynomial_residual, seasonal_residual
from tsad.detectors.patch.crops import GROUPS


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


def waves(n: int = 3000, period: float = 40.0, seed: int = 0) -> np.ndarray:
    return np.sin(np.arange(n) * 2 * np.pi / period) + 0.05 * noise(n, seed)


def holed(x: np.ndarray, start: int, stop: int) -> np.ndarray:
    x = x.copy()
    x[start:stop] = np.nan
    return x


ODD = {
    "nothing": np.empty(0), "one point": np.ones(1), "twenty points": noise(20), "constant": np.full(500, 3.7),
    "all missing": np.full(300, np.nan), "a missing run": holed(waves(), 500, 900), "huge offset": waves() + 1e12,
    "huge spike": np.where(np.arange(3000) == 1500, 1e30, waves()), "huge": waves() * 1e90, "tiny": waves() * 1e-90,
    "two values": (np.arange(400) % 2).astype(float), "mostly constant": np.where(np.arange(400) == 7, 1.0, 0.0),
    "missing but two": np.where(np.arange(400) % 399 == 0, 1.0 * np.arange(400), np.nan),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_it_is_finite_and_bounded_for_any_series(name: str) -> None:
    x = ODD[name]
    found = evidence_of(x)
    assert found.rows.shape == (len(CHANNELS), len(x)) and found.rows.dtype == np.int16
    assert np.abs(found.rows * UNIT).max(initial=0) <= LIMIT and np.isfinite(found.values).all()
    assert np.array_equal(found.observed, np.isfinite(x)) and not found.rows[:, ~found.observed].any()
    assert np.isfinite(found.period).all()


def test_groups_hold_every_row_once() -> None:
    assert sorted(name for _, group in GROUPS for name in group) == sorted(CHANNELS)


@pytest.mark.parametrize(("factor", "offset"), [(1e3, -5e4), (1e-6, 1.0), (4.0, 1e6)])
def test_offset_and_unit_do_not_matter(factor: float, offset: float) -> None:
    plain, moved = evidence_of(waves()), evidence_of(factor * waves() + offset)
    away = np.abs(plain.rows.astype(int) - moved.rows) * UNIT
    assert np.quantile(away, 0.99) < 0.02 and plain.period.points == pytest.approx(moved.period.points, abs=0.01)


def test_a_turned_series_changes_the_sign_of_signed_rows_alone() -> None:
    x = waves()
    x[700:705] += 4.0
    plain, turned = evidence_of(x).rows.astype(int), evidence_of(-x).rows.astype(int)
    for row, name in enumerate(CHANNELS):
        away = np.abs(turned[row] - (-plain[row] if name in SIGNED else plain[row])) * UNIT
        assert np.quantile(away, 0.99) < 0.05, name


def changed(kind: str) -> tuple[np.ndarray, slice]:
    x, where = waves(), slice(1500, 1540)
    if kind == "spike":
        x[1500], where = x[1500] + 4.0, slice(1500, 1501)
    elif kind == "level shift":
        x[1500:1540] += 3.0
    elif kind == "changed cycle":
        x[1500:1540] = np.sign(x[1500:1540]) * np.abs(x[1500:1540]) ** 3
    elif kind == "phase error":
        x[1500:1540] = np.roll(x, 13)[1500:1540]
    return x, where


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("spike", "amplitude"), ("spike", "difference"), ("spike", "short_residual"), ("spike", "short_neighbour"),
        ("level shift", "amplitude"), ("level shift", "level"), ("level shift", "neighbour"),
        ("changed cycle", "shape"), ("phase error", "season_residual"), ("phase error", "season_score"),
    ],
)  # fmt: skip
def test_each_row_rises_where_it_should(kind: str, row: str) -> None:
    x, where = changed(kind)
    found = evidence_of(x).row(row)
    found = np.abs(found) if row in SIGNED else found
    far = np.delete(found, slice(where.start - 100, where.stop + 100))
    assert found[where].max() > np.quantile(far, 0.99)


# ---- the period


@pytest.mark.parametrize("period", [10, 11.5, 17, 33, 64, 100, 250.5, 500, 1000, 2000])
def test_the_period_of_a_sine_is_found(period: float) -> None:
    x = np.sin(np.arange(max(600, int(5 * period))) * 2 * np.pi / period)
    assert find_period(x.astype(np.float32)).points == pytest.approx(period, rel=0.02)


@pytest.mark.parametrize(("period", "n"), [(10, 400), (24, 500), (288, 4000), (1440, 20_000), (7000, 300_000)])
def test_the_period_of_a_noisy_cycle_with_trend_and_spikes_is_found(period: int, n: int) -> None:
    rng = np.random.default_rng(period)
    shape = rng.standard_normal(period).cumsum()
    shape -= np.linspace(shape[0], shape[-1], period)
    x = np.resize(shape / shape.std(), n) + 0.3 * rng.standard_normal(n) + np.linspace(0, 5, n)
    x[::97] += 50.0 * (rng.random(len(x[::97])) < 0.05)
    assert find_period(x.astype(np.float32)).points == pytest.approx(period, rel=0.03)


def test_where_nothing_repeats_the_period_is_64() -> None:
    for x in (noise(5000), np.zeros(500), np.arange(20.0), np.zeros(0)):
        assert find_period(x.astype(np.float32)) == (NO_PERIOD, 0.0)


def test_autocorrelation_by_spectra_is_the_definition() -> None:
    x = (noise(400) - noise(400).mean()).astype(np.float32)
    expected = [np.dot(x[: 400 - k], x[k:]) / (400 - k) / np.mean(x**2) for k in range(51)]
    assert np.allclose(_autocorrelation(x, 50), expected, atol=1e-4)


# ---- residuals, ranks


@pytest.mark.parametrize(("total", "width"), [(600, 12), (601, 7), (2000, 40)])
def test_polynomial_residual_is_the_least_squares_fit(total: int, width: int) -> None:
    x = noise(total).cumsum().astype(np.float32)
    side, blocks = REACH * width, -(-total // width)
    padded = np.pad(x, (side, side + blocks * width - total), mode="reflect").astype(np.float64)
    expected = np.empty(blocks * width)
    for k in range(blocks):
        part, at = padded[k * width : k * width + 2 * side + width], np.linspace(-1, 1, 2 * side + width)
        around = np.r_[0:side, side + width : 2 * side + width][:: max(1, width // 8)]
        fit = np.polynomial.Polynomial.fit(at[around], part[around], DEGREE, domain=[-1, 1])
        inside = slice(side, side + width)
        expected[k * width : (k + 1) * width] = part[inside] - fit(at[inside])
    assert np.allclose(polynomial_residual(x, width), expected[:total], atol=2e-3)


@pytest.mark.parametrize(("total", "period"), [(1000, 24.0), (700, 33.3), (100, 24.0), (40, 30.0)])
def test_seasonal_residual_is_the_median_of_the_nearest_periods(total: int, period: float) -> None:
    x = noise(total).astype(np.float32)
    steps = [round(k * period) for k in range(1, 2 * SEASONS + 1)]
    residual, spread = seasonal_residual(x, period)
    for at in range(0, total, 7):
        places = [p for s in steps for p in (at - s, at + s) if 0 <= p < total][: 2 * SEASONS]
        if steps[1] >= total or not places:
            assert residual[at] == spread[at] == 0
            continue
        middle = np.median(x[places])
        assert residual[at] == pytest.approx(x[at] - middle, abs=1e-5)
        assert spread[at] == pytest.approx(np.median(np.abs(x[places] - middle)), abs=1e-5)


def test_rarity_is_the_share_of_points_as_high() -> None:
    x = np.round(noise(150), 1).astype(np.float32)
    share = np.array([(x >= v).mean() for v in x])
    assert np.allclose(rarity(x), -np.log10(share) / 2, atol=0.02)  # interpolated between entries
    assert np.allclose(signed_rarity(-x), -signed_rarity(x), atol=1e-6)


# ---- nearest neighbours


def test_distances_are_the_nearest_where_every_subsequence_is_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    x, width = noise(200).astype(np.float32), 8
    monkeypatch.setattr(neighbours, "LONG", 100)  # one group of references, all of them
    monkeypatch.setattr(neighbours, "SHARE", width)  # a sub-sequence at every point
    every = np.lib.stride_tricks.sliding_window_view(x, width)
    assert len(every) < REFERENCES
    unit = np.median(every.std(axis=1)) + 1e-3 * x.std() + 1e-9
    middle = every.mean(axis=1, keepdims=True)
    told = np.hstack((every - middle, (middle - np.median(x)) * 0.5 * np.sqrt(width))) / unit
    table = np.linalg.norm(told[:, None] - told[None], axis=2)
    starts = np.arange(len(every))
    table[np.abs(starts[:, None] - starts[None]) < 0.75 * width] = np.inf
    nearest = np.interp(np.arange(200), starts + width / 2, table.min(axis=1))
    padded = np.pad(nearest, 2, mode="edge")
    expected = np.lib.stride_tricks.sliding_window_view(padded, 5).mean(axis=1) / np.sqrt(width)
    assert np.allclose(neighbour_distances(x, width, shape=False)[0], expected, atol=1e-3)


def test_comparisons_grow_in_proportion_to_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    def compared(total: int) -> int:
        counts, plain = [0], neighbours._nearest

        def counted(compared, *rest):  # type: ignore[no-untyped-def]
            counts[0] += len(compared.own) * compared.references.size
            return plain(compared, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(neighbours, "_nearest", counted)
            evidence_of(waves(total))
        return counts[0]

    short, long = compared(10_000), compared(40_000)
    assert long < 4.1 * short
