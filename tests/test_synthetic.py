"""The generator: reproducible, labelled where it was disturbed, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsad.core.intervals import runs_of
from tsad.synthetic import curves
from tsad.synthetic.anomalies import EDITS, KINDS, MARGIN, MISSING, disturb, draw_stretch, forget_invisible, free
from tsad.synthetic.cycle_edits import FORMS
from tsad.synthetic.families import FAMILIES, base_batch
from tsad.synthetic.generator import GENERATOR_VERSION, Batch, make_batch
from tsad.synthetic.scene import Scene, usual_spread


@pytest.fixture(scope="module")
def batch() -> Batch:
    return make_batch(np.random.default_rng(7), 800, 1024)


def scene(length: int = 600, period: float = 50.0) -> Scene:
    rng = np.random.default_rng(3)
    signal = 2 * np.sin(2 * np.pi * np.arange(length) / period)
    return Scene(signal, 0.1 * rng.standard_normal(length), rng.standard_normal(length), period,
                 np.arange(0, length, int(period)))


def test_same_state_of_the_generator_gives_the_same_batch() -> None:
    first, second, other = (make_batch(np.random.default_rng(seed), 40, 256) for seed in (1, 1, 2))
    for name in ("values", "labels", "kinds", "clean"):
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=name == "values")
    assert not np.array_equal(first.values, other.values)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 5), length=st.integers(64, 400))
def test_any_size_is_finite_typed_and_consistent(seed: int, count: int, length: int) -> None:
    made = make_batch(np.random.default_rng(seed), count, length)
    assert made.values.shape == made.clean.shape == made.labels.shape == made.kinds.shape == (count, length)
    assert (made.values.dtype, made.clean.dtype) == (np.float32, np.float32)
    assert (made.labels.dtype, made.kinds.dtype) == (np.bool_, np.int8)
    assert np.isfinite(made.clean).all()
    assert np.array_equal(np.isnan(made.values), made.kinds == KINDS.index(MISSING))  # and nothing infinite
    assert np.array_equal(made.labels, made.kinds > 0) and not np.isinf(made.values).any()


@pytest.mark.parametrize(("count", "length"), [(0, 100), (1, 63)])
def test_impossible_sizes_are_refused(count: int, length: int) -> None:
    with pytest.raises(ValueError, match="count >= 1 and length >= 64"):
        make_batch(np.random.default_rng(0), count, length)


def test_every_kind_occurs_and_codes_name_kinds(batch: Batch) -> None:
    assert set(np.unique(batch.kinds)) == set(range(len(KINDS)))
    assert ("normal", *EDITS, MISSING) == KINDS and len(set(KINDS)) == len(KINDS) == 20
    assert GENERATOR_VERSION == "3"


def test_label_share_is_sane_and_some_windows_are_normal(batch: Batch) -> None:
    assert 0.03 < batch.labels.mean() < 0.15
    assert 0.6 < batch.labels.any(axis=1).mean() < 0.95


def test_labels_run_from_one_point_to_a_third_of_the_window(batch: Batch) -> None:
    sizes = np.concatenate([np.diff(runs_of(row), axis=1).ravel() for row in batch.labels])
    assert sizes.min() == 1
    assert 200 < sizes.max() <= 1024 // 3


def test_values_leave_the_clean_twin_under_labels_and_hardly_elsewhere(batch: Batch) -> None:
    spread = batch.clean.std(axis=1, keepdims=True) + 1e-9
    away = np.abs(batch.values - batch.clean) / spread
    away = np.where(np.isnan(away), np.inf, away)  # what is missing is as far from its twin as can be
    for row in range(len(away)):
        for start, stop in runs_of(batch.labels[row]):
            assert away[row, start:stop].max() > 0.01  # of a spread with its peaks, where these are usual
    elsewhere = np.where(batch.labels, 0.0, away)
    assert np.quantile(elsewhere, 0.999) < 0.3
    assert np.median(elsewhere.max(axis=1)) < 0.05


@pytest.mark.parametrize("family", list(FAMILIES))
def test_each_family_makes_varied_finite_rows(family: str) -> None:
    only = {family: FAMILIES[family]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsad.synthetic.families.FAMILIES", only)
        base = base_batch(np.random.default_rng(0), 12, 512)
    values = base.signal + base.noise
    assert np.isfinite(values).all() and (values.std(axis=1) > 0.01).all()
    assert len(np.unique(values, axis=0)) == 12
    assert all(((c >= 0) & (c < 512)).all() for c in base.cycles)


def of_family(family: str, count: int, length: int = 2048) -> Batch:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsad.synthetic.families.FAMILIES", {family: FAMILIES[family]})
        return make_batch(np.random.default_rng(1), count, length)


def labelled_share_of_the_highest(batch: Batch) -> float:
    """Of the 10 points that stand farthest from the median in each abnormal row, the share that is labelled."""
    hits = []
    for values, labels in zip(batch.values, batch.labels, strict=True):
        if labels.any():
            away = np.nan_to_num(np.abs(values - np.nanmedian(values)))
            hits.append(labels[np.argsort(-away)[:10]].mean())
    return float(np.mean(hits))


def test_height_tells_nothing_among_peaks_and_much_where_nothing_comes_back() -> None:
    assert labelled_share_of_the_highest(of_family("peaks", 150)) < 0.15
    assert labelled_share_of_the_highest(of_family("loose", 150)) > 0.38  # a peak more or less from CPU to CPU


def test_what_stands_still_now_and_then_is_never_labelled_as_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsad.synthetic.habits.HELD_SHARE", 1.0)
    monkeypatch.setattr("tsad.synthetic.habits.ODD_SHARE", 0.0)
    made = make_batch(np.random.default_rng(0), 60, 512)
    still = (np.diff(made.clean, axis=1) == 0).mean(axis=1) > 0.03
    assert still.mean() > 0.7
    assert not (made.kinds[still] == KINDS.index("stuck value")).any()


def test_small_oddities_change_the_series_and_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsad.synthetic.habits.ODD_SHARE", 0.0)
    without = base_batch(np.random.default_rng(4), 40, 512)
    monkeypatch.setattr("tsad.synthetic.habits.ODD_SHARE", 1.0)
    with_them = base_batch(np.random.default_rng(4), 40, 512)
    away = np.abs(with_them.signal - without.signal)
    assert (away.max(axis=1) > 0).all() and 0.005 < (away > 0).mean() < 0.25
    monkeypatch.setattr("tsad.synthetic.generator.ABNORMAL_SHARE", 0.0)
    monkeypatch.setattr("tsad.synthetic.generator.MISSING_SHARE", 0.0)
    assert not make_batch(np.random.default_rng(4), 40, 512).labels.any()


def test_a_long_series_of_cycles_may_have_a_single_odd_one() -> None:
    made = of_family("quasi-periodic", 60, 8192)
    counts = np.array([len(runs_of(row)) for row in made.labels])
    assert (counts == 1).mean() > 0.3 and (counts > 2).any()


@pytest.mark.parametrize("form", FORMS)
def test_each_form_changes_a_cycle_and_keeps_its_length(form: Callable[..., np.ndarray]) -> None:
    rng, made = np.random.default_rng(0), scene()
    piece = made.signal[100:150] + np.linspace(0, 1, 50) ** 3
    for _ in range(20):
        changed = form(rng, made, piece)
        assert changed.shape == piece.shape and np.isfinite(changed).all()
        assert np.abs(changed - piece).max() > 0.05


def test_the_usual_spread_does_not_see_peaks() -> None:
    values = np.random.default_rng(0).standard_normal(5000)
    plain = usual_spread(values)
    values[::100] += 30
    assert 0.9 < plain < 1.1 and 0.9 < usual_spread(values) < 1.1 < values.std()
    assert usual_spread(np.where(np.arange(5000) % 100 == 0, 30.0, 0.0)) == pytest.approx(0.1 * 2.985, rel=0.01)


@pytest.mark.parametrize("kind", list(EDITS))
def test_each_kind_changes_its_stretch_and_labels_it(kind: str) -> None:
    rng = np.random.default_rng(0)
    changed = 0
    for _ in range(60):
        made = scene()
        before = made.values.copy()
        stretch = draw_stretch(rng, made, kind)
        if stretch is None or not disturb(rng, made, kind, *stretch):
            continue
        changed += 1
        start, stop = stretch
        labelled = np.flatnonzero(made.kinds)
        assert start <= labelled[0] and labelled[-1] < stop
        assert set(made.kinds[labelled]) == {KINDS.index(kind)}
        assert np.array_equal(made.values[:start], before[:start])
        # after the stretch the series is its clean twin again: as it was, or on its new course
        assert np.allclose(made.values[stop:], made.clean[stop:])
    assert changed >= 10


def test_a_change_below_the_noise_is_neither_made_nor_labelled() -> None:
    rng = np.random.default_rng(0)
    flat = Scene(np.zeros(300), rng.standard_normal(300), np.zeros(300), 0.0, np.empty(0, np.int64))
    flat.values[:] = 5.0  # a stuck value in a flat line changes nothing
    assert not disturb(rng, flat, "stuck value", 100, 150)
    assert not flat.kinds.any() and (flat.values == 5.0).all()


def test_a_step_stays_only_where_it_may() -> None:
    for lasting in (True, False):
        stayed = 0
        for seed in range(40):
            made = scene()
            made.lasting = lasting
            before = made.values.copy()
            disturb(np.random.default_rng(seed), made, "level shift", 200, 240)
            stayed += not np.allclose(made.values[400:], before[400:])
        assert (stayed > 0) == lasting


def test_places_are_free_of_ends_and_of_other_anomalies() -> None:
    made = scene()
    made.kinds[300:310] = 1
    assert free(made, 100, 120) == (100, 120)
    assert free(made, MARGIN - 1, 20) is None
    assert free(made, 590, 600) is None
    assert free(made, 310 + MARGIN, 330) is None
    assert free(made, 10, 250) is None  # longer than a third


def test_labels_of_what_the_sensor_hides_are_forgotten() -> None:
    kinds = np.array([0, 1, 1, 0, 2, 2, 0], np.int8)
    clean = np.zeros(7)
    forget_invisible(kinds, np.array([0, 0.1, 0.1, 0, 3, 0.1, 0]), clean, 0.5)
    assert kinds.tolist() == [0, 0, 0, 0, 2, 2, 0]


def test_templates_close_and_noise_has_unit_variance() -> None:
    rng = np.random.default_rng(0)
    cycles = curves.templates(rng, 100)
    assert np.array_equal(cycles[:, 0], cycles[:, -1])
    assert np.allclose(cycles[:, :-1].mean(axis=1), 0, atol=1e-9)
    assert 0.7 < np.median(curves.noise(rng, 300, 2000).std(axis=1)) < 1.3


def test_lookup_interpolates_each_row_in_its_own_table() -> None:
    table = np.array([[0.0, 1.0, 2.0], [10.0, 20.0, 40.0]])
    found = curves.lookup(table, np.array([[0.0, 0.5, 2.0], [0.25, 1.5, 2.0]]))
    assert np.allclose(found, [[0.0, 0.5, 2.0], [12.5, 30.0, 40.0]])
