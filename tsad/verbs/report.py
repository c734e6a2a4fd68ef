"""``tsad report``: iterations side by side, as a table and a chart."""

from __future__ import annotations

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.loop.report import LoopReport, report_loop
from tsad.verbs.console import Console
from tsad.verbs.iterations import show_iterations


class ReportKeys(Options):
    """Own keys of ``tsad report``."""

    output: str | None


keys_model = ReportKeys


def run(bench: Workbench, keys: ReportKeys, console: Console) -> LoopReport:
    """Show the loop's iterations and log the comparison chart to MLflow."""
    return console.answer(report_loop(bench, keys.output), _present)


def _present(report: LoopReport, console: Console) -> None:
    if not report.iterations:
        console.say(f"loop {report.loop} has no completed iteration yet")
    show_iterations(report.iterations, report.loop, console)
    for iteration in report.iterations:
        console.say(f"iteration {iteration.iteration}: {iteration.verdict}")
    if report.written:
        console.say(f"wrote {report.written[-1]}")
