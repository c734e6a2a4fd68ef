"""Strategies that compare windows, count votes or spread over scores; near-identical windows offered once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml

from tsad.config import options_of
from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.options.threshold import kept_threshold
from tsad.core.reviews import Choice, ReviewedWindow, ReviewState
from tsad.core.series import Series, Window
from tsad.core.types import Detection, Interval, Origin, Proposal
from tsad.core.windows import cut
from tsad.detectors.robust_zscore import RobustZScore
from tsad.embeddings.table import Embedded
from tsad.files.locate import shipped
from tsad.loop.drawing import draw_queue
from tsad.loop.pool import EarlierReviews, ScoredSeries, pool_of
from tsad.review.sampling import select
from tsad.review.strategies.base import FLOOR, Pool, Strategy
from tsad.review.strategies.disagreement import Disagreement
from tsad.review.strategies.diversity import Diversity
from tsad.review.strategies.look_alikes import LookAlikes
from tsad.review.strategies.mix import Mix
from tsad.review.strategies.stratified import Stratified

Make = Callable[..., Workbench]
SECOND = 10**9
ORIGIN = Origin("x", "x:1")
COMMON: dict[str, Any] = {"windows": 8, "max_per_series": 0, "seed": 0, "once": 0.05}
SHARP = {**COMMON, "temperature": 0.1}


def noise(name: str, total: int = 800, seed: int = 0) -> Series:
    values = np.random.default_rng(seed).normal(size=(total, 1))
    return Series(name, np.arange(total, dtype=np.int64) * SECOND, values)


def pool(count: int = 40, **known: Any) -> Pool:
    windows = cut(noise("P", 20 * count), 20)
    scores = np.random.default_rng(1).permutation(count) / count
    return Pool(windows, scores, 1 - scores, **known)


def often(strategy: Strategy, given: Pool, draws: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """How often each window was drawn, and the mean of 1 / probability where it was: 1 for each, if both fit."""
    hits, inverse = np.zeros(len(given)), np.zeros(len(given))
    for seed in range(draws):
        for k, probability, _ in select(given, strategy, seed):
            assert 0 < probability <= 1
            hits[k] += 1
            inverse[k] += 1 / probability
    return hits / draws, inverse / draws


def test_stratified_draws_one_of_each_part_of_the_scores() -> None:
    given = pool()
    for seed in range(20):
        picks = select(given, Stratified(**COMMON), seed)
        assert [p for _, p, _ in picks] == pytest.approx([8 / 40] * 8)
        assert sorted(int(given.scores[k] * 8 + 1e-9) for k, _, _ in picks) == list(range(8))
    hits, _ = often(Stratified(**COMMON), given)
    assert np.abs(hits - 0.2).max() < 0.12
    limited = Pool([*given.windows, *cut(noise("Q", 800), 20)], np.tile(given.scores, 2), np.tile(given.doubts, 2))
    picks = select(limited, Stratified(**{**COMMON, "max_per_series": 4}), 0)
    assert [limited.windows[k].point_id for k, _, _ in picks] == ["P"] * 4 + ["Q"] * 4


def test_diversity_prefers_what_lies_apart_and_is_unlike_what_was_reviewed() -> None:
    angle = np.concatenate((np.full(36, 0.0) + np.arange(36) * 1e-3, [1.5, 2.5, 3.5, 4.5], [4.5]))
    table = Embedded("x", np.column_stack((np.cos(angle), np.sin(angle))))
    strategy = Diversity(**{**SHARP, "windows": 4}, embedding="shape")
    hits, inverse = often(strategy, pool(embedded=table))
    assert hits[36:39].min() > 0.6 and hits[39] < 0.3, "the last one is like what people have reviewed"
    assert hits[:36].sum() < 1.2 and inverse[36:39] == pytest.approx(1.0, abs=0.3)
    assert strategy.asks_for == {"embedded"} and len(pool(embedded=table).of(np.array([0, 5])).embedded or ()) == 3


def test_disagreement_and_likeness_prefer_the_highest() -> None:
    values = np.zeros(40)
    values[[3, 17]] = 1.0
    two = {**SHARP, "windows": 2}
    for strategy, known in (
        (Disagreement(**two), "dissent"), (LookAlikes(**two, embedding="shape"), "likeness"),
    ):  # fmt: skip
        hits, _ = often(strategy, pool(**{known: values}), 100)
        assert hits[[3, 17]].min() > 0.85 and strategy.asks_for == {known}
        with pytest.raises(ValueError, match=known):
            pool(**{known: values * 2})


def test_a_mix_asks_for_what_its_members_with_a_share_read() -> None:
    def mix(**shares: float) -> Mix:
        return Mix(**SHARP, embedding="base", mix={"random": 0.5, **shares})

    assert mix(top_score=0.5, diversity=0.0).asks_for == frozenset()
    assert mix(diversity=0.2, look_alikes=0.3).asks_for == {"embedded", "likeness"}
    assert mix(top_score=0.5).embedding == "base"
    values = np.zeros(40)
    values[5] = 1.0
    names = [n for s in range(50) for _, _, n in select(pool(likeness=values), mix(look_alikes=0.5), s)]
    assert set(names) == {"random", "look_alikes"} and 0.35 < names.count("random") / len(names) < 0.65
    with pytest.raises(ConfigError, match="stratified"):
        mix(stratified=0.5)


def test_of_windows_that_are_all_but_the_same_one_is_offered_and_the_estimate_stays_fair() -> None:
    groups = np.concatenate((np.zeros(30, np.int64), np.arange(30, 40)))
    given, strategy = pool(groups=groups), Stratified(**{**COMMON, "windows": 5})
    for seed in range(50):
        picks = select(given, strategy, seed)
        assert sum(k < 30 for k, _, _ in picks) <= 1 and len(picks) == 5
    hits, inverse = often(strategy, given, 2000)
    assert hits[:30].sum() == pytest.approx(5 / 11, abs=0.05) and hits[30:] == pytest.approx(5 / 11, abs=0.06)
    assert inverse.sum() == pytest.approx(40, rel=0.05), "Horvitz-Thompson counts every window"
    few = Stratified(**{**COMMON, "windows": 20})
    hits, inverse = often(few, given, 600)
    assert hits[30:].min() > 0.95 and hits[:30].sum() == pytest.approx(10, abs=0.1), "fewer groups than are asked for"
    assert inverse.sum() == pytest.approx(40, rel=0.05)
    answered = np.zeros(40, bool)
    answered[30:35] = True
    hits, _ = often(strategy, pool(groups=groups, answered=answered), 300)
    assert hits[30:35].max() < 0.05 and hits[35:].min() > 0.6 and FLOOR > 0


def spiky(name: str, at: tuple[int, ...], seed: int) -> Series:
    made = noise(name, 800, seed)
    for place in at:
        made.values[place : place + 3] += 12
    return made


def scored(series: list[Series], at: dict[str, tuple[int, ...]]) -> ScoredSeries:
    detections = []
    for one in series:
        spans = tuple(Interval(a * SECOND, (a + 3) * SECOND, score=0.6) for a in at.get(one.point_id, ()))
        votes = (Proposal(spans, ORIGIN), Proposal((), ORIGIN))
        detections.append(Detection(one.point_id, None, (), ORIGIN, 0.5, spans, opinions=votes))
    return ScoredSeries(series, detections, kept_threshold({"default": 0.0}))


def test_a_pool_knows_what_its_strategy_asks_for(bench: Make) -> None:
    at = {"A": (50, 450), "B": (250,)}
    series = [spiky("A", at["A"], 1), spiky("B", at["B"], 2)]
    windows = [w for s in series for w in cut(s, 100)]
    given = scored(series, at)
    plain = pool_of(bench("source=synthetic", "sampling=random", "sampling.once=0"), windows, given, EarlierReviews())
    assert plain.dissent is plain.likeness is plain.embedded is plain.groups is None
    hot = [0, 4, 10]
    assert np.flatnonzero(plain.scores).tolist() == hot
    split = pool_of(bench("source=synthetic", "sampling=disagreement"), windows, given, EarlierReviews())
    assert np.flatnonzero(split.dissent).tolist() == hot and split.dissent.max() == 1.0
    assert len(np.unique(split.groups)) == len(windows) and not split.answered.any()
    reviewed = ReviewedWindow(
        Choice(windows[0], 0.5, "mix", proposals=(Proposal(given.detections[0].candidates[:1], ORIGIN),)), (),
        ReviewState.CORRECTED,
    )  # fmt: skip
    earlier = EarlierReviews((), [reviewed])
    alike = pool_of(bench("source=synthetic", "sampling=look_alikes"), windows[1:], given, earlier)
    assert np.flatnonzero(alike.likeness).tolist() == [3, 9] and alike.likeness.max() > 0.6
    none = pool_of(bench("source=synthetic", "sampling=look_alikes"), windows[1:], given, EarlierReviews())
    assert not none.likeness.any(), "nothing has been judged yet"
    apart = pool_of(bench("source=synthetic", "sampling=diversity"), windows[1:], given, earlier)
    assert len(apart.embedded) == len(windows)


def test_what_was_answered_is_not_offered_in_another_window(bench: Make) -> None:
    cycle = np.tile(np.sin(np.arange(50) / 50 * 2 * np.pi), 16)
    one = Series("C", np.arange(800, dtype=np.int64) * SECOND, cycle[:, None])
    windows = cut(one, 50)
    quiet = ScoredSeries([one], [Detection("C", np.zeros(800), (), ORIGIN, 0.5)], kept_threshold({"default": 0.5}))
    made = bench("source=synthetic", "sampling=random", "sampling.windows=4")
    assert len(draw_queue(made, 1, windows, quiet, blind=False).choices) == 4, "where there is nothing else, all are"
    odd = np.concatenate((cycle, np.random.default_rng(4).normal(size=200)))
    longer = Series("C", np.arange(1000, dtype=np.int64) * SECOND, odd[:, None])
    loud = ScoredSeries([longer], [Detection("C", np.zeros(1000), (), ORIGIN, 0.5)], quiet.runs)
    chosen = draw_queue(made, 1, cut(longer, 50), loud, blind=False).choices
    assert sum(c.window.start < 800 for c in chosen) <= 1 and len(chosen) == 4
    reviewed = ReviewedWindow(Choice(Window(one.slice(0, 60), 0, 50), 1.0, "random"), (), ReviewState.ACCEPTED)
    twins = pool_of(made, windows[1:], quiet, EarlierReviews((), [reviewed]))
    assert twins.answered is not None and twins.answered.all(), "also over an excerpt"
    everything = bench("source=synthetic", "sampling=random", "sampling.windows=4", "sampling.once=0")
    assert len(draw_queue(everything, 1, windows, quiet, blind=False).choices) == 4


def test_what_a_detector_cannot_tell_is_refused_before_any_work(bench: Make) -> None:
    plain = ("source=synthetic", "detector=robust_zscore", "review=simulated")
    with pytest.raises(ConfigError, match=r"robust_zscore has no members.*detector=committee"):
        bench(*plain, "sampling=disagreement").build_once()
    with pytest.raises(ConfigError, match=r"sampling\.embedding is base.*robust_zscore"):
        bench(*plain, "sampling=diversity", "sampling.embedding=base").build_once()
    bench(*plain, "sampling=diversity").build_once()
    assert not RobustZScore.votes


@pytest.mark.parametrize("name", options_of("sampling"))
def test_every_strategy_is_a_file_and_a_yaml(name: str, bench: Make) -> None:
    values = yaml.safe_load((shipped("conf") / "sampling" / f"{name}.yaml").read_text("utf-8"))
    assert values["_target_"].startswith(f"tsad.review.strategies.{name}.") and values["once"] == 0.05
    assert bench("source=synthetic", f"sampling={name}").strategy.name == name
