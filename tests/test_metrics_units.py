"""Gold scoring: weights, count vectors, the bootstrap of scores and the swaps behind the promotion gate."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsad.core.intervals import runs_of
from tsad.metrics.interval import composite_prf, interval_prf
from tsad.metrics.paired import (
    METRICS,
    MIN_GROUPS,
    PairedGain,
    _blocks,
    confidence_interval,
    least_series,
    paired_tests,
)
from tsad.metrics.point import pa_point_prf, point_prf
from tsad.metrics.ranking import auc_pr, vus_pr
from tsad.metrics.units import (
    COUNT_METRICS,
    COUNTS,
    Unit,
    count_table,
    metric_of,
    rotated,
    summarise,
    unit_counts,
)

few = settings(max_examples=12, deadline=None)
units_strategy = st.lists(
    st.integers(1, 25).flatmap(
        lambda n: st.builds(
            Unit,
            group=st.sampled_from("abc"),
            truth=hnp.arrays(bool, n),
            predicted=hnp.arrays(bool, n),
            scores=hnp.arrays(np.float64, n, elements=st.integers(0, 5).map(float)),
            weight=st.sampled_from([1.0, 2.0, 7.5]),
        )
    ),
    min_size=1,
    max_size=6,
)


def made(
    *, groups: int, per_group: int, length: int = 200, skill: float = 0.6, false: float = 0.3, seed: int = 0,
    anomalies: float = 0.7, weight: float = 1.0,
) -> list[Unit]:
    """Units with the same truth for every ``skill``, ``false`` and ``seed`` above 0: a detector's draws differ only."""
    shape, chance = np.random.default_rng(1234), np.random.default_rng(seed)
    units = []
    for k in range(groups * per_group):
        truth, predicted = np.zeros(length, bool), np.zeros(length, bool)
        if shape.random() < anomalies:
            start = int(shape.integers(0, length // 2))
            truth[start : start + int(shape.integers(3, 20))] = True
            predicted |= truth & (chance.random() < skill)
        if chance.random() < false:
            start = int(chance.integers(length // 2 + 20, length - 5))
            predicted[start : start + 5] = True
        scores = chance.random(length) * 0.5 + 0.5 * predicted
        units.append(Unit(f"s{k // per_group}", truth, predicted, scores, weight))
    return units


def line_of(units: list[Unit]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of all units one after the other, one normal point between them."""
    gap = np.zeros(1, bool)
    return tuple(np.concatenate([np.concatenate((getattr(u, k), gap)) for u in units]) for k in ("truth", "predicted"))


# --- units ----------------------------------------------------------------------------------------------------------


@given(units_strategy)
@few
def test_summary_with_equal_weights_is_that_of_the_joined_masks(units: list[Unit]) -> None:
    units = [replace(u, weight=3.0) for u in units]
    truth, predicted = line_of(units)
    true, pred = runs_of(truth), runs_of(predicted)
    summary = summarise(units)
    point, interval = point_prf(truth, predicted), interval_prf(true, pred)
    composite = composite_prf(true, pred, len(truth))
    expected = {
        "point_precision": point.precision, "point_recall": point.recall, "point_f1": point.f1,
        "interval_precision": interval.precision, "interval_recall": interval.recall, "interval_f1": interval.f1,
        "interval_iou50_f1": interval_prf(true, pred, 0.5).f1,
        "composite_recall": composite.recall, "composite_f1": composite.f1,
        "pa_point_f1": pa_point_prf(truth, predicted).f1,
    }  # fmt: skip
    assert {name: summary[name] for name in COUNT_METRICS} == pytest.approx(expected, nan_ok=True)
    assert (summary["intervals"], summary["windows"]) == (len(true), len(units))


@given(units_strategy)
@few
def test_a_weight_counts_a_unit_that_often(units: list[Unit]) -> None:
    whole = [replace(u, weight=float(round(u.weight))) for u in units]
    repeated = [replace(u, weight=1.0) for u in whole for _ in range(int(u.weight))]
    once, often = summarise(whole), summarise(repeated)
    for name in (*COUNT_METRICS, "auc_pr", "oracle_point_f1", "oracle_interval_f1"):
        assert once[name] == pytest.approx(often[name], nan_ok=True), name


@given(units_strategy)
@few
def test_count_table_is_each_units_own_counts(units: list[Unit]) -> None:
    table = count_table(units)
    assert table.shape == (len(units), len(COUNTS))
    assert np.array_equal(table, [unit_counts(u) for u in units])
    row = dict(zip(COUNTS, unit_counts(units[0]), strict=True))
    true, pred = runs_of(units[0].truth), runs_of(units[0].predicted)
    assert row["interval_tp"] + row["interval_fn"] == row["event_hit"] + row["event_missed"] == len(true)
    assert row["interval_tp"] + row["interval_fp"] == len(pred)
    assert row["pa_point_tp"] + row["pa_point_fn"] == row["point_tp"] + row["point_fn"] == units[0].truth.sum()


def test_inverse_probability_weights_undo_a_biased_draw() -> None:
    # 4,000 windows; those the detector flags are drawn ten times as often. Unweighted precision and recall are far off.
    population = made(groups=40, per_group=100, skill=0.5, false=0.2, anomalies=0.3)
    table = count_table(population)
    target = float(metric_of(table.sum(axis=0), "interval_recall"))
    probability = np.where([u.predicted.any() for u in population], 0.5, 0.05)
    rng = np.random.default_rng(0)
    estimates, naive = [], []
    for _ in range(200):
        drawn = rng.random(len(population)) < probability
        estimates.append(float(metric_of((drawn / probability) @ table, "interval_recall")))
        naive.append(float(metric_of(table[drawn].sum(axis=0), "interval_recall")))
    sample = [replace(population[k], weight=1 / probability[k], scores=None) for k in np.flatnonzero(drawn)]
    assert summarise(sample)["interval_recall"] == pytest.approx(estimates[-1])
    assert np.mean(estimates) == pytest.approx(target, abs=0.01)
    assert np.mean(naive) > target + 0.2


def test_ranking_metrics_are_means_over_series_with_an_anomaly() -> None:
    units = made(groups=3, per_group=1, anomalies=1.0)
    units[1] = replace(units[1], truth=np.zeros_like(units[1].truth))
    summary = summarise(units)
    own = [units[0], units[2]]
    assert summary["auc_pr"] == pytest.approx(np.mean([auc_pr(u.truth, u.scores) for u in own]))
    assert summary["vus_pr"] == pytest.approx(np.mean([vus_pr(u.truth, u.scores) for u in own]))
    assert summary["series"] == 3.0
    no_scores = summarise([replace(u, scores=None) for u in units])
    assert np.isnan(no_scores["vus_pr"]) and no_scores["interval_f1"] == summary["interval_f1"]


def test_oracles_use_one_threshold_for_all_units() -> None:
    truth = np.array([0, 0, 1, 0, 1], bool)
    high, low = np.array([0.6, 0.0, 0.9, 0.0, 0.9]), np.array([0.0, 0.0, 0.5, 0.0, 0.5])
    units = [Unit("a", truth, truth, high), Unit("b", truth, truth, low)]
    # at 0.9: two of four found; at 0.5: all, with one false alarm -> 2 * 4 / (5 + 4)
    assert summarise(units)["oracle_point_f1"] == summarise(units)["oracle_interval_f1"] == pytest.approx(8 / 9)


def test_summary_of_nothing() -> None:
    empty = summarise([])
    assert (empty["interval_f1"], empty["intervals"], empty["windows"]) == (0.0, 0.0, 0.0)
    assert np.isnan(empty["vus_pr"]) and np.isnan(empty["point_recall"])
    quiet = summarise([Unit("a", np.zeros(5, bool), np.zeros(5, bool), np.zeros(5))])
    assert quiet["composite_f1"] == 0.0 and np.isnan(quiet["point_precision"]) and np.isnan(quiet["auc_pr"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weight": 0.0}, "finite and above 0"), ({"weight": float("inf")}, "finite and above 0"),
        ({"predicted": np.zeros(3, bool)}, "equal length"), ({"scores": np.zeros(3)}, "do not fit"),
        ({"truth": np.zeros(0, bool), "predicted": np.zeros(0, bool)}, "no points"),
    ],
)  # fmt: skip
def test_units_refuse_what_cannot_be_counted(change: dict, said: str) -> None:
    good = {"group": "a", "truth": np.zeros(5, bool), "predicted": np.zeros(5, bool), "scores": np.zeros(5)}
    Unit(**good)
    with pytest.raises(ValueError, match=said):
        Unit(**{**good, **change})


def test_scores_that_are_not_finite_are_refused() -> None:
    truth = np.array([True, False])
    with pytest.raises(ValueError, match="NaN or infinite"):
        summarise([Unit("a", truth, truth, np.array([np.nan, 0.0]))])


def test_rotated_keeps_how_much_is_abnormal_and_loses_where() -> None:
    units = made(groups=4, per_group=25, skill=1.0, false=0.0)
    moved = rotated(units, seed=5)
    assert [u.truth.sum() for u in moved] == [u.truth.sum() for u in units]
    assert all(a.predicted is b.predicted and a.scores is b.scores for a, b in zip(units, moved, strict=True))
    assert summarise(units)["interval_f1"] == 1.0 and summarise(moved)["interval_f1"] < 0.4
    again = rotated(units, seed=5)
    assert all(np.array_equal(a.truth, b.truth) for a, b in zip(moved, again, strict=True))
    assert any(not np.array_equal(a.truth, b.truth) for a, b in zip(moved, rotated(units, seed=6), strict=True))
    assert len(rotated([Unit("a", np.ones(1, bool), np.ones(1, bool))], 0)) == 1


# --- chance ---------------------------------------------------------------------------------------------------------


def paired(
    old: list[Unit], new: list[Unit], metric: str, *, resamples: int, seed: int, level: float = 0.9
) -> PairedGain:
    return paired_tests(old, new, [metric], level=level, resamples=resamples, seed=seed)[metric]


@pytest.mark.parametrize("groups", [1, 3, 20])
@pytest.mark.parametrize("metric", ["interval_f1", "composite_f1", "point_precision", "vus_pr"])
def test_identical_detectors_gain_nothing(groups: int, metric: str) -> None:
    units = made(groups=groups, per_group=4)
    result = paired(units, units, metric, resamples=50, seed=0)
    assert (result.gain, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_no_true_intervals_are_no_evidence() -> None:
    silent = made(groups=10, per_group=3, anomalies=0.0, false=0.0)
    noisy = made(groups=10, per_group=3, anomalies=0.0, false=1.0)
    for metric in METRICS:
        result = paired(noisy, silent, metric, resamples=100, seed=0)
        assert result.p_value == 1.0, metric
        assert not result.gain > 0, metric
    assert paired(noisy, silent, "interval_f1", resamples=100, seed=0).gain == 0.0


def test_one_block_says_nothing() -> None:
    truth = np.zeros(50, bool)
    truth[5:45] = True
    bad, good = Unit("a", truth, np.zeros(50, bool)), Unit("a", truth, truth)
    one = paired([bad], [good], "interval_f1", resamples=500, seed=0)
    assert one.gain == 1.0 and one.p_value >= 0.5 ** one.blocks
    short = [Unit("a", np.ones(1, bool), np.zeros(1, bool))], [Unit("a", np.ones(1, bool), np.ones(1, bool))]
    single = paired(*short, "interval_f1", resamples=500, seed=0)
    assert single.blocks == 1 and single.p_value == 0.5 and np.isnan(single.low) and np.isnan(single.high)
    assert all(np.isnan(v) for v in confidence_interval(short[0], "interval_f1", resamples=10, seed=0))


def test_few_blocks_cannot_prove_much_however_clear_they_look() -> None:
    point, nothing = np.ones(1, bool), np.zeros(1, bool)
    bad, good = [Unit("a", point, nothing)] * 3, [Unit("a", point, point)] * 3
    result = paired(bad, good, "interval_f1", resamples=500, seed=0)
    assert result.blocks == 3 and result.p_value == pytest.approx(1 / 8)


def test_two_more_finds_are_hardly_evidence_however_long_the_stretch() -> None:
    truth, found = np.zeros(9000, bool), np.zeros(9000, bool)
    for start in range(100, 9000, 900):
        truth[start : start + 10] = True
        found[start : start + 10] = start < 2800
    bad, good = [Unit("a", truth, found & (np.arange(9000) < 950))], [Unit("a", truth, found)]
    result = paired(bad, good, "interval_f1", resamples=2000, seed=0)
    # a swap that leaves both where they are has probability 1/4; a bootstrap of the blocks would say exp(-2)
    assert result.gain > 0.2 and result.p_value == pytest.approx(0.25, abs=0.04) and result.low <= 0.0


def test_nothing_to_compare() -> None:
    result = paired([], [], "interval_f1", resamples=10, seed=0)
    assert (result.gain, result.p_value, result.blocks) == (0.0, 1.0, 0)
    assert np.isnan(confidence_interval([], "interval_f1", resamples=10, seed=0)[0])


def test_series_are_swapped_as_wholes_where_they_can_reach_the_level() -> None:
    assert [least_series(side) for side in (0.05, 0.025, 0.005, 0.4)] == [5, 6, 8, 2]
    weak, strong = made(groups=5, per_group=4, skill=0.1), made(groups=5, per_group=4, skill=1.0)
    coarse = paired(weak, strong, "interval_f1", resamples=400, seed=0)
    fine = paired(weak, strong, "interval_f1", resamples=400, seed=0, level=0.95)
    assert (coarse.resampled, coarse.blocks, fine.resampled) == ("series", 5, "windows")
    assert coarse.p_value == pytest.approx(1 / 32) and coarse.low > 0, "all five are better"


@pytest.mark.parametrize(("groups", "resampled"), [(8, "series"), (4, "windows"), (1, "windows")])
def test_a_real_gain_is_seen_and_a_loss_is_not_a_gain(groups: int, resampled: str) -> None:
    weak = made(groups=groups, per_group=40 // groups + 4, skill=0.3)
    strong = made(groups=groups, per_group=40 // groups + 4, skill=0.9)
    up = paired(weak, strong, "interval_f1", resamples=400, seed=0)
    down = paired(strong, weak, "interval_f1", resamples=400, seed=0)
    assert up.resampled == resampled
    assert up.gain > 0.2 and 0 < up.low <= up.gain <= up.high and up.p_value < 0.01
    assert down.gain == pytest.approx(-up.gain) and down.p_value == 1.0 and down.high < 0
    assert up.gain == pytest.approx(summarise(strong)["interval_f1"] - summarise(weak)["interval_f1"])
    assert paired(weak, strong, "interval_f1", resamples=400, seed=0) == up


def test_swapping_series_is_the_plain_loop() -> None:
    old = made(groups=9, per_group=3, skill=0.4, weight=2.0)
    new = made(groups=9, per_group=3, skill=0.6, weight=2.0)
    result = paired(old, new, "composite_f1", resamples=60, seed=3)

    def value(units: list[Unit]) -> float:
        return float(metric_of(np.array([u.weight for u in units]) @ count_table(units), "composite_f1"))

    def swapped(row: np.ndarray) -> float:
        pairs = [(b, a) if row[k // 3] else (a, b) for k, (a, b) in enumerate(zip(old, new, strict=True))]
        return value([b for _, b in pairs]) - value([a for a, _ in pairs])

    exact = paired(old, new, "composite_f1", resamples=512, seed=3)
    gains = sorted(swapped(np.array([k >> j & 1 for j in range(9)])) for k in range(512))
    assert exact.gain == pytest.approx(value(new) - value(old))
    assert exact.p_value == pytest.approx(np.mean(np.array(gains) >= exact.gain - 1e-12))
    assert exact.high - exact.gain == pytest.approx(gains[511 - 25]), "more than 5% of 512 swaps reach as far"
    assert result.p_value == pytest.approx(exact.p_value, abs=0.15)


def test_undefined_gains_are_no_gains() -> None:
    # The challenger predicts nothing at all: its precision is undefined, never better.
    champion = made(groups=9, per_group=2, skill=0.2, false=1.0)
    silent = [replace(u, predicted=np.zeros_like(u.predicted)) for u in champion]
    result = paired(champion, silent, "interval_precision", resamples=50, seed=0)
    assert np.isnan(result.gain) and result.p_value == 1.0 and np.isnan(result.low) and np.isnan(result.high)


@given(units_strategy)
@few
def test_blocks_share_out_all_points_and_never_cut_short_units(units: list[Unit]) -> None:
    labels, count, resampled = _blocks(units, MIN_GROUPS)
    assert resampled == "windows"
    assert [len(x) for x in labels] == [len(u.truth) for u in units]
    assert np.array_equal(np.unique(np.concatenate(labels)), np.arange(count))
    owner: dict[int, str] = {}
    for unit, label in zip(units, labels, strict=True):
        assert np.all(np.diff(label) >= 0)
        for block in np.unique(label).tolist():
            assert owner.setdefault(block, unit.group) == unit.group


def test_many_windows_stay_whole_and_few_stretches_are_cut() -> None:
    windows = made(groups=2, per_group=10, length=512)
    labels, count, _ = _blocks(windows, MIN_GROUPS)
    assert count == 20 and all(len(np.unique(x)) == 1 for x in labels)
    assert _blocks(made(groups=2, per_group=200, length=512), MIN_GROUPS)[1] == 64  # many windows: several in one block
    assert _blocks(made(groups=2, per_group=1, length=4096), MIN_GROUPS)[1] >= 32


def test_a_long_stretch_is_cut_into_blocks_that_add_up() -> None:
    rng = np.random.default_rng(0)
    truth = np.convolve(rng.random(20_000) < 0.001, np.ones(30), "same") > 0
    predicted = np.roll(truth, 5) & (np.arange(20_000) % 7_000 < 5_000)
    stretch = [Unit("a", truth, predicted, rng.random(20_000))]
    labels, count, _ = _blocks(stretch, MIN_GROUPS)
    assert 20 <= count <= 64
    low, high = confidence_interval(stretch, "interval_f1", resamples=300, seed=0)
    assert low < summarise(stretch)["interval_f1"] < high and high - low > 0.02
    assert paired(stretch, stretch, "auc_pr", resamples=20, seed=0).blocks == count
    assert len(labels[0]) == 20_000


def test_pairs_must_pair_up_and_metrics_be_known() -> None:
    units = made(groups=2, per_group=3)
    with pytest.raises(ValueError, match="6 gold units, challenger 5"):
        paired(units, units[:-1], "interval_f1", resamples=10, seed=0)
    first = units[0]
    for other in (replace(first, weight=2.0), replace(first, group="x"), replace(first, truth=~first.truth)):
        with pytest.raises(ValueError, match="gold unit 0"):
            paired(units, [other, *units[1:]], "interval_f1", resamples=10, seed=0)
    with pytest.raises(ValueError, match="oracle_point_f1 cannot be resampled"):
        paired(units, units, "oracle_point_f1", resamples=10, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        confidence_interval(units, "interval_f1", resamples=0, seed=0)
    with pytest.raises(ValueError, match="has no scores"):
        paired(*[[replace(u, scores=None) for u in units]] * 2, "vus_pr", resamples=10, seed=0)


def test_confidence_interval_covers_the_estimate() -> None:
    units = made(groups=12, per_group=5)
    value = summarise(units)
    for metric in METRICS:
        low, high = confidence_interval(units, metric, resamples=200, seed=1)
        assert low <= value[metric] <= high, metric
    narrow = confidence_interval(units, "interval_f1", resamples=200, seed=1, level=0.5)
    wide = confidence_interval(units, "interval_f1", resamples=200, seed=1)
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


def test_a_thousand_resamples_of_500_units_take_well_under_a_second() -> None:
    old, new = made(groups=25, per_group=20, length=512), made(groups=25, per_group=20, length=512, skill=0.8)
    start = time.perf_counter()
    paired(old, new, "interval_f1", resamples=1000, seed=0)
    assert time.perf_counter() - start < 1.0
