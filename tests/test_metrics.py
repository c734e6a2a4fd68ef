"""Metrics on masks, runs and scores, against public implementations and against definitions told by brute force."""

from __future__ import annotations

import importlib.util
import itertools
import os
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, f1_score, precision_recall_fscore_support, precision_score

from tsad.core.intervals import runs_of
from tsad.metrics import hub
from tsad.metrics.interval import composite_counts, composite_prf, interval_counts, interval_prf, match
from tsad.metrics.point import pa_point_counts, pa_point_prf, point_counts, point_prf
from tsad.metrics.ranking import auc_pr, oracle_interval_f1, oracle_point_f1, vus_pr
from tsad.metrics.vus import Stretches


def _reference() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "reference_vus.py"
    spec = importlib.util.spec_from_file_location("reference_vus", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference_vus_pr = _reference().reference_vus_pr
few = settings(max_examples=40, deadline=None)
mask_pairs = st.integers(1, 60).flatmap(lambda n: st.tuples(hnp.arrays(bool, n), hnp.arrays(bool, n)))
# few distinct scores, so that ties are common
scored_masks = st.integers(2, 80).flatmap(
    lambda n: st.tuples(hnp.arrays(bool, n), hnp.arrays(np.float64, n, elements=st.integers(0, 6).map(lambda v: v / 6)))
)


def real_cases() -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """(name, truth, scores, predicted) of a few real series; scores are distances from the rolling median."""
    root = Path(os.environ.get("TSAD_DATA", Path(__file__).parents[2] / "shared" / "data"))
    files = (
        "NAB/realTraffic__speed_7578.csv", "MSCMD/app1-01.csv", "MSCMD/outbound-05.csv", "AIOPS_KPI/0efb375b.csv.gz",
    )  # fmt: skip
    if not all((root / f).is_file() for f in files):
        pytest.skip(f"no real series under {root}; set TSAD_DATA")
    cases = []
    for name in files:
        table = pd.read_csv(root / name, nrows=12_000)
        value = table["value"].interpolate().bfill()
        score = (value - value.rolling(101, center=True, min_periods=1).median()).abs().to_numpy()
        cases.append((name, table["label"].to_numpy() > 0, score, score > np.quantile(score, 0.98)))
    assert sum(truth.any() for _, truth, _, _ in cases) >= 3
    return cases


# --- points ---------------------------------------------------------------------------------------------------------


@few
@given(mask_pairs)
def test_point_prf_is_sklearns(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    ours = point_prf(truth, predicted)
    p, r, f, _ = precision_recall_fscore_support(truth, predicted, average="binary", zero_division=np.nan)
    assert ours.precision == pytest.approx(p, nan_ok=True)
    assert ours.recall == pytest.approx(r, nan_ok=True)
    # sklearn's F1 is NaN only where both are empty; ours is 0 there
    assert ours.f1 == pytest.approx(0.0 if np.isnan(f) else f)


def test_point_prf_undefined_parts() -> None:
    none, some = np.zeros(4, bool), np.array([False, True, True, False])
    assert np.isnan(point_prf(some, none).precision) and point_prf(some, none)[1:] == (0.0, 0.0)
    assert np.isnan(point_prf(none, some).recall) and point_prf(none, some).f1 == 0.0
    both = point_prf(none, none)
    assert np.isnan(both.precision) and np.isnan(both.recall) and both.f1 == 0.0
    assert point_counts(some, np.array([True, True, False, False])) == (1, 1, 1)
    with pytest.raises(ValueError, match="equal length"):
        point_counts(np.zeros(3), np.zeros(4))


def adjusted(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Point adjustment as Xu et al. 2018 tell it, point by point."""
    out = predicted.copy()
    for t in range(len(truth)):
        if truth[t] and predicted[t]:
            for direction in (-1, 1):
                k = t
                while 0 <= k < len(truth) and truth[k]:
                    out[k] = True
                    k += direction
    return out


@few
@given(mask_pairs)
def test_point_adjusted_f1_is_f1_of_the_adjusted_prediction(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    expected = point_counts(truth, adjusted(truth, predicted))
    assert pa_point_counts(truth, predicted) == expected
    assert pa_point_prf(truth, predicted).f1 == pytest.approx(
        f1_score(truth, adjusted(truth, predicted), zero_division=0)
    )


# --- intervals ------------------------------------------------------------------------------------------------------


def most_pairs(true: np.ndarray, pred: np.ndarray, iou: float) -> int:
    """Size of the largest one-to-one matching, by trying everything (Kuhn's augmenting paths, one at a time)."""

    def fits(i: int, j: int) -> bool:
        a, b = set(range(*true[i])), set(range(*pred[j]))
        return bool(a & b) and len(a & b) / len(a | b) >= iou

    owner: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j in range(len(pred)):
            if j not in seen and fits(i, j):
                seen.add(j)
                if j not in owner or place(owner[j], seen):
                    owner[j] = i
                    return True
        return False

    return sum(place(i, set()) for i in range(len(true)))


@few
@given(mask_pairs, st.sampled_from([0.0, 0.2, 1 / 3, 0.5, 0.8, 1.0]))
def test_matching_is_maximum_and_valid(pair: tuple[np.ndarray, np.ndarray], iou: float) -> None:
    true, pred = runs_of(pair[0]), runs_of(pair[1])
    matched = match(true, pred, iou)
    used = matched[matched >= 0]
    assert len(np.unique(used)) == len(used) == most_pairs(true, pred, iou)
    for (a, b), j in zip(true, matched, strict=True):
        if j >= 0:
            shared = min(b, pred[j, 1]) - max(a, pred[j, 0])
            assert shared > 0 and shared / (max(b, pred[j, 1]) - min(a, pred[j, 0])) >= iou


def test_matching_where_greed_by_first_or_largest_overlap_fails() -> None:
    # The middle prediction overlaps both true runs most; only a maximum matching finds two pairs.
    true, pred = [(0, 10), (12, 22)], [(1, 2), (4, 21)]
    assert interval_counts(true, pred) == (2, 0, 0)
    assert match([(12, 22), (0, 10)], pred).tolist() == [0, 1]  # answers in order of time
    # at IoU 1/2 exactly, two halves compete for one run
    assert interval_counts([(0, 4)], [(0, 2), (2, 4)], 0.5) == (1, 1, 0)


def test_one_long_proposal_and_many_short_ones_do_not_pay() -> None:
    true = [(10, 20), (30, 40), (50, 60)]
    assert interval_counts(true, [(0, 100)]) == (1, 0, 2)
    assert interval_counts([(10, 20)], [(10, 11), (12, 13), (14, 15)]) == (1, 2, 0)
    assert interval_prf(true, [(0, 100)]).f1 == pytest.approx(0.5)


def test_intervals_half_open_and_degenerate() -> None:
    assert interval_counts([(0, 5)], [(5, 8)]) == (0, 1, 1)  # touching is not overlapping
    assert interval_counts([(0, 5), (5, 9)], [(4, 6)]) == (1, 0, 1)  # touching runs stay two
    assert interval_counts([], []) == (0, 0, 0)
    assert interval_prf([], []).f1 == 0.0 and np.isnan(interval_prf([], []).precision)
    assert np.isnan(interval_prf([], [(1, 2)]).recall) and np.isnan(interval_prf([(1, 2)], []).precision)
    for bad in ([(3, 3)], [(0, 5), (4, 9)]):
        with pytest.raises(ValueError, match="must not overlap"):
            interval_counts(bad, [(0, 1)])
    with pytest.raises(ValueError, match="is outside"):
        interval_counts([(0, 1)], [(0, 1)], 1.5)


def composite_by_events(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Garg et al. 2021, section "composite F-score": event-wise recall with time-wise precision."""
    events = [list(group) for flag, group in itertools.groupby(range(len(truth)), lambda t: truth[t]) if flag]
    recall = np.mean([any(predicted[t] for t in event) for event in events])
    precision = precision_score(truth, predicted, zero_division=0)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


@few
@given(mask_pairs.filter(lambda pair: pair[0].any()))
def test_composite_f1(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    ours = composite_prf(runs_of(truth), runs_of(predicted), len(truth))
    assert ours.f1 == pytest.approx(composite_by_events(truth, predicted))


def test_composite_degenerate() -> None:
    empty = composite_prf([], [], 10)
    assert np.isnan(empty.precision) and np.isnan(empty.recall) and empty.f1 == 0.0
    assert composite_counts([(0, 4), (6, 10)], [(3, 7)], 10) == (2, 2, 2, 0)
    assert composite_prf([(0, 4)], [(6, 8)], 10) == (0.0, 0.0, 0.0)


# --- ranking --------------------------------------------------------------------------------------------------------


@few
@given(scored_masks)
def test_auc_pr_is_sklearns_average_precision(case: tuple[np.ndarray, np.ndarray]) -> None:
    truth, scores = case
    if not truth.any():
        assert np.isnan(auc_pr(truth, scores))
        return
    assert auc_pr(truth, scores) == pytest.approx(average_precision_score(truth, scores))
    weights = np.random.default_rng(0).uniform(0.5, 5, len(truth))
    expected = average_precision_score(truth, scores, sample_weight=weights)
    assert auc_pr(truth, scores, weights) == pytest.approx(expected)


@few
@given(scored_masks)
def test_oracle_f1_is_the_best_over_thresholds(case: tuple[np.ndarray, np.ndarray]) -> None:
    truth, scores = case
    if not truth.any():
        assert np.isnan(oracle_point_f1(truth, scores)) and np.isnan(oracle_interval_f1(truth, scores))
        return
    cuts = np.unique(scores)
    assert oracle_point_f1(truth, scores) == pytest.approx(max(point_prf(truth, scores >= c).f1 for c in cuts))
    best = max(interval_prf(runs_of(truth), runs_of(scores >= c)).f1 for c in cuts)
    assert oracle_interval_f1(truth, scores) == pytest.approx(best)


@few
@given(scored_masks, st.integers(0, 24), st.sampled_from([1, 2, 7, 40]))
def test_vus_pr_is_the_reference(case: tuple[np.ndarray, np.ndarray], buffer: int, thresholds: int) -> None:
    truth, scores = case
    if not truth.any():
        assert np.isnan(vus_pr(truth, scores, buffer, thresholds))
        return
    expected = reference_vus_pr(truth, scores, buffer, thresholds)
    assert vus_pr(truth, scores, buffer, thresholds) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("density", [0.002, 0.2])
def test_vus_pr_is_the_reference_with_runs_at_both_edges(density: float) -> None:
    rng = np.random.default_rng(7)
    truth = np.convolve(rng.random(600) < density, np.ones(6), "same") > 0
    truth[:4] = truth[-2:] = True
    scores = np.round(rng.random(600) + truth * rng.random(600), 2)
    for values in (scores, np.full(600, 0.3)):
        assert vus_pr(truth, values, 60, 50) == pytest.approx(reference_vus_pr(truth, values, 60, 50), abs=1e-12)


# What TSB-AD 1.5 itself (RangeAUC_volume_opt, buffer 100, 250 thresholds) gave for these, run by hand.
TSB_AD_SAYS = {0: 0.4646746939736828, 1: 0.48592310261907234, 2: 0.46528377490664385}


def tsb_ad_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    truth = np.zeros(2000, bool)
    for start, length in ((0, 12), (300, 60), (400, 1), (430, 5), (1500, 200), (1990, 10)):
        truth[start : start + length] = True
    t = np.arange(2000)
    return truth, np.round(0.5 + 0.3 * np.sin(t * (0.37 + seed)) + 0.2 * truth * np.cos(t * 0.11) ** 2, 3)


@pytest.mark.parametrize("seed", TSB_AD_SAYS)
def test_vus_pr_is_what_tsb_ad_says(seed: int) -> None:
    assert vus_pr(*tsb_ad_case(seed)) == pytest.approx(TSB_AD_SAYS[seed], abs=1e-12)


def test_vus_pr_degenerate() -> None:
    assert np.isnan(vus_pr(np.zeros(50, bool), np.arange(50.0)))
    assert np.isnan(vus_pr(np.zeros(0, bool), np.zeros(0)))
    assert vus_pr(np.ones(50, bool), np.arange(50.0)) == pytest.approx(1.0, abs=0.05)
    assert vus_pr([True], [0.2]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        vus_pr([True, False], [np.nan, 1.0])
    with pytest.raises(ValueError, match="at least"):
        vus_pr([True, False], [0.0, 1.0], step=0)


def test_vus_pr_of_stretches_does_not_reach_across_their_edges() -> None:
    rng = np.random.default_rng(3)
    truth, scores = rng.random(400) < 0.03, rng.random(400)
    lengths = [150, 1, 249]
    apart = vus_pr(truth, scores, 20, 50, stretches=Stretches(lengths))
    assert apart == pytest.approx(vus_pr(truth, scores, 20, 50, stretches=Stretches(lengths, np.full(400, 3.0))))
    order = np.concatenate((np.arange(151, 400), np.arange(150, 151), np.arange(150)))
    assert apart == pytest.approx(vus_pr(truth[order], scores[order], 20, 50, stretches=Stretches([249, 1, 150])))
    assert vus_pr(truth, scores, 20, 50, stretches=Stretches([400])) == vus_pr(truth, scores, 20, 50)
    assert vus_pr(truth, scores, 1, 50, stretches=Stretches(lengths)) == pytest.approx(vus_pr(truth, scores, 1, 50))
    # a stretch counted twice is a stretch of weight 2
    twice = vus_pr(np.tile(truth, 2), np.tile(scores, 2), 20, 50, stretches=Stretches([400, 400]))
    assert twice == pytest.approx(vus_pr(truth, scores, 20, 50), abs=0.02)
    with pytest.raises(ValueError, match="add up"):
        vus_pr(truth, scores, stretches=Stretches([1, 2]))


def test_vus_pr_takes_100_000_points_in_seconds() -> None:
    rng = np.random.default_rng(0)
    truth = np.convolve(rng.random(100_000) < 0.01, np.ones(5), "same") > 0
    start = time.perf_counter()
    value = vus_pr(truth, rng.random(100_000) + 0.3 * truth)
    assert 0.0 < value < 1.0
    assert time.perf_counter() - start < 3.0


# --- real series ----------------------------------------------------------------------------------------------------


def test_real_series_agree_with_references() -> None:
    for name, truth, scores, predicted in real_cases():
        assert point_prf(truth, predicted).f1 == pytest.approx(f1_score(truth, predicted, zero_division=0)), name
        true, pred = runs_of(truth), runs_of(predicted)
        if len(true) * len(pred) <= 4000 and len(truth) < 3000:
            assert interval_counts(true, pred).tp == most_pairs(true, pred, 0.0), name
        if truth.any():
            assert auc_pr(truth, scores) == pytest.approx(average_precision_score(truth, scores)), name
            composite = composite_prf(true, pred, len(truth))
            assert composite.f1 == pytest.approx(composite_by_events(truth, predicted)), name
            part = slice(max(0, true[0, 0] - 700), true[0, 0] + 700)
            expected = reference_vus_pr(truth[part], scores[part], 30, 60)
            assert vus_pr(truth[part], scores[part], 30, 60) == pytest.approx(expected, abs=1e-12), name


# --- evaluate -------------------------------------------------------------------------------------------------------


def test_evaluate_modules_give_the_same_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    truths = [rng.random(40) < 0.2, rng.random(70) < 0.1]
    scores = [rng.random(40), rng.random(70)]
    predicted = [s > 0.8 for s in scores]
    lines = np.concatenate([truths[0], [False], truths[1]]), np.concatenate([predicted[0], [False], predicted[1]])
    expected = {
        "point": point_prf(*lines), "pa_point": pa_point_prf(*lines),
        "interval": interval_prf(runs_of(lines[0]), runs_of(lines[1])),
        "composite": composite_prf(runs_of(lines[0]), runs_of(lines[1]), 111),
    }  # fmt: skip
    assert set(hub.RECIPES) == {*expected, "affiliation", "auc_pr", "vus_pr"}
    for name, prf in expected.items():
        module = hub.load(name, cache_dir=str(tmp_path))
        for truth, prediction in zip(truths, predicted, strict=True):
            module.add(predictions=prediction, references=truth)
        assert tuple(module.compute().values()) == pytest.approx(prf), name
    vus = hub.load("vus_pr", cache_dir=str(tmp_path)).compute(predictions=scores, references=truths, max_buffer=8)
    assert vus["vus_pr"] == pytest.approx(np.mean([vus_pr(t, s, 8) for t, s in zip(truths, scores, strict=True)]))
    auc = hub.load("auc_pr", cache_dir=str(tmp_path)).compute(predictions=scores, references=truths)
    assert auc["auc_pr"] == pytest.approx(np.mean([auc_pr(t, s) for t, s in zip(truths, scores, strict=True)]))
    strict = hub.load("interval", cache_dir=str(tmp_path)).compute(predictions=predicted, references=truths, iou=0.9)
    assert strict["f1"] <= expected["interval"].f1
    with pytest.raises(ValueError, match="there is no metric 'f2'"):
        hub.load("f2")
