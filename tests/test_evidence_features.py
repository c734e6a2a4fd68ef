"""Plain figures of sub-sequences, the distance between them, and what channels say of each other, against slow ones."""

from __future__ import annotations

import numpy as np
import pytest

from tsad.detectors.evidence.channels import Beside, evidence_of
from tsad.detectors.evidence.compiled import compiled
from tsad.detectors.evidence.course import Tail
from tsad.detectors.evidence.feature_neighbours import (
    LENGTHS,
    NEAREST,
    REFERENCES,
    Described,
    Length,
    _nearest,
    _standardise,
    described,
    distance_to,
    together,
)
from tsad.detectors.evidence.figures import FIGURES, figures_of
from tsad.detectors.evidence.ranks import mean_of, mean_over
from tsad.detectors.evidence.together import RIDGE, cross_residuals


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def slow_figures(x: np.ndarray) -> dict[str, float]:
    """Every figure by its definition, in double precision."""
    x = x.astype(np.float64)
    length, ordered, middle = len(x), np.sort(x), float(np.median(x))
    away, spread = x - x.mean(), x.std() + 1e-9
    near = np.sort(np.abs(x - middle))
    mad = near[length // 2] + 1e-9
    robust, plain = np.clip((x - middle) / mad, -100, 100), away / spread
    steps = np.diff(x)
    power = np.abs(np.fft.rfft(x)[1:]) ** 2
    share = power / (power.sum() + 1e-9)
    energy = (away**2).sum() + 1e-9
    ramp = np.linspace(-1, 1, length)
    quarter = (length - 1) // 4
    low, high = ordered[quarter], ordered[length - 1 - quarter]
    return {
        "mean": x.mean(), "deviation": spread, "minimum": x.min(), "maximum": x.max(), "range": np.ptp(x),
        "lower_quartile": low, "upper_quartile": high, "quartile_range": high - low, "mad": mad,
        "robust_skewness": (robust**3).mean(), "robust_kurtosis": (robust**4).mean() - 3,
        "skewness": (plain**3).mean(), "kurtosis": (plain**4).mean() - 3, "rise": x[-1] - x[0],
        "step_mean": steps.mean(), "step_deviation": steps.std(), "largest_step": np.abs(steps).max(),
        "zero_crossings": (np.diff(x > 0)).mean(), "mean_crossings": (np.diff(away > 0)).mean(),
        "root_mean_square": np.sqrt((x**2).mean()), "echo_1": (away[1:] * away[:-1]).sum() / energy,
        "echo_2": (away[2:] * away[:-2]).sum() / energy, "echo_5": (away[5:] * away[:-5]).sum() / energy,
        "spectral_entropy": -(share * np.log(share + 1e-12)).sum() / np.log(len(share) + 1),
        "spectral_peak": share.max(), "slope": (away * ramp).sum() / (ramp**2).sum(),
        "drift": np.abs(np.cumsum(away)).max() / (length * spread),
    }  # fmt: skip


@pytest.mark.parametrize("length", [8, 9, 16, 32, 64, 65])
def test_figures_are_what_their_names_say(length: int) -> None:
    x = noise(700, length) + np.sin(np.arange(700, dtype=np.float32) / 9)
    x[300:340] = 0.5  # equal values
    starts = np.arange(0, len(x) - length + 1, 7)
    table = figures_of(x, length, starts)
    assert table.shape == (len(starts), len(FIGURES))
    for row, start in enumerate(starts):
        slow = slow_figures(x[start : start + length])
        if slow["mad"] < 1e-6:  # robust figures of half a constant stretch are cut, not equal
            continue
        for column, name in enumerate(FIGURES):
            assert table[row, column] == pytest.approx(slow[name], rel=2e-2, abs=2e-3), (name, start)


def test_what_a_sub_sequence_gives_does_not_depend_on_what_comes_later() -> None:
    x = noise(3000)
    starts = np.arange(0, 2969, 3)
    early = starts[starts <= 1500 - 32]
    whole, part = figures_of(x, 32, starts), figures_of(x[:1500], 32, early)
    assert np.array_equal(whole[: len(early)], part)  # to the last bit


def test_a_turned_series_turns_its_figures() -> None:
    x = noise(400)
    starts = np.arange(0, 369)
    plain, turned = figures_of(x, 32, starts), figures_of(-x, 32, starts)
    column = {name: k for k, name in enumerate(FIGURES)}
    assert np.allclose(plain[:, column["lower_quartile"]], -turned[:, column["upper_quartile"]])
    for name in ("deviation", "range", "mad", "kurtosis", "largest_step", "echo_1", "spectral_entropy", "drift"):
        assert np.allclose(plain[:, column[name]], turned[:, column[name]], rtol=1e-4, atol=1e-4), name


def slow_distance(tables: Described, rows: np.ndarray) -> np.ndarray:
    out = []
    for k, start in enumerate(tables.starts):
        free = [r for r in rows if abs(tables.starts[r] - start) >= tables.length.points]
        gaps = np.sort(np.linalg.norm(tables.table[free].astype(float) - tables.table[k], axis=1))[:NEAREST]
        out.append(gaps.mean() if len(gaps) else 0.0)
    return np.array(out)


@pytest.mark.parametrize("length", [Length(8, 4), Length(32, 8), Length(32, 8, rate=4)])
def test_distances_are_those_to_the_three_nearest_apart(length: int) -> None:
    x = noise(900) + np.sin(np.arange(900, dtype=np.float32) / 7)
    (tables,) = described(Tail(x), (length,), squashed=False)
    rows = tables.drawn()
    assert len(rows) == min(REFERENCES, len(tables.starts)) and len(np.unique(rows)) == len(rows)
    slow = slow_distance(tables, rows)
    spread = mean_over(tables.starts, slow.astype(np.float32), length.points, len(mean_of(x, length.rate)))
    away = np.maximum(spread - np.median(spread), 0) / (np.median(np.abs(spread - np.median(spread))) + 1e-6)
    expected = np.repeat(away, length.rate)[: len(x)]
    told = distance_to(tables, tables.table[rows], tables.starts[rows]).values
    assert np.allclose(told, expected, rtol=1e-2, atol=2e-2)


def test_nothing_to_compare_with_is_no_distance() -> None:
    x = noise(300)
    (tables,) = described(Tail(x), (Length(32, 8),), squashed=True)
    none = np.empty(0, np.int64)
    assert not distance_to(tables, tables.table[none], tables.starts[none]).values.any()
    assert list(described(Tail(noise(100)), (Length(32, 8, rate=4),), squashed=False)) == []
    assert not together([], Tail(noise(5))).values.any()


def test_the_logarithm_by_bits_is_near_the_real_one() -> None:
    z = np.concatenate((np.linspace(-60, 60, 4001), [0.0])).astype(np.float32)
    table = z[:, None].copy()
    compiled(_standardise)(table, np.zeros(1, np.float32), np.ones(1, np.float32), True)
    z = np.clip(z, -50, 50)
    assert np.allclose(table[:, 0], np.sign(z) * np.log2(1 + np.abs(z)), atol=2e-3)


@pytest.mark.parametrize(("total", "width", "stride"), [(100, 8, 4), (103, 32, 8), (57, 8, 3), (40, 40, 10)])
def test_stretches_laid_onto_points_are_means(total: int, width: int, stride: int) -> None:
    starts = np.arange(0, total - width + 1, stride)
    figures = noise(len(starts))
    sums, counts = np.zeros(total), np.zeros(total)
    for start, figure in zip(starts, figures, strict=True):
        sums[start : start + width] += figure
        counts[start : start + width] += 1
    found = mean_over(starts, figures, width, total)
    assert np.allclose(found, np.where(counts > 0, sums / np.maximum(counts, 1), figures[-1]), atol=1e-5)


@pytest.mark.parametrize(("kind", "row"), [("burst", "short_features"), ("stuck", "long_features"),
                                           ("odd cycle", "cycle"), ("odd cycle", "two_cycles"),
                                           ("spike", "brief_neighbour")])  # fmt: skip
def test_each_new_row_rises_where_it_should(kind: str, row: str) -> None:
    x = np.sin(np.arange(6000) * 2 * np.pi / 50) + 0.1 * noise(6000)
    where = slice(3000, 3050)
    if kind == "burst":
        x[where] += 0.8 * noise(50, 1)
    elif kind == "stuck":
        where = slice(3000, 3130)
        x[where] = x[3000]
    elif kind == "odd cycle":
        x[where] *= 0.4
    else:
        x[3020] += 4
    found = evidence_of(x).row(row)
    far = np.delete(found, slice(where.start - 600, where.stop + 600))
    assert found[where].max() > np.quantile(far, 0.995)


def test_one_odd_cycle_in_very_many_is_found() -> None:
    rng = np.random.default_rng(0)
    cycle = np.exp(-0.5 * ((np.arange(180) - 60) / 6) ** 2) - 0.3 * np.exp(-0.5 * ((np.arange(180) - 110) / 20) ** 2)
    x = np.concatenate([np.interp(np.linspace(0, 179, int(rng.integers(172, 189))), np.arange(180), cycle)
                        * rng.uniform(0.9, 1.1) for _ in range(280)])  # fmt: skip
    x = x + 0.02 * rng.standard_normal(len(x))
    at = 30_000 + int(np.argmax(x[30_000:30_180]))
    x[at - 30 : at + 30] *= 0.45
    found = evidence_of(x, ("cycle", "two_cycles"))
    top = int(np.argmax(found.row("cycle") + found.row("two_cycles")))
    assert abs(top - at) < 200


def test_what_people_call_normal_is_near_and_the_rest_stays() -> None:
    """A dirty past: an oddity that comes again and again is unusual only to somebody who was told what is normal."""
    x = (np.sin(np.arange(6000) * 2 * np.pi / 50) + 0.1 * noise(6000)).astype(float)
    odd = np.zeros(6000, bool)
    for start in range(100, 3000, 220):
        x[start : start + 100] = 0.2 * noise(100, start)
        odd[start : start + 100] = True
    normal = np.zeros(6000, bool)
    normal[3200:4600] = True
    found = evidence_of(x, beside=Beside(normal=normal))
    for name in ("short", "long"):
        told, blind = found.row(f"{name}_memory"), found.row(f"{name}_features")
        assert told[odd].mean() - told[~odd].mean() > 1.5 * (blind[odd].mean() - blind[~odd].mean()), name
    assert not evidence_of(x).row("short_memory").any()


def test_rows_that_nobody_wants_stay_empty() -> None:
    found = evidence_of(noise(500).astype(float), ("amplitude", "cycle"))
    assert [name for name in ("amplitude", "cycle") if not found.row(name).any()] == []
    assert np.flatnonzero(found.rows.any(axis=1)).size == 2


def test_channels_are_regressed_on_all_others() -> None:
    rng = np.random.default_rng(0)
    cause = rng.standard_normal((4000, 2))
    mixed = cause @ rng.standard_normal((2, 4)) + 0.2 * rng.standard_normal((4000, 4))
    x = (mixed / mixed.std(axis=0)).astype(np.float32)
    found = cross_residuals(x)
    for channel in range(4):
        others = np.delete(x, channel, axis=1).astype(float)
        centred = others - others.mean(axis=0)
        own = x[:, channel] - x[:, channel].mean()
        slopes = np.linalg.solve(centred.T @ centred / 4000 + RIDGE * np.eye(3), centred.T @ own / 4000)
        plain = own - centred @ slopes
        assert np.corrcoef(found[:, channel], plain)[0, 1] > 0.98
    assert not cross_residuals(x[:, :1]).any()


def test_a_channel_that_stops_following_stands_out_alone() -> None:
    rng = np.random.default_rng(1)
    cause = np.sin(np.arange(4000) / 30)
    channels = [cause * gain + 0.1 * rng.standard_normal(4000) for gain in (1.0, -0.8, 1.2)]
    x = np.stack(channels, axis=1).astype(np.float32)
    x[2000:2200, 1] *= -1
    energy = np.abs(cross_residuals(x))
    assert energy[2000:2200, 1].mean() > 5 * energy[:1900, 1].mean()
    assert compiled(_nearest) is compiled(_nearest) and set(LENGTHS) == {"short", "long", "longest"}


def test_loops_are_compiled_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package folder and a home that cannot be written: each process compiles for itself."""
    import numba

    asked: list[bool] = []
    real = numba.njit

    def refusing(*functions: object, **options: bool) -> object:
        if functions:  # numba's own
            return real(*functions, **options)
        asked.append(bool(options.get("cache")))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", refusing)
    table = np.ones((2, 3), np.float32)
    compiled.__wrapped__(_standardise)(table, np.zeros(3, np.float32), np.ones(3, np.float32), False)
    assert asked == [True, False] and (table == 1).all()
