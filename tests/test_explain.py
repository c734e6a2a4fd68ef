"""What is missing where nothing was trained or promoted, in people's terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tsad.config.workbench import Workbench
from tsad.loop.explain import evidence_gap, learning_gap
from tsad.loop.results import LoggedModel, PairedGain, Scored, Trained

Make = Callable[..., Workbench]


def trained(adapter: bool = False, model: bool = True, reason: str = "", candidates: float | None = 5.0) -> Trained:
    metrics = {} if candidates is None else {"judged_candidates": candidates}
    return Trained(adapter, reason, metrics, 0.5, LoggedModel("runs:/x", {}) if model else None, "abc")


@pytest.fixture
def patch(bench: Make) -> Workbench:
    return bench("source=synthetic", "adapter.min_windows=12", "adapter.min_positive=20")


def test_how_many_more_reviews_an_adapter_needs(patch: Workbench) -> None:
    few = learning_gap(patch, 8, 3, trained())
    assert few is not None and (few.more_windows, few.more_positive) == (4, 17)
    assert str(few) == (
        "an adapter needs 4 more reviewed windows and 17 more with an anomaly; "
        "there are 8 reviewed windows (3 with an anomaly)"
    )
    some = learning_gap(patch, 23, 11, trained())
    assert str(some) == (
        "an adapter needs 9 more reviewed windows with an anomaly; there are 23 reviewed windows (11 with an anomaly)"
    )
    assert "1 more reviewed window with an anomaly;" in str(learning_gap(patch, 23, 19, trained()))
    assert learning_gap(patch, 40, 30, trained(adapter=True)) is None
    enough = learning_gap(patch, 40, 30, trained(reason="adapter not taken: no lower validation loss"))
    assert str(enough) == "adapter not taken: no lower validation loss"


def test_where_nothing_was_learned_at_all(patch: Workbench, bench: Make) -> None:
    nothing = learning_gap(patch, 24, 0, trained(model=False, candidates=0.0))
    told = "nothing was learned: 24 reviewed windows (0 with an anomaly) hold no candidate of the detector"
    assert str(nothing).startswith(f"{told}; an adapter needs 20 more reviewed windows with an anomaly")
    plain = bench("source=synthetic", "detector=robust_zscore")
    assert learning_gap(plain, 24, 3, trained()) is None, "it has no network to adapt, and something was learned"
    same = learning_gap(plain, 24, 3, trained(model=False, candidates=None))
    assert str(same) == "nothing was learned: 24 reviewed windows (3 with an anomaly) taught nothing new"


def scored(intervals: int = 9, **gains: tuple[float, float, float]) -> Scored:
    paired = {name: PairedGain(*values, 0.3) for name, values in gains.items()}
    return Scored("def", intervals, {"champion": {}, "challenger": {}}, {"champion": 1, "challenger": 2}, paired)


def evidence(patch: Workbench, windows: int, result: Scored, **given: Any) -> Any:
    given = {"by_people": True, "available": 200} | given
    return evidence_gap(patch, result.intervals, result.paired, windows, **given)


def test_how_many_gold_windows_would_narrow_the_interval(patch: Workbench) -> None:
    gap = evidence(patch, 12, scored(interval_f1=(0.1, -0.1, 0.3), composite_f1=(0.05, -0.2, 0.3)))
    assert gap.needed == 48, "the arm of .2 has to be halved: four times as many"
    assert str(gap) == (
        "interval_f1 +.10 within [-.10, +.30], .40 wide; composite_f1 +.05 within [-.20, +.30], .50 wide; "
        "about 48 gold windows would tell (12 now); "
        "that takes a new loop, reviewed anew: loop.name=NAME gold.windows=48 gold.windows_share=0.24"
    )
    assert "more or longer series" in str(evidence(patch, 12, scored(interval_f1=(0.1, -0.1, 0.3)), available=60))
    labelled = evidence(patch, 12, scored(interval_f1=(0.1, -0.1, 0.3)), by_people=False)
    assert "more labelled series and a new loop" in str(labelled)
    assert "about 1,600 gold windows" in str(evidence(patch, 97, scored(interval_f1=(0.1, -0.3, 0.5))))


def test_where_more_gold_windows_would_not_help_or_cannot_be_told(patch: Workbench) -> None:
    worse = evidence(patch, 12, scored(interval_f1=(-0.1, -0.3, 0.1)))
    assert worse.needed is None and str(worse).endswith("which more gold windows would not change: review more windows")
    fallen = evidence(patch, 12, scored(interval_f1=(0.2, 0.1, 0.3), composite_f1=(-0.2, -0.3, -0.1)))
    assert fallen.needed is None and "would tell" not in str(fallen), "the gate's own reason says it"
    unknown = evidence(patch, 1, scored(interval_f1=(0.2, math.nan, math.nan)))
    assert unknown.needed is None and "too few to be drawn anew" in str(unknown)


def test_how_many_more_anomalies_the_gate_asks_for(patch: Workbench) -> None:
    gap = evidence(patch, 12, scored(intervals=2, interval_f1=(0.2, 0.1, 0.3)))
    assert (gap.intervals, gap.more_intervals) == (2, 3)
    assert "12 gold windows with 2 anomalies, the gate wants 5 (gold.min_intervals)" in str(gap)
    assert "about 30 gold windows would tell (12 now)" in str(gap)
    assert "with 0 anomalies" in str(evidence(patch, 12, scored(intervals=0, interval_f1=(0.0, 0.0, 0.0))))
