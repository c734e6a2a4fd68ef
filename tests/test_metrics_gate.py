"""The gate on real comparisons: either metric may rise beyond chance, neither may fall beyond chance or margin."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

from tsad.core.options import GoldOptions
from tsad.core.printing import decimals
from tsad.metrics.gate import Clause, Decision, decide, level_of
from tsad.metrics.paired import PairedGain, gain_figures, paired_tests
from tsad.metrics.units import Unit, rotated, summarise

ROOT = Path(__file__).parents[1]
YAML = yaml.safe_load((ROOT / "conf/gold/default.yaml").read_text("utf-8"))
OPTIONS = GoldOptions(**{key: YAML[key] for key in GoldOptions.model_fields})
LENGTH, UNITS = 400, 24
GATE = ("interval_f1", "composite_f1")


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


def decision(champion: list[Unit], challenger: list[Unit], **other: float | str) -> Decision:
    options = GoldOptions(**{**dict(OPTIONS), **other})
    gains = paired_tests(
        champion, challenger, (options.metric, options.guard), level=level_of(options), resamples=300, seed=0
    )
    return decide(options, intervals=UNITS, gains=gains)


def gain(value: float, reach: float) -> PairedGain:
    return PairedGain(value, value - reach, value + reach, 0.5, "series", 0.9, 20)


def judged(interval: PairedGain, composite: PairedGain, **how: int | bool) -> Decision:
    return decide(OPTIONS, gains=dict(zip(GATE, (interval, composite), strict=True)), **{"intervals": 20, **how})


def test_the_gate_reads_both_by_default() -> None:
    assert (OPTIONS.metric, OPTIONS.guard) == GATE and OPTIONS.margin == 0.05
    assert level_of(OPTIONS) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("interval", "composite", "clause"),
    [
        # the case gate-promotes-though-composite-fell: promoted before, though composite F1 fell by .22
        (gain(0.400, 0.30), gain(-0.220, 0.47), Clause.MARGIN),
        # three challengers of the AIOPS folder that were refused before
        (gain(0.05, 0.08), gain(0.28, 0.20), Clause.ROSE),
        (gain(0.04, 0.08), gain(0.35, 0.20), Clause.ROSE),
        (gain(0.01, 0.08), gain(0.39, 0.20), Clause.ROSE),
        (gain(0.10, 0.05), gain(0.00, 0.10), Clause.ROSE),
        (gain(0.10, 0.05), gain(-0.04, 0.10), Clause.ROSE),  # within the margin, and may be chance
        (gain(0.10, 0.05), gain(-0.04, 0.03), Clause.FELL),  # within the margin, but not by chance
        (gain(-0.04, 0.03), gain(0.30, 0.10), Clause.FELL),
        (gain(0.10, 0.20), gain(0.10, 0.20), Clause.CHANCE),
        (gain(0.00, 0.00), gain(0.00, 0.00), Clause.CHANCE),
        (PairedGain(0.2, 0.1, 0.3, 0.001), PairedGain(math.nan, math.nan, math.nan, 1.0), Clause.UNKNOWN),
        (PairedGain(1.0, math.nan, math.nan, 0.5), PairedGain(1.0, math.nan, math.nan, 0.5), Clause.UNKNOWN),
    ],
)
def test_either_may_rise_and_neither_may_fall(interval: PairedGain, composite: PairedGain, clause: Clause) -> None:
    def sign(value: float) -> str:
        return decimals(value, sign="+")

    told = judged(interval, composite)
    assert (told.clause, told.promoted) == (clause, clause == Clause.ROSE)
    for figure in (f"{sign(g.gain)} [{sign(g.low)}, {sign(g.high)}]" for g in (interval, composite)):
        assert figure in told.reason
    assert "gold.margin=0.05" in told.reason and "% intervals" in told.reason
    assert told.gains == dict(zip(GATE, (interval, composite), strict=True)) and told.margin == 0.05
    forced = judged(interval, composite, force=True)
    assert forced.promoted and forced.clause == Clause.FORCED
    few = judged(interval, composite, intervals=4)
    assert not few.promoted and few.clause == Clause.EVIDENCE and "4 gold intervals" in few.reason


def test_min_gain_holds_for_what_rose() -> None:
    options = GoldOptions(**{**dict(OPTIONS), "min_gain": 0.2})
    small, large = gain(0.1, 0.05), gain(0.3, 0.1)
    assert decide(options, intervals=20, gains=dict(zip(GATE, (small, small), strict=True))).clause == Clause.MIN_GAIN
    assert decide(options, intervals=20, gains=dict(zip(GATE, (small, large), strict=True))).promoted


def test_the_reason_states_level_and_decider() -> None:
    told = judged(gain(0.1, 0.05), gain(0.0, 0.1))
    assert told.reason.startswith("interval_f1 rose by more than chance, neither fell beyond chance or margin: ")
    assert told.reason.endswith("(90% intervals, 5% on each side; gold.margin=0.05)")
    assert told.verdict().startswith("promoted: interval_f1 rose")
    figures = gain_figures(told.gains)
    assert figures["gain/interval_f1"] == 0.1 and figures["gain/composite_f1_high"] == 0.1
    assert Decision.from_json(told.to_json()) == told


@pytest.mark.parametrize(("metric", "guard"), [GATE, GATE[::-1]])
def test_a_gain_counts_if_neither_falls(metric: str, guard: str) -> None:
    names = {"metric": metric, "guard": guard}
    assert decision(units(8), units(20), **names).clause == Clause.ROSE
    assert decision(units(20), units(8), **names).clause == Clause.FELL
    assert decision(units(12), units(12), **names).clause == Clause.CHANCE


def test_longer_intervals_that_hit_more_are_no_gain() -> None:
    champion, longer = units(14), units(22, before=90, after=200)
    assert summarise(longer)["interval_f1"] > summarise(champion)["interval_f1"] + 0.1
    told = decision(champion, longer)
    assert told.clause == Clause.FELL and told.reason.startswith("composite_f1 fell by more than chance")


def test_purer_points_with_more_false_intervals_are_no_gain() -> None:
    champion, scattered = units(22, before=60, after=60), units(22, false=20)
    assert summarise(scattered)["composite_f1"] > summarise(champion)["composite_f1"] + 0.1
    told = decision(champion, scattered)
    assert told.clause == Clause.FELL and told.reason.startswith("interval_f1 fell by more than chance")


def test_what_is_called_more_than_chance_has_an_interval_without_zero() -> None:
    rng = np.random.default_rng(0)
    clauses = set()
    for _ in range(60):
        made = [[Unit(u.group, u.truth, u.predicted & (rng.random() < p)) for u in units(24)] for p in (0.4, 0.65)]
        told = decision(*made)
        clauses.add(told.clause)
        for metric, result in told.gains.items():
            assert (result.low > 0) == (result.p_value <= 0.05), metric
        assert told.promoted == (any(g.low > 0 for g in told.gains.values()) and told.clause == Clause.ROSE)
    assert {Clause.ROSE, Clause.CHANCE} <= clauses


def test_long_intervals_score_against_labels_in_unrelated_places_too() -> None:
    long, sharp = (summarise(rotated(many, seed=0)) for many in (units(24, before=90, after=200), units(24)))
    assert long["interval_f1"] > sharp["interval_f1"] + 0.3
    assert long["composite_f1"] < 0.3


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gate_benchmark", ROOT / "benchmarks" / "gate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("null", ["same", "near", "trade", "series"])
def test_nulls_gain_nothing_in_the_long_run(bench: ModuleType, null: str) -> None:
    before, after = (summarise(u) for u in bench.null_units(np.random.default_rng(1), null, 150, 20))
    for metric in GATE:
        assert after[metric] == pytest.approx(before[metric], abs=0.03), metric


@pytest.mark.parametrize(("null", "series", "intervals"), [("same", 1, 12), ("trade", 3, 6), ("series", 8, 4)])
def test_no_more_than_alpha_of_the_nulls_are_promoted(
    bench: ModuleType, null: str, series: int, intervals: int
) -> None:
    trials, options = 80, GoldOptions(**{**dict(OPTIONS), "resamples": 200})
    share = bench.promoted_share(options, null, series, intervals, trials)
    error = math.sqrt(OPTIONS.alpha * (1 - OPTIONS.alpha) / trials)
    assert share <= OPTIONS.alpha + 2 * error
