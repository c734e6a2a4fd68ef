"""``tsad learning_curve``: simulated reviews on labelled sets -> quality against windows reviewed, and its plot."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.steps.learning_curve import LearningCurve, LearningCurveKeys, learning_curve, summary
from tsad.verbs.console import Console

keys_model = LearningCurveKeys


def run(bench: Workbench, keys: LearningCurveKeys, console: Console) -> LearningCurve:
    """Simulate reviews of labelled sets by the configured detector and show what they add.

    Raises:
        SourceError: a set that does not exist, or without any anomaly.
    """
    return console.answer(learning_curve(bench, keys), _present)


def _present(curve: LearningCurve, console: Console) -> None:
    title = f"{curve.detector} on {len(curve.sets)} sets, {curve.seeds} seeds; figures are means over sets and seeds"
    console.table(summary(curve.rows), title)
    console.table(list(curve.changes), "change of interval F1 by reviews, paired by seed, +- deviation over seeds")
    console.table(list(curve.compared), "sampling strategies: windows to 90% of the final F1, gains paired by seed")
    console.say(f"wrote {curve.path}")
