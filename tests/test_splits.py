"""Gold splits: disjoint, deterministic, with known probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tsad.core.errors import ConfigError, LabelError
from tsad.core.series import Series, Window
from tsad.core.types import Interval
from tsad.core.windows import cut
from tsad.review.gold.auto import AutoSeriesGold, AutoTimeGold
from tsad.review.gold.base import GoldRule
from tsad.review.gold.people import PeopleGold
from tsad.review.gold.series import SeriesGold
from tsad.review.gold.time import TimeGold
from tsad.review.splits import reviewable

SECOND = 1_000_000_000
VALUES = {
    "share": 0.3, "windows": 12, "windows_share": 0.25, "strata": 3, "min_intervals": 5, "metric": "interval_f1",
    "guard": "composite_f1", "margin": 0.05, "min_gain": 0.0, "alpha": 0.1, "resamples": 100, "seed": 0,
}  # fmt: skip
KINDS = {
    "series": SeriesGold, "time": TimeGold, "people": PeopleGold, "auto": AutoSeriesGold, "auto_time": AutoTimeGold,
}  # fmt: skip


def made(kind: str = "series", **changes: Any) -> GoldRule:
    """A gold rule, with those of VALUES that it takes."""
    model = KINDS[kind].options_model
    return KINDS[kind](**{key: value for key, value in (VALUES | changes).items() if key in model.model_fields})


def series(name: str, labels: list[tuple[int, int]] | None, length: int = 400) -> Series:
    stamps = np.arange(length, dtype=np.int64) * SECOND
    given = None if labels is None else tuple(Interval(a * SECOND, b * SECOND) for a, b in labels)
    return Series(name, stamps, np.ones((length, 1)), labels=given)


def plant() -> list[Series]:
    abnormal = [series(f"A{k}", [(50, 60), (300, 310)]) for k in range(6)]
    normal = [series(f"N{k}", []) for k in range(4)]
    return [*abnormal, *normal, series("U0", None)]


def test_by_series_keeps_whole_series_with_anomalies_on_both_sides() -> None:
    items = plant()
    split = made().split(items, 100)
    gold, pool = {w.point_id for w in split.gold}, {w.point_id for w in split.pool}
    assert not gold & pool
    assert gold | pool == {s.point_id for s in items}
    assert sum(p[0] == "A" for p in gold) == 2 and sum(p[0] == "N" for p in gold) == 1
    assert "U0" in pool
    assert all(len(w) == 100 for w in (*split.gold, *split.pool))
    again = made().split(items[::-1], 100)
    assert {w.point_id for w in again.gold} == gold
    seeds = {frozenset(w.point_id for w in made(seed=s).split(items, 100).gold) for s in range(8)}
    assert len(seeds) > 1


def test_a_lone_abnormal_series_is_gold() -> None:
    split = made().split([series("A", [(5, 9)]), series("B", []), series("C", [])], 100)
    assert {w.point_id for w in split.gold} == {"A", "B"} or {w.point_id for w in split.gold} >= {"A"}
    assert split.pool


def test_by_time_gives_the_end_of_each_series_and_cuts_no_anomaly() -> None:
    items = [series("A", [(270, 290)]), series("B", []), series("U", None)]
    split = made("time").split(items, 50)
    for name in "AB":
        last_pool = max(w.span[1] for w in split.pool if w.point_id == name)
        first_gold = min(w.span[0] for w in split.gold if w.point_id == name)
        assert last_pool <= first_gold
    assert min(w.start for w in split.gold if w.point_id == "A") == 290
    assert min(w.start for w in split.gold if w.point_id == "B") == 280
    assert {w.point_id for w in split.gold} == {"A", "B"}
    covered = sum(len(w) for w in (*split.gold, *split.pool))
    assert covered == sum(len(s) for s in items)


def test_windows_without_a_value_are_left_out() -> None:
    empty = Series("E", np.arange(100, dtype=np.int64) * SECOND, np.full((100, 1), np.nan), labels=())
    split = made().split([empty, series("A", [(5, 9)]), series("B", [])], 100)
    assert "E" not in {w.point_id for w in (*split.gold, *split.pool)}
    assert reviewable(cut(empty, 50)) == []


def test_what_cannot_be_split_says_what_to_do() -> None:
    with pytest.raises(LabelError, match="gold=people"):
        made().split([series("U", None)], 100)
    with pytest.raises(LabelError, match="gold=time"):
        made().split([series("A", [(5, 9)]), series("U", None)], 100)
    with pytest.raises(ConfigError, match="share"):
        made(share=1.0)
    with pytest.raises(ConfigError, match="strata is 4 but windows is 2"):
        made("people", strata=4, windows=2)


@pytest.mark.parametrize(
    ("kind", "with_labels", "without"),
    [("series", False, None), ("time", False, None), ("auto", False, True), ("auto_time", False, True),
     ("people", True, True)],
)  # fmt: skip
def test_people_are_asked_where_the_rule_says_so(kind: str, with_labels: bool, without: bool | None) -> None:
    assert made(kind).by_people(True) is with_labels
    if without is None:
        with pytest.raises(LabelError, match="gold=people review=label_studio"):
            made(kind).by_people(False)
    else:
        assert made(kind).by_people(False) is without
    for labelled, by_time in (("auto", "series"), ("auto_time", "time")):
        ours, theirs = made(labelled).split(plant(), 100).gold, made(by_time).split(plant(), 100).gold
        assert [w.window_id for w in ours] == [w.window_id for w in theirs]
    windows = cut(plant()[0], 20)
    assert made("auto").draw(windows, np.zeros(20)) == made("people").draw(windows, np.zeros(20))


def test_drawn_gold_is_stratified_with_true_probabilities() -> None:
    windows = [w for s in plant() for w in cut(s, 20)]
    scores = np.linspace(0, 1, len(windows))
    picks = made("people").draw(windows, scores)
    assert len(picks) == 12 and len({i for i, _, _ in picks}) == 12
    assert sum(1 / p for _, p, _ in picks) == pytest.approx(len(windows))  # all series are equally long
    by_stratum = {name: [p for _, p, n in picks if n == name] for name in ("stratum-0", "stratum-1", "stratum-2")}
    assert [len(v) for v in by_stratum.values()] == [4, 4, 4]
    assert by_stratum["stratum-0"][0] < by_stratum["stratum-1"][0] <= by_stratum["stratum-2"][0]
    assert made("people").draw(windows, scores) == picks
    hits, reported = np.zeros(len(windows)), np.zeros(len(windows))
    for seed in range(400):
        for i, p, _ in made("people", seed=seed).draw(windows, scores):
            hits[i] += 1
            reported[i] = p
    assert np.abs(hits / 400 - reported).max() < 5 * np.sqrt(0.25 / 400)


def test_drawn_gold_does_not_depend_on_the_order_of_the_candidates() -> None:
    windows = [w for s in plant() for w in cut(s, 50)]
    scores = np.random.default_rng(0).random(len(windows)).round(1)
    first = {windows[i].window_id for i, _, _ in made("people").draw(windows, scores)}
    order = np.random.default_rng(1).permutation(len(windows))
    second: list[Window] = [windows[i] for i in order]
    assert {second[i].window_id for i, _, _ in made("people").draw(second, scores[order])} == first


@pytest.mark.parametrize(
    ("count", "windows", "share", "drawn"),
    [(1, 12, 0.25, 0), (2, 12, 0.25, 1), (5, 12, 0.25, 1), (51, 60, 0.25, 12), (40, 6, 0.25, 6), (5, 12, 0.95, 4)],
)
def test_gold_takes_a_share_of_what_there_is(count: int, windows: int, share: float, drawn: int) -> None:
    pool = cut(series("A", None, 20 * count), 20)
    picks = made("people", windows=windows, windows_share=share).draw(pool, np.zeros(count))
    assert len(picks) == drawn
    if drawn:
        assert sum(1 / p for _, p, _ in picks) == pytest.approx(count)


def uneven() -> list[Window]:
    """Series of one to eight windows."""
    return [w for k in range(8) for w in cut(series(f"S{k}", None, 20 * (k + 1)), 20)]


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_no_series_is_all_gold_and_the_probabilities_hold(share: float) -> None:
    windows, draws = uneven(), 600
    scores = np.random.default_rng(0).random(len(windows))
    hits, totals, truth = np.zeros(len(windows)), [], scores > 0.4
    for seed in range(draws):
        picks = made("people", windows=60, windows_share=share, seed=seed).draw(windows, scores)
        drawn = {i for i, _, _ in picks}
        for point in {w.point_id for w in windows} - ({"S0"} if share > 0.5 else set()):
            assert any(i not in drawn for i, w in enumerate(windows) if w.point_id == point), point
        hits[list(drawn)] += 1
        totals.append(sum(truth[i] / p for i, p, _ in picks))
    reached = np.array([w.point_id != "S0" or share > 0.5 for w in windows])
    assert (hits[reached] > 0).all() and not hits[~reached].any()
    error = np.std(totals) / np.sqrt(draws)
    assert abs(np.mean(totals) - truth[reached].sum()) < 4 * error


def test_series_of_one_window_give_gold_where_no_others_do() -> None:
    windows = [cut(series(f"S{k}", None, 20), 20)[0] for k in range(8)]
    picks = made("people").draw(windows, np.linspace(0, 1, 8))
    assert len(picks) == 2 and sum(1 / p for _, p, _ in picks) == pytest.approx(8)
