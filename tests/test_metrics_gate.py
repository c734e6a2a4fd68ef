"""The gate on real comparisons: a gain counts only if neither interval F1 nor composite F1 falls beyond noise."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from tsad.core.options import GoldOptions
from tsad.metrics.gate import Decision, decide
from tsad.metrics.paired import paired_bootstrap
from tsad.metrics.units import Unit, rotated, summarise

YAML = yaml.safe_load((Path(__file__).parents[1] / "conf/gold/default.yaml").read_text("utf-8"))
OPTIONS = GoldOptions(**{key: YAML[key] for key in GoldOptions.model_fields})
LENGTH, UNITS = 400, 24


def units(found: int, before: int = 0, after: int = 0, false: int = 0) -> list[Unit]:
    """One true interval per unit, found in the first ``found`` of them with so many points too many on either side;
    ``false`` of the units also hold a false alarm of ten points."""
    result = []
    for k in range(UNITS):
        truth, predicted = np.zeros(LENGTH, bool), np.zeros(LENGTH, bool)
        truth[100:120] = True
        if k < found:
            predicted[100 - before : 120 + after] = True
        if k < false:
            predicted[350:360] = True
        result.append(Unit(f"s{k}", truth, predicted))
    return result


def decision(champion: list[Unit], challenger: list[Unit], metric: str, guard: str) -> Decision:
    options = GoldOptions(**{**dict(OPTIONS), "metric": metric, "guard": guard})
    paired = {
        name: paired_bootstrap(champion, challenger, name, resamples=300, seed=0) for name in (metric, guard)
    }
    return decide(options, intervals=UNITS, gain=paired[metric], guard=paired[guard])


def test_the_gate_reads_both_by_default() -> None:
    assert (OPTIONS.metric, OPTIONS.guard) == ("interval_f1", "composite_f1")


@pytest.mark.parametrize(("metric", "guard"), [("interval_f1", "composite_f1"), ("composite_f1", "interval_f1")])
def test_a_gain_counts_if_neither_falls_beyond_noise(metric: str, guard: str) -> None:
    better = decision(units(8), units(20), metric, guard)
    assert better.promote and better.reason.startswith("better than chance")
    assert not decision(units(20), units(8), metric, guard).promote
    assert not decision(units(12), units(12), metric, guard).promote


def test_longer_intervals_that_hit_more_are_no_gain() -> None:
    champion, longer = units(14), units(22, before=90, after=200)
    assert summarise(longer)["interval_f1"] > summarise(champion)["interval_f1"] + 0.1
    told = decision(champion, longer, "interval_f1", "composite_f1")
    assert not told.promote and told.reason.startswith("composite_f1 fell beyond chance")


def test_purer_points_with_more_false_intervals_are_no_gain() -> None:
    champion, scattered = units(22, before=60, after=60), units(22, false=20)
    assert summarise(scattered)["composite_f1"] > summarise(champion)["composite_f1"] + 0.1
    told = decision(champion, scattered, "composite_f1", "interval_f1")
    assert not told.promote and told.reason.startswith("interval_f1 fell beyond chance")


def test_a_guard_of_which_nothing_is_known_holds_the_gate_shut() -> None:
    gain = SimpleNamespace(gain=0.2, low=0.1, high=0.3, p_value=0.001)
    unknown = SimpleNamespace(gain=float("nan"), low=float("nan"), high=float("nan"), p_value=1.0)
    told = decide(OPTIONS, intervals=UNITS, gain=gain, guard=unknown)
    assert not told.promote and "composite_f1 fell is not known" in told.reason
    assert not decide(OPTIONS, intervals=UNITS, gain=unknown, guard=gain).promote


def test_long_intervals_score_against_labels_in_unrelated_places_too() -> None:
    long, sharp = (summarise(rotated(many, seed=0)) for many in (units(24, before=90, after=200), units(24)))
    assert long["interval_f1"] > sharp["interval_f1"] + 0.3
    assert long["composite_f1"] < 0.3
