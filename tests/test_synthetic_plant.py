"""The demo's plant: reproducible, labelled, and with habits that carry no label."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tsad.core.intervals import intervals_to_runs
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND
from tsad.synthetic.plant import OSCILLATION, PLANT_KINDS, plant
from tsad.synthetic.units import SENSORS, limits, make_unit

START = 1_767_571_200 * NS_PER_SECOND  # 2026-01-05T00:00:00Z


def make(*, seed: int = 0, series: int = 36, points: int = 4000, rate: float = 0.8) -> list[Series]:
    return plant(seed=seed, series=series, points=points, step_seconds=60, start=START, anomaly_rate=rate)


@pytest.fixture(scope="module")
def demo() -> list[Series]:
    return make()


def test_same_seed_same_plant_and_other_seed_another(demo: list[Series]) -> None:
    again, other = make(), make(seed=1)
    assert [s.digest for s in demo] == [s.digest for s in again]
    assert [s.labels for s in demo] == [s.labels for s in again]
    assert not {s.digest for s in demo} & {s.digest for s in other}


def test_a_smaller_plant_is_the_beginning_of_a_larger_one(demo: list[Series]) -> None:
    assert [s.digest for s in make(series=11)] == [s.digest for s in demo[:11]]


def test_tags_shapes_and_times(demo: list[Series]) -> None:
    assert len({s.point_id for s in demo}) == 36
    assert all(re.fullmatch(r"U\d\.[A-Z]{2}\d{4}\.PV", s.point_id) for s in demo)
    for series in demo:
        assert series.values.shape == (4000, 1) and series.values.dtype == np.float64
        assert series.timestamps[0] == START and (np.diff(series.timestamps) == 60 * NS_PER_SECOND).all()
        assert not np.isinf(series.values).any() and np.isnan(series.values).mean() < 0.1
    assert sum(np.isnan(s.values).any() for s in demo) > 10


def test_labels_are_named_sorted_disjoint_and_inside(demo: list[Series]) -> None:
    kinds = set()
    for series in demo:
        assert series.labels is not None
        end = series.timestamps[-1] + series.step
        for before, after in zip(series.labels, series.labels[1:], strict=False):
            assert before.end <= after.start
        for label in series.labels:
            assert START <= label.start < label.end <= end and label.score == 1.0
            kinds.add(label.label)
        runs = intervals_to_runs(series.labels, series.timestamps)
        assert all(np.isfinite(series.values[a:b]).all() for a, b in runs)  # no reading is lost inside a label
    assert kinds == set(PLANT_KINDS)


def test_label_share_is_sane(demo: list[Series]) -> None:
    runs = [intervals_to_runs(s.labels or (), s.timestamps) for s in demo]
    assert 0.01 < sum(int(np.diff(r, axis=1).sum()) for r in runs) / (36 * 4000) < 0.08
    assert 60 < sum(map(len, runs)) < 160


def test_without_anomalies_every_series_is_labelled_as_normal() -> None:
    assert all(s.labels == () for s in make(series=9, points=600, rate=0))


def test_purges_shake_most_units_and_are_never_labelled() -> None:
    shaken = 0
    for number in range(1, 9):
        unit = make_unit(np.random.default_rng([0, number]), 4000, 1440)
        shaken += len(unit.purges) > 0
        flow = make(series=9 * number)[9 * (number - 1)]
        for start in unit.purges:
            span = flow.timestamps[start], flow.timestamps[start + 20]
            assert not any(i.start < span[1] and span[0] < i.end for i in flow.labels or ())
    assert 4 <= shaken <= 8


def test_oscillations_hardly_rise_above_the_noise(demo: list[Series]) -> None:
    ratios = []
    for series in demo:
        values = series.values[:, 0]
        for label in series.labels or ():
            if label.label == OSCILLATION:
                ((start, stop),) = intervals_to_runs([label], series.timestamps)
                usual = np.nanmedian(np.abs(np.diff(values)))
                ratios.append(np.nanmax(np.abs(np.diff(values[start:stop]))) / usual)
    assert len(ratios) > 8 and np.median(ratios) < 8  # a spike would be at fifty and more


def test_sensors_of_a_unit_belong_together(demo: list[Series]) -> None:
    flow, valve = demo[0].values[:, 0], demo[4].values[:, 0]
    both = np.isfinite(flow) & np.isfinite(valve)
    assert np.corrcoef(flow[both], valve[both])[0, 1] > 0.8


def test_transmitters_keep_to_their_range(demo: list[Series]) -> None:
    codes = [code for code, _ in SENSORS]
    for series in demo:
        values = series.values[np.isfinite(series.values[:, 0]), 0]
        code = codes[(int(series.point_id[-7:-3]) - 1) % 1000]
        assert np.allclose(limits(code, values), values)


@pytest.mark.parametrize("change", [{"series": 0}, {"points": 100}, {"step_seconds": 0}, {"anomaly_rate": -1}])
def test_impossible_plants_are_refused(change: dict[str, int]) -> None:
    wanted = {"seed": 0, "series": 2, "points": 500, "step_seconds": 60, "start": START, "anomaly_rate": 1} | change
    with pytest.raises(ValueError, match="plant needs series >= 1"):
        plant(**wanted)
