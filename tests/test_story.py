"""What an iteration's run tells people in MLflow, and the loop's learning curve as a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tsad.config.workbench import Workbench
from tsad.core.errors import ClaimError
from tsad.core.printing import decimals
from tsad.loop.figures import FIGURES
from tsad.loop.iteration import iterate
from tsad.loop.opening import open_loop
from tsad.loop.status import store_status
from tsad.loop.story import draw_history, figures_of
from tsad.tracking.history import HISTORY, Point, history_run, write_history
from tsad.tracking.runs import Iteration, LoopStore
from tsad.tracking.states import tag_is

Make = Callable[..., Workbench]
SMALL = (
    "source=synthetic", "source.series=6", "source.points=1200", "review=simulated", "detector=robust_zscore",
    "loop.name=plant", "loop.iterations=2", "adapter=none", "windows.length=128", "windows.context=128",
    "sampling.windows=8", "tracking.plots=2", "tracking.system_metrics=false",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("stocked")


def curve(loop: LoopStore, metric: str) -> list[tuple[int, int, float]]:
    """Step, timestamp and value of each point of the loop's history."""
    history = loop.store.client.get_metric_history(history_run(loop), metric)
    return [(point.step, point.timestamp, point.value) for point in history]


@pytest.mark.timeout(600)
def test_an_iteration_tells_what_came_of_it(bench: Make) -> None:
    one = bench(*SMALL)
    iterate(one)
    loop = open_loop(one)
    client, (first, second) = loop.store.client, loop.iterations()
    run = client.get_run(second.run_id)
    assert set(run.data.metrics) <= {f"gold/{key}" for key in FIGURES} | {
        "gain/interval_f1", "gain/interval_f1_low", "gain/interval_f1_high", "reviewed_windows",
    }  # fmt: skip
    assert {"gold/interval_f1", "reviewed_windows"} <= set(run.data.metrics)
    params = {key for key in run.data.params if not key.startswith("claim")}
    compared = {"annotated_windows", "anomalous_windows", "challenger"}
    assert compared <= params and max(compared) < "claims", "what MLflow compares runs by of itself"
    assert {"detector", "source", "sampling.windows", "adapter.enabled", "gold.metric", "windows.length"} <= params
    assert len(params) <= 30 and run.data.params["detector"] == "RobustZScore"
    tags = run.data.tags
    note = tags["mlflow.note.content"]
    assert note.startswith(f"{tags['tsad.champion']} {'promoted' if tags['tsad.promoted'] == 'yes' else 'stays'}")
    assert "windows reviewed by 1 person" in note and f"Why: {tags['tsad.reason']}" in note and tags["tsad.reason"]
    inputs = {given.tags[0].value: given.dataset.digest for given in run.inputs.dataset_inputs}
    assert inputs == {"training": tags["tsad.dataset_version"], "gold": tags["tsad.gold_version"]}
    kept = {artifact.path for artifact in client.list_artifacts(second.run_id)}
    assert {"config.yaml", "iterations.png", "iterations.json"} <= kept
    (state,) = [loop for loop in store_status(one).loops if loop.name == "plant"]
    assert state.iteration is not None and state.iteration.reviews is not None
    assert sum(state.iteration.reviews.queue.values()) == 8 and state.iteration.reason == ""
    scores = {k.removeprefix("gold/"): value for k, value in run.data.metrics.items() if k.startswith("gold/")}
    assert state.scores == pytest.approx(scores)
    steps = [(step, value) for step, _, value in curve(loop, "gold/interval_f1")]
    assert steps == [(i.number, i.metrics["gold/interval_f1"]) for i in (first, second)]
    stages = {run.data.tags["tsad.step"]: run.data for run in second.steps()}
    assert stages["TRAIN"].params["dataset_version"] == tags["tsad.dataset_version"]
    assert stages["EVALUATE"].params["gold_version"] == tags["tsad.gold_version"]
    assert "champion/vus_pr" in stages["EVALUATE"].metrics and "champion.version" in stages["EVALUATE"].params


# ---- the history run


def completed(loop: LoopStore, number: int, figures: dict[str, float]) -> Iteration:
    iteration = loop.create_iteration(number, "a: 1\n", {})
    iteration.complete(figures)
    return iteration


def test_the_curve_is_drawn_once_and_is_no_iteration(bench: Make) -> None:
    one = bench(*SMALL)
    loop = open_loop(one)
    with loop.lock() as held:
        draw_history(held)
        assert history_run(held) == "", "no iteration, no curve"
        done = [completed(held, number, {"gold/interval_f1": number / 10}) for number in (1, 2)]
        for _ in range(2):
            draw_history(held)
        assert [i.number for i in held.iterations()] == [1, 2] and held.open_iteration() is None
    wanted = [(i.number, i.ended, i.number / 10) for i in done]
    assert curve(loop, "gold/interval_f1") == wanted
    runs = loop.search(tag_is("tsad.kind", HISTORY))
    assert [(run.info.status, run.info.run_name) for run in runs] == [("FINISHED", "history")]
    with loop.lock() as held:  # killed before it was said what is written: the same points again
        held.store.client.set_tag(history_run(held), "tsad.written", "")
        draw_history(held)
    assert curve(loop, "gold/interval_f1") == wanted
    assert store_status(one).loops[0].completed == 2


def test_of_two_histories_the_older_one_counts(bench: Make) -> None:
    loop, figures = open_loop(bench(*SMALL)), {"gold/interval_f1": 0.5, "gold/point_f1": float("nan")}
    with loop.lock() as held:
        create = held.create_run
        other: list[str] = []

        def slow(name: str, tags: dict[str, Any]) -> str:
            """Another host makes one at the same time, and is first."""
            other.append(create(name, tags))
            return create(name, tags)

        held.create_run = slow  # type: ignore[method-assign, assignment]
        assert write_history(held, [Point(1, 1000, figures)]) == other[0] == history_run(held)
        assert write_history(held, [Point(1, 1000, figures)]) == other[0]
    assert curve(loop, "gold/interval_f1") == [(1, 1000, 0.5)]
    with pytest.raises(ClaimError, match="without the lock"):
        write_history(loop, [])


def test_a_history_killed_while_it_was_made_is_finished(bench: Make) -> None:
    loop = open_loop(bench(*SMALL))
    with loop.lock() as held:
        made = held.create_run(HISTORY, {"tsad.kind": HISTORY})
    assert loop.store.client.get_run(made).info.status == "KILLED"
    with loop.lock() as held:
        assert write_history(held, [Point(1, 1000, {"gold/point_f1": 0.5})]) == made
    assert loop.store.client.get_run(made).info.status == "FINISHED"


def test_a_loop_of_before_gets_its_curve(bench: Make) -> None:
    loop = open_loop(bench(*SMALL))
    of_before = {
        "gold.interval_f1": 0.25, "gold.vus_pr": 0.5, "gain.interval_f1": 0.1, "gain.interval_f1_p": 0.5,
        "reviewed_windows": 24.0, "seconds": 7.0, "challenger.interval_f1": 0.3,
    }  # fmt: skip
    with loop.lock() as held:
        iteration = completed(held, 1, of_before)
        draw_history(held)
    assert figures_of(iteration) == {"gold/interval_f1": 0.25, "gain/interval_f1": 0.1, "reviewed_windows": 24.0}
    assert curve(loop, "gold/interval_f1") == [(1, iteration.ended, 0.25)]
    assert json.dumps(store_status(bench(*SMALL)).loops[0].scores) == '{"interval_f1": 0.25}'


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [(0.3644, 3, "", ".364"), (1.0, 3, "", "1.000"), (-0.031, 2, "+", "-.03"), (0.266, 2, "+", "+.27"),
     (float("nan"), 3, "", "nan")],
)  # fmt: skip
def test_figures_are_short(value: float, digits: int, sign: str, text: str) -> None:
    assert decimals(value, digits, sign) == text
