"""Candidates, their features, the calibrator and what is proposed, from series and reviews made to order."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tsad.config import compose, options_of, settings, workbench
from tsad.core.errors import WeightsError
from tsad.core.intervals import intervals_to_runs, mask_of_runs, runs_of
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, Interval
from tsad.detectors.base import Detector
from tsad.detectors.evidence.channels import CHANNELS
from tsad.detectors.evidence.examined import Examined
from tsad.detectors.proposals import calibrator as room
from tsad.detectors.proposals import proposer as proposers
from tsad.detectors.proposals.calibrator import Calibrator, Defaults, fit_defaults, from_json, to_json
from tsad.detectors.proposals.candidates import DENSITY, EXTRA, REACH, SOURCES, find_candidates
from tsad.detectors.proposals.choose import (
    GAPS,
    USUAL_GAP,
    Rated,
    best_threshold,
    join,
    learned_gap,
    propose,
    touches,
)
from tsad.detectors.proposals.features.table import FEATURES, FIRST_EDITION, features_of
from tsad.detectors.proposals.fitting import LabelledLook, fit_proposer, labelled_looks, synthetic_groups
from tsad.detectors.proposals.proposer import (
    Judged,
    Look,
    Proposer,
    corrected,
    default_detection,
    default_proposer,
    defaults_digest,
    look_at,
    to_state,
)
from tsad.detectors.robust_zscore import RobustZScore
from tsad.metrics.calibration import expected_calibration_error

WIDTH = len(FEATURES)


def series_of(values: np.ndarray, name: str = "made") -> Series:
    table = np.asarray(values, np.float64).reshape(len(values), -1)
    names = tuple(f"c{k}" for k in range(table.shape[1]))
    return Series(name, np.arange(len(table), dtype=np.int64) * NS_PER_SECOND, table, names)


def wave(total: int = 4000, seed: int = 0, at: tuple[int, ...] = (900, 2100, 3300)) -> tuple[Series, np.ndarray]:
    """A noisy sine with bursts of 20 points: series, truth [T]."""
    rng = np.random.default_rng(seed)
    values, truth = np.sin(np.arange(total) / 8) + 0.2 * rng.standard_normal(total), np.zeros(total, bool)
    for start in at:
        values[start : start + 20] += rng.choice((-4, 4))
        truth[start : start + 20] = True
    return series_of(values, f"wave-{seed}"), truth


def detector() -> RobustZScore:
    return RobustZScore(half=6.0, window=0)


def examined(series: Series) -> Examined:
    return next(iter(detector().examine([series])))


def flat_defaults(intercept: float = -1.0, slope: float = 0.0) -> Defaults:
    """Of standardised features, the first of which counts."""
    return Defaults(np.r_[intercept, slope, np.zeros(WIDTH - 1)], np.zeros(WIDTH), np.ones(WIDTH))


# --- candidates ------------------------------------------------------------------------------------------------------


def test_candidates_are_disjoint_bounded_and_the_same_again() -> None:
    series, truth = wave(20_000, at=tuple(range(500, 19_000, 1500)))
    found, again = find_candidates(examined(series)), find_candidates(examined(series))
    assert np.array_equal(found.runs, again.runs) and np.array_equal(found.sources, again.sources)
    assert np.all(found.runs[:, 0] <= found.peaks) and np.all(found.peaks < found.runs[:, 1])
    assert np.all(found.runs[1:, 0] >= found.runs[:-1, 1]) and found.runs.min() >= 0 and found.runs.max() <= 20_000
    assert np.all(found.runs[:, 1] - found.runs[:, 0] <= 2 * REACH + 1)
    assert len(found) <= 2 * (DENSITY + (len(SOURCES) - 1) * EXTRA)
    assert touches(runs_of(truth), mask_of_runs(found.runs, 20_000)).mean() > 0.9


def test_candidates_cost_about_the_same_per_point() -> None:
    """Counted by the extents that are looked at, not by the clock."""
    rng, counts = np.random.default_rng(0), []
    for total in (10_000, 80_000):
        rows = np.zeros((len(CHANNELS), total), np.int16)
        counts.append(len(find_candidates(Examined(rng.random(total), rows))))
    assert counts[0] <= DENSITY and 7 < counts[1] / counts[0] < 9


def test_everything_high_is_still_many_short_candidates() -> None:
    scores = np.full(5000, 0.9)
    scores[0] = 0.1
    found = find_candidates(Examined(scores, np.zeros((len(CHANNELS), 5000), np.int16)))
    assert len(found) and np.all(found.runs[:, 1] - found.runs[:, 0] <= 2 * REACH + 1)
    silent = Examined(np.zeros(5000), np.zeros((len(CHANNELS), 5000), np.int16))
    nothing = find_candidates(silent)
    assert len(nothing) == 0 and features_of(silent, nothing).size == 0


@pytest.mark.parametrize("kind", ["constant", "gaps", "one", "twenty", "missing", "channels"])
def test_features_are_finite_on_odd_series(kind: str) -> None:
    rng = np.random.default_rng(0)
    values = {
        "constant": np.ones(500), "one": np.ones(1), "twenty": rng.standard_normal(20), "missing": np.full(300, np.nan),
        "gaps": np.where(np.arange(900) // 50 % 3 == 1, np.nan, rng.standard_normal(900)),
        "channels": np.c_[np.zeros(600), rng.standard_normal(600), np.full(600, np.nan)],
    }[kind]  # fmt: skip
    odd = series_of(values)
    look = look_at(odd, examined(odd))
    assert look.features.shape == (len(look.candidates), WIDTH) and np.isfinite(look.features).all()
    rated = default_proposer("robust_zscore").rate(look)
    assert np.all((rated.probability >= 0) & (rated.probability <= 1))
    assert all(0 <= i.score <= 1 for i in default_detection(detector(), series_of(values)).intervals)


def test_features_say_what_they_are_named() -> None:
    series, _ = wave()
    seen = examined(series)
    found = find_candidates(seen)
    named = dict(zip(FEATURES, features_of(seen, found).T, strict=True))
    a, b = found.runs[3]
    top = np.clip(seen.scores[a:b].max(), 1e-4, 1 - 1e-4)
    assert named["peak"][3] == pytest.approx(np.log(top / (1 - top)), abs=1e-5)
    assert named["log_length"][3] == pytest.approx(np.log2(b - a))
    assert named["amplitude"][3] == pytest.approx(np.abs(seen.row("amplitude")[a:b]).max())
    assert set(named["overlooked"]) <= {0.0, 1.0} and np.array_equal(named["overlooked"] > 0, found.sources > 0)
    assert np.all(named["mean"] <= named["peak"] + 1e-6)


# --- calibrator ------------------------------------------------------------------------------------------------------


def cloud(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, WIDTH))


def test_without_reviews_the_defaults_speak() -> None:
    x, start = cloud(50), Calibrator(flat_defaults(-0.5, 1.2))
    expected = 1 / (1 + np.exp(-(-0.5 + 1.2 * np.clip(x[:, 0], -4, 4))))
    fitted = start.fit(np.zeros((0, WIDTH)), [], np.zeros(0, bool))
    for one in (start, fitted):
        assert np.allclose(one.probability(x, ["s"] * 50), expected)
    assert start.probability(x[:0], []).shape == (0,)


@pytest.mark.parametrize("confirmed", [True, False])
def test_what_is_said_of_one_moves_those_like_it_most(confirmed: bool) -> None:
    x = cloud(40)
    like, unlike = x[:8] + 0.05 * cloud(8, 1), -x[:8]
    start = Calibrator(flat_defaults())
    fitted = start.fit(x[:8], ["s"] * 8, np.full(8, confirmed))
    sign = 1 if confirmed else -1
    moved = [sign * (fitted.probability(z, ["t"] * 8) - start.probability(z, ["t"] * 8)) for z in (like, unlike)]
    assert np.all(moved[0] > 0.02) and moved[0].mean() > moved[1].mean()


def test_few_verdicts_are_believed_less_than_many() -> None:
    """The log odds lie between those of the defaults and those of the correction alone, by the number of verdicts."""
    x, start = cloud(120), Calibrator(flat_defaults(), prior=40.0)
    names, new = ["s"] * 120, cloud(30, 5)
    usual = room.logit(start.probability(new, names[:30]))
    for count, weight in ((10, 0.2), (120, 0.75)):
        alone, drawn = (
            room.logit(one.fit(x[:count], names[:count], x[:count, 0] > 0).probability(new, names[:30]))
            for one in (replace(start, prior=0.0), start)
        )
        assert np.allclose(drawn, weight * alone + (1 - weight) * usual) and np.abs(alone - usual).max() > 0.1
    assert room.trust(0, 0.0) == 0.0 and room.trust(20, 40.0) == 20 / 60


def test_a_series_gets_its_own_intercept() -> None:
    x, names = cloud(80), ["loud", "calm"] * 40
    fitted = Calibrator(flat_defaults()).fit(x, names, np.array([n == "loud" for n in names]))
    new = cloud(30, 5)
    loud, calm, other = (fitted.probability(new, [n] * 30).mean() for n in ("loud", "calm", "other"))
    assert loud > other > calm


@pytest.mark.parametrize(("width", "limit"), [(len(FIRST_EDITION), 0.05), (WIDTH, 0.09)])
def test_probabilities_come_true(width: int, limit: float) -> None:
    """Truth drawn from log odds that the defaults have wrong: after 400 reviews what is promised is what happens.

    Features here are noise but for two, each as large as the others: the more of them, the more 400 reviews mislead.
    """
    errors = []
    for seed in range(4):
        rng = np.random.default_rng((3, seed))
        x = rng.standard_normal((2400, width))
        truth = rng.random(2400) < 1 / (1 + np.exp(-(-1.5 + 1.5 * x[:, 0] - x[:, 1])))
        start = Calibrator(Defaults(np.r_[0.5, 0.3, np.zeros(width - 1)], np.zeros(width), np.ones(width)))
        names = ["s"] * 2400
        fitted = start.fit(x[:400], names[:400], truth[:400])
        said = [one.probability(x[400:], names[400:]) for one in (start, fitted)]
        errors.append([expected_calibration_error(truth[400:], p) for p in said])
    before, after = np.mean(errors, axis=0)
    assert after < limit < 0.3 < before


def test_a_refit_takes_few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    """No clock: the matrices solved for 1,000 candidates."""
    solved, solve = [0], np.linalg.solve

    def counted(*given: np.ndarray) -> np.ndarray:
        solved[0] += 1
        return solve(*given)

    monkeypatch.setattr(room.np.linalg, "solve", counted)
    x = cloud(1000)
    Calibrator(flat_defaults()).fit(x, [f"s{k % 5}" for k in range(1000)], x[:, 0] > 1)
    settings_ = len(room.INTERCEPTS) * len(room.SLOPES) * len(room.SERIES) * len(room.MEMORIES)
    assert 0 < solved[0] <= 12 * settings_


def test_both_ways_of_solving_agree() -> None:
    rng = np.random.default_rng(0)
    columns, offset, truth = rng.standard_normal((30, 12)), rng.standard_normal(30), rng.random(30) < 0.4
    one = room._laplace(columns, offset, truth.astype(float))
    two = room._laplace_dual(columns, offset, truth.astype(float))
    assert np.allclose(one[0], two[0], atol=1e-3) and np.allclose(one[1], two[1], atol=1e-3)
    assert one[2] == pytest.approx(two[2], abs=1e-3)


def test_averaged_weights_are_the_mean_log_odds() -> None:
    x = cloud(400)
    groups = [(x, x[:, 0] + x[:, 40] > 0)]
    first, every = fit_defaults(groups, FIRST_EDITION, 20.0), fit_defaults(groups, FEATURES, 60.0)
    both, new = room.averaged(first, every), cloud(50, 3)
    odds = [one.log_odds(one.standardise(one.own(new))) for one in (first, every, both)]
    assert np.allclose((odds[0] + odds[1]) / 2, odds[2]) and not np.allclose(odds[0], odds[1])


def test_defaults_are_fitted_and_written_down() -> None:
    x = cloud(600)
    groups = [(x[:500], x[:500, 0] > 0), (x[500:], x[500:, 0] > 0)]
    fitted = fit_defaults(groups)
    assert fitted.weights[1] > 5 * np.abs(fitted.weights[2:]).max()
    again = from_json(json.loads(json.dumps(to_json(fitted))))
    assert all(np.array_equal(a, b) for a, b in zip(vars(fitted).values(), vars(again).values(), strict=True))


# --- from probabilities to proposals ---------------------------------------------------------------------------------


def test_near_runs_are_joined() -> None:
    runs, p = np.array([[0, 5], [9, 12], [50, 60]]), np.array([0.4, 0.9, 0.6])
    joint, probability = join(runs, p, 4)
    assert joint.tolist() == [[0, 12], [50, 60]] and probability.tolist() == [0.9, 0.6]
    assert propose(Rated(runs, p), 0.5, 4)[0].tolist() == [[9, 12], [50, 60]]
    assert len(join(runs[:0], p[:0], 4)[0]) == 0


def test_the_threshold_is_the_best_of_all_by_expected_f1() -> None:
    """Far candidates, so that none are joined: every threshold tried by hand."""
    p, runs = np.array([0.9, 0.7, 0.4, 0.2]), np.array([[0, 10], [1000, 1010], [2000, 2010], [3000, 3010]])
    threshold, expected = best_threshold([Rated(runs, p)], 32)

    def value(level: float) -> float:
        chosen = p >= level
        return float(2 * p[chosen].sum() / (chosen.sum() + p.sum()))

    values = {level: value(level) for level in p}
    best = max(values, key=values.__getitem__)
    assert np.array_equal(p >= threshold, p >= best) and expected == pytest.approx(max(values.values()))
    assert best_threshold([], 32) == (0.5, 0.0)


def test_the_gap_is_the_usual_one_until_pairs_insist() -> None:
    nothing = np.zeros(0, np.int64)
    assert learned_gap(nothing, nothing > 0) == USUAL_GAP
    assert learned_gap(np.array([100]), np.array([True])) == USUAL_GAP
    assert learned_gap(np.full(20, 100), np.full(20, True)) == 128
    assert learned_gap(np.full(20, 10), np.full(20, False)) == 8 and max(GAPS) == 256


# --- the proposer ----------------------------------------------------------------------------------------------------


def judged(series: Series, truth: np.ndarray, stop: int) -> Judged:
    reviewed = np.arange(len(series)) < stop
    return Judged(look_at(series, examined(series)), series.timestamps, reviewed, truth & reviewed)


def test_reviews_correct_what_is_proposed() -> None:
    series, truth = wave(8000, at=tuple(range(400, 7800, 700)))
    base = default_proposer("robust_zscore")
    after = corrected(base, [judged(series, truth, 4000)])
    look = look_at(series, examined(series))
    late = look.candidates.peaks >= 4000
    hit = touches(look.candidates.runs, truth)
    before_p, after_p = (one.rate(look).probability for one in (base, after))
    assert after_p[late & hit].mean() > before_p[late & hit].mean()
    found = intervals_to_runs(after.intervals(series, look), series.timestamps)
    assert touches(runs_of(truth), mask_of_runs(found, 8000)).mean() > 0.8
    assert corrected(base, []).verdicts == () and corrected(base, []).threshold == base.threshold


def test_what_was_rejected_is_not_proposed_again() -> None:
    series, _ = wave(8000, at=tuple(range(400, 7800, 700)))
    one = judged(series, np.zeros(8000, bool), 4000)
    eager = replace(default_proposer("robust_zscore"), threshold=0.0)
    after = replace(corrected(eager, [one]), threshold=0.0, gap=0)
    rejected = one.look.candidates.runs[one.look.candidates.peaks < 4000]
    proposed = mask_of_runs(intervals_to_runs(after.intervals(series, one.look), series.timestamps), 8000)
    assert len(rejected) and all(proposed[a:b].mean() <= 0.5 for a, b in rejected)
    assert proposed[4100:].any(), "elsewhere it goes on proposing"
    other = replace(series, point_id="other")
    assert len(after.intervals(other, replace_look(one.look, "other"))) > len(after.intervals(series, one.look))


def replace_look(look: Look, name: str) -> Look:
    return Look(name, look.candidates, look.features)


def test_a_saved_proposer_says_the_same_bit_for_bit() -> None:
    series, truth = wave(6000, at=tuple(range(300, 5800, 500)))
    look = look_at(series, examined(series))
    after = corrected(default_proposer("robust_zscore"), [judged(series, truth, 3000)])
    again = Proposer.from_artifact(state=json.loads(json.dumps(to_state(after))))
    assert (again.threshold, again.gap, again.verdicts) == (after.threshold, after.gap, after.verdicts)
    assert np.array_equal(again.rate(look).probability, after.rate(look).probability)
    assert again.intervals(series, look) == after.intervals(series, look)
    plain = Proposer.from_artifact(state=to_state(default_proposer("poly")))
    assert np.array_equal(plain.rate(look).probability, default_proposer("poly").rate(look).probability)


def test_a_proposer_of_the_first_edition_still_speaks() -> None:
    """A state of 25 features, without their names, under a look of all of them; and names in another order."""
    series, truth = wave(6000, at=tuple(range(300, 5800, 500)))
    base = default_proposer("robust_zscore")
    names, given = FIRST_EDITION, base.calibrator.defaults
    kept = [given.names.index(name) for name in names]
    first = Defaults(given.weights[[0, *(1 + k for k in kept)]], given.middle[kept], given.scale[kept], names)
    after = corrected(replace(base, calibrator=Calibrator(first, prior=0.0)), [judged(series, truth, 3000)])
    state = json.loads(json.dumps(to_state(after)))
    assert state.pop("prior") == 0.0 and state.pop("features") == list(names)
    assert len(state["verdicts"][0]["features"]) == len(names) == 25
    old, look = Proposer.from_artifact(state=state), look_at(series, examined(series))
    assert look.features.shape[1] == WIDTH > 25
    assert np.array_equal(old.rate(look).probability, after.rate(look).probability)
    turned = [*reversed(names)]
    verdicts = [{**v, "features": v["features"][::-1]} for v in state["verdicts"]]
    other = Proposer.from_artifact(state={**state, "features": turned, "verdicts": verdicts})
    assert old.threshold == after.threshold and old.calibrator.prior == 0.0
    plain = replace(old, calibrator=Calibrator(first)), replace(other, calibrator=Calibrator(other.calibrator.defaults))
    assert np.allclose(*(one.rate(look).probability for one in plain)), "every weight goes by its name"
    state["defaults"]["features"]["humour"] = state["defaults"]["features"].pop("peak")
    with pytest.raises(WeightsError, match="humour"):
        Proposer.from_artifact(state=state)


def test_damaged_defaults_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = json.loads(proposers.DEFAULTS.read_text("utf-8"))
    other = tmp_path / "defaults.json"
    monkeypatch.setattr(proposers, "DEFAULTS", other)
    with pytest.raises(WeightsError, match="cannot be read"):
        default_proposer("patch")
    noted = {**stated, "patch": {**stated["patch"], "provenance": {"by": "somebody"}}}
    other.write_text(json.dumps(noted))
    digest = defaults_digest("patch")
    other.write_text(json.dumps({**stated, "patch": {**stated["patch"], "threshold": 0.9}}))
    assert defaults_digest("patch") != digest and defaults_digest("unheard of") == defaults_digest("any")
    other.write_text(json.dumps({"any": {"threshold": 0.5}}))
    with pytest.raises(WeightsError, match="features"):
        default_proposer("patch")


SLOW = {"patch", "matrix_profile"}  # patch has tests of its own, the other compiles for minutes
WITHOUT_WEIGHTS = {"chatts_8b", "chatts_14b", "chatts_smol", "qwen_vl_8b", "text"}  # not to be had in a test


@pytest.mark.parametrize("name", sorted(set(options_of("detector")) - SLOW - WITHOUT_WEIGHTS))
def test_every_detector_proposes(name: str) -> None:
    one: Detector = workbench(settings(compose())).detector_named(name)
    series, _ = wave(1200, at=(500,))
    detection = default_detection(one, series)
    ends = [(i.start, i.end) for i in detection.intervals]
    assert len(detection.scores) == 1200 and ends == sorted(ends)
    assert all(0 <= i.score <= 1 for i in detection.intervals)
    assert any(i.overlaps(Interval(500 * NS_PER_SECOND, 520 * NS_PER_SECOND)) for i in detection.candidates or ())


# --- fitting the defaults --------------------------------------------------------------------------------------------


def test_defaults_fitted_to_labelled_series_find_the_bursts() -> None:
    made = [wave(3000, seed, (700, 1900)) for seed in range(6)]
    looks = list(labelled_looks(detector(), made))
    synthetic = synthetic_groups(detector(), ((4, 512), (2, 768)), seed=5)
    assert {len(one.truth) for one in synthetic["synthetic-512"]} == {512} and len(synthetic["synthetic-768"]) == 2
    proposer = fit_proposer([looks[:3], *synthetic.values()], [looks[:3]])
    for look in looks[3:]:
        p, hit = proposer.rate(look.look).probability, look.confirmed
        assert p[hit].mean() > p[~hit].mean() + 0.3
    assert 0 < proposer.threshold < 1
    constant = series_of(np.ones(50), "flat")
    flat = look_at(constant, Examined.plain(constant, np.zeros(50)))
    empty = LabelledLook(flat, np.zeros(50, bool))
    assert isinstance(fit_proposer([looks[:2], [empty]]), Proposer)
