"""Affiliation metrics against the paper's example, against counting on a fine grid, and against what they promise."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tsad.core.intervals import runs_of
from tsad.metrics import hub
from tsad.metrics.affiliation import affiliation_prf
from tsad.metrics.units import Unit, summarise

few = settings(max_examples=60, deadline=None)
mask_pairs = st.integers(3, 40).flatmap(lambda n: st.tuples(hnp.arrays(bool, n), hnp.arrays(bool, n)))
FINE = 40  # grid cells per point


def by_counting(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Precision and recall told point by point on a grid: no formula, only distances and how many are as large."""
    line = (np.arange(len(truth) * FINE) + 0.5) / FINE
    true, called = np.repeat(truth, FINE), np.repeat(predicted, FINE)
    events = runs_of(truth)
    borders = [0.0, *((a + b) / 2 for (_, a), (b, _) in itertools.pairwise(events)), float(len(truth))]
    precisions, recalls = [], []
    for k, (begin, end) in enumerate(events):
        zone = (line > borders[k]) & (line < borders[k + 1])
        places = line[zone]
        to_event = np.maximum(np.maximum(begin - places, places - end), 0.0)
        near = called[zone]
        if near.any():
            precisions.append(np.mean([np.mean(to_event >= d) for d in to_event[near]]))
        recall = []
        for place in places[true[zone]]:
            away = np.abs(places - place)
            recall.append(np.mean(away >= (0.0 if called[np.searchsorted(line, place)] else away[near].min()))
                          if near.any() else 0.0)
        recalls.append(np.mean(recall))
    return (np.mean(precisions) if precisions else np.nan), np.mean(recalls)


@few
@given(mask_pairs.filter(lambda pair: pair[0].any()))
def test_closed_form_is_what_counting_on_a_fine_grid_gives(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    ours = affiliation_prf(runs_of(truth), runs_of(predicted), len(truth))
    precision, recall = by_counting(truth, predicted)
    assert ours.precision == pytest.approx(precision, abs=0.02, nan_ok=True)
    assert ours.recall == pytest.approx(recall, abs=0.02)
    if predicted.any() and ours.precision + ours.recall > 0:
        expected = 2 * ours.precision * ours.recall / (ours.precision + ours.recall)
        assert ours.f1 == pytest.approx(expected)


def test_the_papers_example() -> None:
    # Huet et al. 2022, figure 1, second event: its zone is [30, 120) minutes; precision and recall as printed there.
    ours = affiliation_prf([(20, 40)], [(10, 30), (85, 90)], 90)
    assert ours.precision == pytest.approx(0.672222222) and ours.recall == pytest.approx(0.944444444)
    # the whole example is the mean over its events, each of which can be told from its zone alone
    events, pred = [(0, 10), (50, 70), (170, 175)], [(5, 6), (7, 10), (11, 12), (40, 60), (115, 130), (135, 140)]
    pred.append((165, 170))
    alone = [
        affiliation_prf([(0, 10)], [(5, 6), (7, 10), (11, 12)], 30), ours,
        affiliation_prf([(50, 55)], [(0, 10), (15, 20), (45, 50)], 60),
    ]
    whole = affiliation_prf(events, pred, 180)
    assert whole[:2] == pytest.approx(np.mean([part[:2] for part in alone], axis=0))


@few
@given(mask_pairs.filter(lambda pair: pair[0].any()))
def test_a_perfect_prediction_is_one_and_time_may_run_backwards(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    assert affiliation_prf(runs_of(truth), runs_of(truth), len(truth)) == pytest.approx((1.0, 1.0, 1.0))
    ahead = affiliation_prf(runs_of(truth), runs_of(predicted), len(truth))
    back = affiliation_prf(runs_of(truth[::-1]), runs_of(predicted[::-1]), len(truth))
    assert ahead == pytest.approx(back, nan_ok=True)
    assert all(0 <= value <= 1 + 1e-12 for value in ahead if not np.isnan(value))


def test_guessing_scores_about_a_half_and_nearer_is_better() -> None:
    rng = np.random.default_rng(0)
    events = [(1000, 1010), (3000, 3040)]
    guesses = [affiliation_prf(events, [(p, p + 1) for p in np.sort(rng.choice(5000, 2, False))], 5000)
               for _ in range(600)]
    assert np.mean([g.precision for g in guesses]) == pytest.approx(0.5, abs=0.03)
    # one guess in the one zone: its distance from the event has the law that it is measured against
    single = [affiliation_prf([(2500, 2510)], [(p, p + 1)], 5000).recall for p in rng.integers(0, 5000, 600)]
    assert np.mean(single) == pytest.approx(0.5, abs=0.03)
    near = [affiliation_prf([(500, 510)], [(510 + away, 515 + away)], 1000) for away in (0, 10, 50, 200, 480)]
    assert all(a.f1 > b.f1 for a, b in itertools.pairwise(near))
    everything = affiliation_prf(events, [(0, 5000)], 5000)
    assert everything.recall == 1.0 and everything.precision == pytest.approx(0.5, abs=0.01)


def test_nothing_true_and_nothing_predicted() -> None:
    for pred in ([], [(2, 3)]):
        nothing = affiliation_prf([], pred, 10)
        assert np.isnan(nothing.precision) and np.isnan(nothing.recall) and nothing.f1 == 0.0
    silent = affiliation_prf([(2, 3)], [], 10)
    assert np.isnan(silent.precision) and silent[1:] == (0.0, 0.0)
    half = affiliation_prf([(10, 20), (80, 90)], [(10, 20)], 100)
    assert half[:2] == (1.0, 0.5)  # nothing said about the second event: no precision there, and no recall
    assert affiliation_prf([(0, 5), (5, 9)], [(0, 9)], 9) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="do not lie in a series of 10 points"):
        affiliation_prf([(2, 3)], [(5, 11)], 10)
    with pytest.raises(ValueError, match="must not overlap"):
        affiliation_prf([(2, 5), (4, 6)], [(5, 7)], 10)


def test_a_hundred_thousand_runs_take_a_moment() -> None:
    starts = np.arange(0, 4_000_000, 40)
    true = np.stack((starts + 3, starts + 9), axis=1)
    pred = np.stack((starts + 7, starts + 15), axis=1)
    start = time.perf_counter()
    assert 0.5 < affiliation_prf(true, pred, 4_000_000).f1 < 1.0
    assert time.perf_counter() - start < 1.0


def test_summaries_and_the_evaluate_module_take_the_mean_over_units_with_truth() -> None:
    rng = np.random.default_rng(3)
    truths = [np.zeros(100, bool) for _ in range(4)]
    for truth, start in zip(truths[:3], (10, 40, 60), strict=True):
        truth[start : start + 8] = True
    predicted = [rng.random(100) < 0.05 for _ in range(3)]
    predicted[1][:] = False
    predicted.append(np.ones(100, bool))  # a false alarm where nothing is true: affiliation cannot see it
    weights = (1.0, 2.0, 3.0, 5.0)
    parts = [affiliation_prf(runs_of(t), runs_of(p), 100) for t, p in zip(truths, predicted, strict=True)]
    summary = summarise([Unit("a", t, p, None, w) for t, p, w in zip(truths, predicted, weights, strict=True)])
    assert summary["affiliation_precision"] == pytest.approx((parts[0].precision + 3 * parts[2].precision) / 4)
    assert summary["affiliation_recall"] == pytest.approx((parts[0].recall + 3 * parts[2].recall) / 6)
    assert summary["affiliation_f1"] == pytest.approx((parts[0].f1 + 3 * parts[2].f1) / 6)
    module = hub.RECIPES["affiliation"].compute(truths, predicted)
    plain = summarise([Unit("a", t, p) for t, p in zip(truths, predicted, strict=True)])
    assert module == pytest.approx({k: plain[f"affiliation_{k}"] for k in ("precision", "recall", "f1")})
    nothing = summarise([Unit("a", truths[3], predicted[3])])
    assert all(np.isnan(nothing[f"affiliation_{k}"]) for k in ("precision", "recall", "f1"))
