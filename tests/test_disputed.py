"""Stretches that a source's annotators disagree about: never gold, and first in the review queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from test_review_label_studio import FakeServer, reviewer
from test_sampling import OPTIONS as SAMPLING
from test_sampling import made as strategy
from test_splits import SECOND, series
from test_splits import made as gold

from tsad.config.workbench import Workbench
from tsad.core.options.threshold import kept_threshold
from tsad.core.reviews import Choice
from tsad.core.series import Series, Window
from tsad.core.types import Detection, Interval, Origin, Proposal
from tsad.core.windows import cut
from tsad.loop.drawing import contested, draw_queue
from tsad.loop.gold import draw_for_people
from tsad.loop.pool import EarlierReviews, ScoredSeries
from tsad.loop.results import Undecided
from tsad.loop.runner import Turn
from tsad.review.sampling import disputed_first, select
from tsad.review.splits import is_disputed
from tsad.review.strategies.base import Pool


def disputed(name: str, stretches: list[tuple[int, int]], labels: list[tuple[int, int]] | None = None) -> Series:
    made = series(name, labels or [])
    return replace(made, disputed=tuple(Interval(a * SECOND, b * SECOND) for a, b in stretches))


def test_a_window_is_disputed_from_its_first_to_its_last_instant() -> None:
    windows = cut(disputed("A", [(99, 100), (300, 301)]), 100)
    assert [is_disputed(w) for w in windows] == [True, False, False, True]
    assert not any(map(is_disputed, cut(series("A", [(5, 9)]), 100)))


@pytest.mark.parametrize("split", ["series", "time"])
def test_disputed_windows_are_never_gold_but_may_train(split: str) -> None:
    items = [disputed(f"A{k}", [(250, 260), (390, 395)], [(50, 60), (300, 310)]) for k in range(4)]
    made = gold(split, share=0.5).split(items, 50)
    assert made.gold and not any(is_disputed(w) for w in made.gold)
    assert sum(is_disputed(w) for w in made.pool) == 8
    whole = gold(split, share=0.5).split([replace(i, disputed=()) for i in items], 50)
    assert {w.window_id for w in whole.gold} > {w.window_id for w in made.gold}  # the others stay where they were
    everything = {w.window_id for w in (*made.gold, *made.pool)}
    assert everything == {w.window_id for w in (*whole.gold, *whole.pool)}


def test_people_draw_no_disputed_gold_either(bench: Callable[..., Workbench]) -> None:
    windows = [w for k in range(3) for w in cut(disputed(f"A{k}", [(0, 150)]), 50)]
    scores = np.linspace(0, 1, len(windows))
    asked = bench("source=synthetic", "gold.windows=15", "gold.windows_share=0.9", "gold.strata=2")
    made = draw_for_people(asked, windows, scores)
    clear = [w for w in windows if not is_disputed(w)]
    assert {c.window.window_id for c in made} < {w.window_id for w in clear}
    assert (len(made), len(clear)) == (12, 15), "all but one of each series"
    assert all(c.score == scores[windows.index(c.window)] for c in made)


def test_disputed_windows_come_first_with_probability_one_and_the_rest_is_drawn_fairly() -> None:
    windows = [w for k in range(4) for w in cut(disputed(f"P{k}", [(120, 130)] if k < 2 else []), 50)]
    scores = np.random.default_rng(0).beta(0.6, 3.0, len(windows))
    options = strategy("top_score", windows=6, max_per_series=3)
    hits, reported = np.zeros(len(windows)), np.zeros(len(windows))
    draws = 600
    for seed in range(draws):
        picks = disputed_first(Pool(windows, scores, scores), options, seed)
        assert len(picks) == len({k for k, _, _ in picks}) == 6
        assert [windows[k].point_id for k, _, _ in picks[:2]] == ["P0", "P1"]
        assert {(p, s) for _, p, s in picks[:2]} == {(1.0, "disputed")}
        for k, p, s in picks[2:]:
            assert s == "top_score" and not is_disputed(windows[k])
            hits[k] += 1
            reported[k] = p
    seen = reported > 0
    error = np.sqrt(reported * (1 - reported) / draws)
    assert (np.abs(hits / draws - reported)[seen] <= 5 * error[seen] + 1e-9).all()


def test_more_disputed_windows_than_the_budget_are_drawn_alike() -> None:
    windows = cut(disputed("P", [(0, 400)]), 20)
    assert len(windows) == 20
    scores = np.linspace(0, 1, 20)
    options = strategy(windows=5, max_per_series=2)
    hits = np.zeros(20)
    for seed in range(600):
        picks = disputed_first(Pool(windows, scores, scores), options, seed)
        assert len(picks) == 5 and {(p, s) for _, p, s in picks} == {(0.25, "disputed")}
        hits[[k for k, _, _ in picks]] += 1
    assert np.abs(hits / 600 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 600)


def test_without_disputes_the_draw_is_the_sampler_s() -> None:
    windows = [w for k in range(4) for w in cut(series(f"P{k}", None), 50)]
    scores = np.random.default_rng(0).random(len(windows))
    pool = Pool(windows, scores, scores)
    assert disputed_first(pool, SAMPLING, 7) == select(pool, SAMPLING, 7)


def test_the_queue_of_an_iteration_carries_them(bench: Callable[..., Workbench]) -> None:
    items = [disputed("A", [(120, 130)]), series("B", None)]
    said = [Detection(s.point_id, np.zeros(400), (), Origin("x", "x:1"), 0.5) for s in items]
    windows = [w for s in items for w in cut(s, 50)]
    scored = ScoredSeries(items, said, kept_threshold({"default": 0.5}))
    chosen = draw_queue(bench("source=synthetic", "sampling.windows=4"), 1, windows, scored, blind=False).choices
    assert len(chosen) == 4 and [c.strategy == "disputed" for c in chosen] == [True, False, False, False]
    assert chosen[0].window.point_id == "A" and chosen[0].probability == 1.0 and chosen[0].origin == said[0].origin


def test_what_reviewers_left_in_conflict_is_drawn_first_of_all(bench: Callable[..., Workbench]) -> None:
    items = [series("A", None), series("B", None)]
    said = [Detection(s.point_id, np.zeros(400), (), Origin("x", "x:1"), 0.5) for s in items]
    windows = [w for s in items for w in cut(s, 50)]
    left = [Undecided("B", *windows[9].span, state="CONFLICT"), Undecided("A", *windows[2].span, state="SKIPPED")]
    turn = Turn(bench("source=synthetic"), None, None, lambda: left)  # type: ignore[arg-type]
    assert contested(turn, windows) == {windows[9].window_id}
    scored = ScoredSeries(items, said, kept_threshold({"default": 0.5}))
    one = bench("source=synthetic", "sampling.windows=4")
    chosen = draw_queue(one, 2, windows, scored, blind=False, before=EarlierReviews(contested(turn, windows))).choices
    assert len(chosen) == 4 and (chosen[0].window, chosen[0].strategy) == (windows[9], "conflict")
    assert chosen[0].probability == 1.0 and all(c.strategy != "conflict" for c in chosen[1:])


def test_people_see_them_before_the_highest_score() -> None:
    windows: list[Window] = cut(series("A", None), 100)
    drawn = (("mix", 1.0), ("disputed", 0.0), ("mix", 0.3), ("disputed", 0.2))
    queue = [
        Choice(window, 0.5, strategy, proposals=(Proposal((), Origin("x", "x:1")),), score=score)
        for window, (strategy, score) in zip(windows, drawn, strict=True)
    ]
    fake = FakeServer()
    reviewer(fake).push(queue)
    assert [r["data"]["confidence"] for r in fake.rows] == [0.2, 0.0, 1.0, 0.3]
