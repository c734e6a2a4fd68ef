"""REPORT: iterations side by side, as a table and a chart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.results import Result
from tsad.loop.detect import DETECT
from tsad.loop.evaluate import EVALUATE
from tsad.loop.figures import FIGURES
from tsad.loop.opening import open_loop
from tsad.loop.promote import PROMOTE
from tsad.loop.pull import DATASET
from tsad.loop.push import PUSH
from tsad.loop.results import Reported
from tsad.loop.runner import Stage, Turn, finished, seconds
from tsad.loop.train import REGISTER, TRAIN

if TYPE_CHECKING:
    from tsad.core.protocols import Recorder
    from tsad.tracking.runs import Iteration, LoopStore, StepRun


@dataclass(frozen=True, eq=False)
class IterationDone(Result):
    """One completed iteration.

    Attributes:
        reviewed: windows of its training dataset version.
        scores: gold metrics of ``champion``, the number of the champion after it.
        seconds: that its stages worked.
        verdict: what the gate decided and why, in a line.
    """

    iteration: int
    reviewed: int
    scores: Mapping[str, float]
    champion: int
    promoted: bool
    seconds: float
    verdict: str = ""

    def table_row(self) -> dict[str, Any]:
        """As people see it."""
        return {
            "iteration": self.iteration, "reviewed": self.reviewed,
            **{title: self.scores.get(key) for key, title in FIGURES.items()},
            "champion": f"v{self.champion}", "promoted": self.promoted, "seconds": round(self.seconds),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class LoopReport(Result):
    """A loop's completed iterations, and the files that were written."""

    loop: str
    iterations: tuple[IterationDone, ...]
    written: tuple[str, ...] = ()


def report_loop(bench: Workbench, output: str | None) -> LoopReport:
    """The loop's iterations side by side; table and chart go to MLflow. Needs no lock: the loop may be at work.

    Args:
        output: folder for ``iterations.json`` and ``iterations.png``; ``None`` = only the run's artifacts.
    """
    loop = open_loop(bench)
    done = iterations_done(loop)
    if not done:
        return LoopReport(loop.name, ())
    with loop.adding(REPORT.name, {"tsad.kind": "run"}) as step:
        _record_comparison(loop, step)
        step.result(Reported(len(done)).to_json())
    written: tuple[str, ...] = ()
    if output:
        from tsad.plots import comparison_figure

        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps([one.table_row() for one in done], indent=1)
        (folder / "iterations.json").write_text(text, encoding="utf-8")
        comparison_figure(_chart_rows(loop)).savefig(folder / "iterations.png", dpi=120)
        written = (str(folder / "iterations.json"), str(folder / "iterations.png"))
    return LoopReport(loop.name, done, written)


def _report(turn: Turn, step: StepRun, _: Turn) -> Reported:
    """The last stage of an iteration: the chart and the table of all iterations so far, on the iteration itself."""
    _record_comparison(turn.loop, turn.iteration.recorder)
    return Reported(len(iterations_done(turn.loop)))


REPORT = Stage("REPORT", Reported, _report)
STAGES = (DETECT, PUSH, DATASET, TRAIN, REGISTER, EVALUATE, PROMOTE, REPORT)


def seconds_of(iteration: Iteration) -> float:
    """Seconds that the iteration's stages worked; waiting for people does not count."""
    return seconds(iteration, STAGES)


def _record_comparison(loop: LoopStore, step: Recorder) -> None:
    """The iteration chart and table as artifacts of a run."""
    from tsad.plots import comparison_figure

    step.table([one.table_row() for one in iterations_done(loop)], "iterations.json")
    step.figure(comparison_figure(_chart_rows(loop)), "iterations.png")


def iterations_done(loop: LoopStore) -> tuple[IterationDone, ...]:
    """What each iteration that the gate has decided on gave."""
    done = []
    for iteration in loop.iterations():
        decision, dataset = finished(iteration, PROMOTE), finished(iteration, DATASET)
        if decision is None or dataset is None:
            continue
        done.append(
            IterationDone(
                iteration=iteration.number, reviewed=dataset.windows, scores=decision.scores,
                champion=decision.champion, promoted=bool(decision.promoted), seconds=seconds_of(iteration),
                verdict=decision.verdict(),
            )
        )
    return tuple(done)


def _chart_rows(loop: LoopStore) -> Sequence[Mapping[str, Any]]:
    """What the chart draws: champion figures with intervals and the gold version they were scored on."""
    rows = []
    for iteration in loop.iterations():
        decision, scored = finished(iteration, PROMOTE), finished(iteration, EVALUATE)
        if decision is not None and scored is not None:
            rows.append(
                {
                    "iteration": iteration.number, "gold_version": scored.gold_version, "promoted": decision.promoted,
                    "champion": decision.champion, **decision.scores,
                }
            )
    return rows
