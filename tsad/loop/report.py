"""``tsad report``: iterations side by side, as a table and a chart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.loop import detect, evaluate, promote, pull, push, train
from tsad.loop.common import finished, open_loop, say, show, standalone

if TYPE_CHECKING:
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord

STEP = "REPORT"
STEPS = (detect.STEP, push.STEP, pull.STEP, train.STEP, train.REGISTER, evaluate.STEP, promote.STEP, STEP)
FIGURES = {
    "point_precision": "point P", "point_recall": "point R", "point_f1": "point F1",
    "interval_precision": "interval P", "interval_recall": "interval R", "interval_f1": "interval F1",
}


def run(bench: Workbench, *, output: str | None = None) -> None:
    """Print the loop's iterations and log the comparison chart to MLflow.

    Args:
        output: folder for ``iterations.json`` and ``iterations.png``; ``None`` = only the run's artifacts.
    """
    loop = open_loop(bench)
    rows = iteration_rows(loop)
    if not rows:
        say(f"loop {loop.name} has no completed iteration yet")
        return
    show(rows, f"loop {loop.name}")
    with standalone(loop, STEP) as step:
        record_comparison(loop, step)
        step.result({"iterations": len(rows)})
    if output:
        from tsad.plots import comparison_figure

        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "iterations.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
        comparison_figure(comparison_rows(loop)).savefig(folder / "iterations.png", dpi=120)
        say(f"wrote {folder / 'iterations.png'}")


def stage(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord:
    """The last step of an iteration: the chart and the table of all iterations so far, beside its other runs."""
    done = iteration.finished(STEP)
    if done is not None:
        return done
    with iteration.step(STEP) as step:
        record_comparison(loop, step)
        step.result({"iterations": len(iteration_rows(loop))})
    return finished(iteration, STEP)


def seconds(iteration: Iteration) -> float:
    """Seconds that the iteration's steps worked; waiting for people does not count."""
    steps = (iteration.finished(name) for name in STEPS)
    return sum(step.seconds for step in steps if step is not None)


def record_comparison(loop: LoopStore, step: Any) -> None:
    """The iteration chart and table as artifacts of a run."""
    from tsad.plots import comparison_figure

    step.table(iteration_rows(loop), "iterations.json")
    step.figure(comparison_figure(comparison_rows(loop)), "iterations.png")


def iteration_rows(loop: LoopStore) -> list[dict[str, Any]]:
    """One row per completed iteration: reviewed windows, the champion's gold figures, seconds."""
    rows = []
    for iteration in loop.iterations():
        decision, dataset = iteration.finished(promote.STEP), iteration.finished(pull.STEP)
        if decision is None or dataset is None:
            continue
        scores = decision.result["scores"]
        rows.append(
            {
                "iteration": iteration.number, "reviewed": dataset.result["windows"],
                **{title: scores.get(key) for key, title in FIGURES.items()},
                "champion": f"v{decision.result['champion']}", "promoted": bool(decision.result["promoted"]),
                "seconds": round(seconds(iteration), 1),
            }
        )
    return rows


def comparison_rows(loop: LoopStore) -> list[dict[str, Any]]:
    """What the chart draws: champion figures with intervals and the gold version they were scored on."""
    rows = []
    for iteration in loop.iterations():
        decision, scored = iteration.finished(promote.STEP), iteration.finished(evaluate.STEP)
        if decision is None or scored is None:
            continue
        rows.append(
            {
                "iteration": iteration.number, "gold_version": scored.result["gold_version"],
                "promoted": decision.result["promoted"], "champion": decision.result["champion"],
                **decision.result["scores"],
            }
        )
    return rows
