"""The generator: reproducible, labelled where it was disturbed, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsad.core.intervals import runs_of
from tsad.synthetic import curves
from tsad.synthetic.anomalies import EDITS, KINDS, MARGIN, MISSING, Scene, disturb, draw_stretch, forget_invisible, free
from tsad.synthetic.generator import GENERATOR_VERSION, Batch, make_batch
from tsad.synthetic.series import FAMILIES, base_batch


@pytest.fixture(scope="module")
def batch() -> Batch:
    return make_batch(np.random.default_rng(7), 800, 1024)


def scene(length: int = 600, period: float = 50.0) -> Scene:
    rng = np.random.default_rng(3)
    signal = 2 * np.sin(2 * np.pi * np.arange(length) / period)
    return Scene(signal, 0.1 * rng.standard_normal(length), rng.standard_normal(length), period,
                 np.arange(0, length, int(period)), brief=False)


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
    assert GENERATOR_VERSION == "2"


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
            assert away[row, start:stop].max() > 0.05
    elsewhere = np.where(batch.labels, 0.0, away)
    assert np.quantile(elsewhere, 0.999) < 0.3
    assert np.median(elsewhere.max(axis=1)) < 0.05


@pytest.mark.parametrize("family", list(FAMILIES))
def test_each_family_makes_varied_finite_rows(family: str) -> None:
    only = {family: FAMILIES[family]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsad.synthetic.series.FAMILIES", only)
        base = base_batch(np.random.default_rng(0), 12, 512)
    values = base.signal + base.noise
    assert np.isfinite(values).all() and (values.std(axis=1) > 0.01).all()
    assert len(np.unique(values[:, 100])) == 12
    assert all(((c >= 0) & (c < 512)).all() for c in base.cycles)


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
    flat = Scene(np.zeros(300), rng.standard_normal(300), np.zeros(300), 0.0, np.empty(0, np.int64), brief=False)
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
