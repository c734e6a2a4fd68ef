"""The committee: one answer of several detectors, whose members may fail, be silent, or know nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tsad.config.composing import compose, option
from tsad.core.bases import DetectorBase
from tsad.core.building import build
from tsad.core.errors import ConfigError, DetectorError, TsadError, WeightsError
from tsad.core.option_model import Options
from tsad.core.protocols import Trainable
from tsad.core.series import Series
from tsad.core.types import FloatArray, Interval, Origin
from tsad.detectors.base import Detector
from tsad.detectors.committee.detector import Committee
from tsad.detectors.committee.second import budget, in_doubt
from tsad.detectors.proposals.features.committee import NAMES, UNASKED
from tsad.detectors.proposals.features.table import FEATURES, PLACE
from tsad.detectors.proposals.proposer import Judged, corrected, default_detection, default_proposer, look_at

SECOND = 1_000_000_000
STEP = 60 * SECOND


class NoOptions(Options):
    """Nothing to choose."""


class Scripted(Detector):
    """Scores as the test says."""

    name = "scripted"
    options_model = NoOptions

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        return [answer(one) for one in series]


class Noise(Scripted):
    """Scores that tell nothing."""

    name = "noise"

    def score(self, series: Sequence[Series]) -> list[FloatArray]:
        return [np.random.default_rng(len(one)).random(len(one)) for one in series]


class Spotter(Detector):
    """Intervals alone."""

    name = "spotter"
    scored = False
    options_model = NoOptions

    def candidates(self, series: Series) -> tuple[Interval, ...]:
        t = series.timestamps
        return tuple(Interval(int(t[k]), int(t[k + 5]), "dip", 0.9, "it said so") for k in (100, 700) if k + 5 < len(t))


def answer(one: Series) -> FloatArray:
    return np.clip(np.abs(one.values[:, 0]) / 10, 0, 1)


def member(name: str, kind: type[Detector] | None = None, **changes: Any) -> dict[str, Any]:
    described = {"_target_": f"{kind.__module__}.{kind.__qualname__}"} if kind else option("detector", name)
    return {"name": name, **described, **changes}


def committee(*members: Any, **changes: Any) -> Committee:
    named = [member(m) if isinstance(m, str) else m for m in members]
    rest = {"second_opinion": [], "windows_per_hour": 1.0, "when_failing": "stop", **changes}
    return Committee(members=named, **rest)


def series(count: int = 1500, name: str = "P1") -> Series:
    rng = np.random.default_rng(3)
    values = np.sin(np.arange(count) / 20) + rng.normal(scale=0.1, size=count)
    values[400:406] += 6
    values[1000:1003] -= 5
    return Series(name, 1_767_225_600 * SECOND + STEP * np.arange(count), values[:, None])


def test_without_reviews_it_rates_as_its_first_member_does_and_says_who_agreed() -> None:
    one, both = series(), committee("robust_zscore", "poly", member("spotter", Spotter))
    detection, alone = default_detection(both, one), default_detection(both.lead, one)
    assert np.array_equal(detection.scores, alone.scores)
    surest = max(alone.intervals, key=lambda i: i.score)
    same = max(detection.intervals, key=lambda i: i.score)
    assert (same.start, same.end) == (surest.start, surest.end)
    assert same.score == pytest.approx(surest.score, abs=0.1), "there are more candidates to be the highest of"
    note = detection.intervals[0].note
    assert "robust_zscore" in note and "poly" in note and "spotter 0%" in note
    assert [o.origin.detector for o in detection.opinions] == ["robust_zscore", "poly", "spotter"]
    assert detection.opinions[2].intervals == () or detection.opinions[2].intervals[0].note == "it said so"
    runs = look_at(one, next(both.examine([one]))).candidates.runs
    for start, stop in ((100, 105), (700, 705)):
        assert ((runs[:, 0] < stop) & (runs[:, 1] > start)).any(), "what only one of them considers is rated, too"


def test_features_of_single_detectors_stay_as_they_were() -> None:
    lead = committee("robust_zscore", "poly").lead
    look = look_at(series(), next(lead.examine([series()])))
    assert not look.features[:, [PLACE[name] for name in NAMES]].any()
    assert FEATURES[-len(NAMES) :] == NAMES
    assert not set(NAMES) & set(default_proposer("patch").calibrator.defaults.names)


def judged(both: Committee, one: Series, truth: np.ndarray) -> Judged:
    look = look_at(one, next(both.examine([one])))
    return Judged(look, one.timestamps, np.ones(len(one), bool), truth)


def test_reviews_teach_whom_to_trust_and_a_member_of_noise_counts_next_to_nothing() -> None:
    """The first member sees spikes alone, the second the truth, the third nothing."""
    blind = member("lead", Noise)
    both = committee(blind, member("knows", Scripted), {**member("noise", Noise), "name": "noise"})
    known = []
    for k in range(6):
        one = series(1200, f"P{k}")
        values = np.random.default_rng(k).normal(size=1200)
        truth = np.zeros(1200, bool)
        for at in (150 + 40 * k, 600 + 30 * k, 900):
            values[at : at + 6], truth[at : at + 6] = 10.0, True
        known.append(judged(both, replace(one, values=values[:, None]), truth))
    after = corrected(default_proposer(both.rated_as), known)
    weights = dict(zip(after.calibrator.defaults.names, after.calibrator.slopes(), strict=True))
    trusted = weights["member_2_says"] + weights["member_2_height"]
    useless = abs(weights["member_3_says"]) + abs(weights["member_3_height"])
    assert trusted > 0.1 and useless < trusted / 2, weights


def test_a_version_rebuilt_elsewhere_scores_the_same() -> None:
    both, one = committee("robust_zscore", "poly"), series()
    told = json.loads(json.dumps(both.describe()))
    again = build(told, DetectorBase)  # type: ignore[type-abstract]
    assert again.config_hash == both.config_hash and again.base_reference() == both.base_reference()
    first, second = default_detection(both, one), default_detection(again, one)
    assert first.intervals == second.intervals and np.array_equal(first.scores, second.scores)


def test_only_a_committee_whose_first_member_has_a_network_takes_an_adapter() -> None:
    assert not isinstance(committee("robust_zscore", "poly"), Trainable)
    led = committee("patch", "poly")
    assert isinstance(led, Trainable) and led.adapter_defaults == led.lead.adapter_defaults
    assert led.with_memory(None).with_adapter(None).lead is not None


def test_names_on_the_command_line_become_whole_descriptions() -> None:
    cfg = compose(["detector=committee", "detector.members=[robust_zscore,poly]"])
    assert [m["name"] for m in cfg.detector.members] == ["robust_zscore", "poly"]
    assert cfg.detector.members[1]["_target_"] == "tsad.detectors.poly.Poly"
    with pytest.raises(ConfigError, match=r"poli.*poly"):
        compose(["detector=committee", "detector.members=[robust_zscore,poli]"])


@pytest.mark.parametrize(
    ("members", "changes", "said"), [
        (("poly", "poly"), {}, "poly twice"),
        (("poly",), {}, "1 members"),
        (("poly", "robust_zscore"), {"second_opinion": ["poly"]}, "not the first"),
        (("poly", "robust_zscore"), {"windows_per_hour": -1}, "windows_per_hour"),
    ],
)  # fmt: skip
def test_what_makes_no_committee_is_refused(members: tuple[str, ...], changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TsadError, match=said):
        committee(*members, **changes)


def test_a_first_member_without_scores_and_a_member_that_is_gone_are_named() -> None:
    with pytest.raises(DetectorError, match=r"spotter.*no scores"):
        committee(member("spotter", Spotter), "poly")
    with pytest.raises(WeightsError, match=r"member lost .*nowhere"):
        committee("poly", {"name": "lost", "_target_": "tsad.detectors.nowhere.Gone"})


@pytest.mark.parametrize(
    ("given", "said"), [
        (lambda one: np.full(len(one), np.nan), "nan at point 0"),
        (lambda one: np.zeros(len(one) - 1), "1499 scores for the 1500 points"),
        (lambda one: np.full(len(one), 2.0), "no number in 0..1"),
        (lambda one: 1 / 0, "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_a_member_that_fails_is_named_or_left_out(
    given: Any, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(globals(), "answer", given)
    faulty, one = member("faulty", Scripted), series()
    with pytest.raises(DetectorError, match=said) as raised:
        default_detection(committee("poly", faulty), one)
    assert "faulty" in str(raised.value) and "leave_out" in str(raised.value)
    going_on = committee("poly", faulty, "robust_zscore", when_failing="leave_out")
    detection = default_detection(going_on, one)
    assert "faulty not asked" in detection.intervals[0].note and "robust_zscore" in detection.intervals[0].note
    assert "faulty" in caplog.text
    assert going_on.config_hash == committee("poly", faulty, "robust_zscore").config_hash


def test_a_note_says_what_is_rarest_and_who_agrees_in_the_language_of_the_project() -> None:
    both, one = committee("robust_zscore", "poly"), series()
    rater, origin = default_proposer(both.rated_as), Origin("committee", "c:1")
    for language, rare, unit in (("en", "1 in ", "%"), ("zh", "才有", "%")):
        (detection,) = both.detect([one], rater.under(origin, language))
        first = max(detection.intervals, key=lambda i: i.score)
        *_, evidence, votes = first.note.split("; ")
        assert rare in evidence or "1 point in" in evidence, evidence
        assert votes.startswith("robust_zscore ") and ", poly " in votes and unit in votes
        told = {c.note.split("; ")[-1] for c in detection.candidates or ()}
        assert all(note.startswith("robust_zscore ") for note in told), "a mere candidate has the votes alone"
    (silent,) = committee("robust_zscore", "poly", second_opinion=["poly"], windows_per_hour=0.0).detect(
        [one], rater.under(origin, "zh")
    )
    assert "poly 未询问" in silent.intervals[0].note


def test_an_explanation_says_its_evidence_once() -> None:
    from tsad.loop.alarm import _explained

    both, one = committee("robust_zscore", "poly"), series()
    loaded: Any = SimpleNamespace(detector=both, origin=Origin("committee", "c:1"))
    rater = default_proposer(both.rated_as)
    (detection,) = both.detect([one], rater.under(loaded.origin))
    best = max(detection.intervals, key=lambda i: i.score)
    at = int(np.searchsorted(one.timestamps, best.start))
    (told,) = _explained("x", one, (at, at + 1), loaded, rater, "en").stretches
    assert told.proposed and told.reasons[1] in best.note, "what people read in the task"
    assert told.reasons[1] not in told.note and "robust_zscore " in told.note


def test_a_second_opinion_is_asked_about_doubts_alone_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setitem(globals(), "answer", lambda one: shown.append(len(one)) or np.zeros(len(one)))
    one = series(6000)  # 100 hours
    both = committee("poly", member("slow", Scripted), second_opinion=["slow"], windows_per_hour=0.03)
    opinion = next(both.examine([one])).opinions[1]
    assert budget(one, 0.03) == 3
    assert opinion.asked is not None and 512 <= opinion.asked.sum() <= 3 * 512 and sum(shown) == opinion.asked.sum()
    shown.clear()
    nothing = committee("poly", member("slow", Scripted), second_opinion=["slow"], windows_per_hour=0.0)
    examined = next(nothing.examine([one]))
    assert shown == [] and not examined.opinions[1].asked.any()
    features = look_at(one, examined).features
    assert np.allclose(features[:, PLACE["member_2_says"]], UNASKED[0])
    assert next(both.examine([series(3)])).opinions[1].asked.sum() in (0, 3), "a short series is no fault"


def test_stretches_in_doubt_are_the_nearest_to_the_threshold() -> None:
    runs = np.array([[100, 110], [500, 510], [900, 905], [2000, 2010]])
    probability = np.array([0.99, 0.45, 0.01, 0.6])
    parts = in_doubt(runs, probability, 0.5, total=3000, length=100, most=2)
    assert [(p.start, p.stop) for p in parts] == [(455, 555), (1955, 2055)]
    close = in_doubt(np.array([[0, 5], [90, 95]]), np.array([0.5, 0.4]), 0.5, total=120, length=100, most=2)
    assert [(p.start, p.stop) for p in close] == [(0, 100)], "what a stretch holds already costs nothing"
    assert in_doubt(runs[:0], probability[:0], 0.5, total=10, length=5, most=3) == []
