"""Where MLflow's UI shows a loop: the address of its runs, and the view of them that everybody shares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tsad.tracking.store import LOOP

if TYPE_CHECKING:
    from tsad.tracking.store import Store

VIEW = "tsad"  # key of the shared view
SHARED, KIND = "mlflow.sharedViewState.", "mlflow.experimentKind"  # tags of an experiment
_LINE = {
    "lineSmoothness": 0, "xAxisScaleType": "linear", "scaleType": "linear", "range": {}, "xAxisKey": "step",
    "selectedXAxisMetricKey": "", "displayPoints": True, "yAxisKey": "metric", "yAxisExpressions": [],
    "ignoreOutliers": False, "useGlobalXaxisKey": False, "useGlobalLineSmoothing": False,
}  # fmt: skip
_ML = "workflowType=machine_learning"  # the UI opens in its view for language models otherwise


@dataclass(frozen=True)
class Chart:
    """A chart over the runs of a loop; MLflow names it by its metrics.

    Attributes:
        type: ``LINE`` over steps, or ``BAR`` per run.
    """

    type: str
    metrics: Sequence[str]


@dataclass(frozen=True)
class LoopView:
    """Where a loop is shown.

    Attributes:
        loop: "" where the store has none.
        route: follows the address of MLflow's page: to the loop's runs in the shared view, or to the experiments.
    """

    loop: str
    route: str


def view_of(experiments: Sequence[Any], name: str) -> LoopView:
    """The loop of that name among the experiments of loops, oldest first, else the one that was begun last."""
    named = [one for one in experiments if one.tags[LOOP] == name] or experiments[-1:]
    if not named:
        return LoopView("", f"#/experiments?{_ML}")
    loop, experiment = str(named[0].tags[LOOP]), named[0].experiment_id
    return LoopView(loop, f"#/experiments/{experiment}/runs?{_ML}&viewStateShareKey={VIEW}")


def share_view(store: Store, experiment: Any, charts: Sequence[Chart], columns: Sequence[str]) -> None:
    """Give a loop's experiment the shared view, and the kind that makes MLflow open it among its training runs; where
    it has both, nothing is written.

    The view is what MLflow's own button "Share" writes: an experiment tag, opened by its key in the address.

    Args:
        experiment: as MLflow has it.
        columns: of the table of runs, e.g. ``metrics.`gold/interval_f1```.
    """
    tags = {KIND: "custom_model_development", f"{SHARED}{VIEW}": view_state(charts, columns)}
    for key, value in tags.items():
        if experiment.tags.get(key) != value:
            store.client.set_experiment_tag(experiment.experiment_id, key, value)


def view_state(charts: Sequence[Chart], columns: Sequence[str]) -> str:
    """The view as MLflow's UI keeps it; a chart that it would make of each metric by itself is marked as deleted."""
    section = "tsad"
    drawn = [
        {
            "uuid": f"tsad-{number}", "type": chart.type, "metricSectionId": section, "deleted": False,
            "isGenerated": False, "metricKey": chart.metrics[0],
            "selectedMetricKeys": list(chart.metrics), "runsCountToCompare": 20,
            **(_LINE if chart.type == "LINE" else {}),
        }
        for number, chart in enumerate(charts)
    ]  # fmt: skip
    alone = [
        {"uuid": f"tsad-{metric}", "type": "LINE", "metricSectionId": section, "deleted": True, "isGenerated": True,
         "metricKey": metric}
        for metric in dict.fromkeys(metric for chart in charts for metric in chart.metrics)
    ]  # fmt: skip
    state = {
        "selectedColumns": list(columns), "compareRunCharts": drawn + alone, "hideEmptyCharts": True,
        "compareRunSections": [{"uuid": section, "name": section, "display": True, "isReordered": True}],
        "runsHiddenMode": "FIRST_20_RUNS", "isAccordionReordered": True,
    }  # fmt: skip
    return json.dumps(state, separators=(",", ":"))
