"""What a registered version says of series, and how a run keeps it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad.config.workbench import Workbench
from tsad.core.context import Context
from tsad.core.intervals import intervals_to_mask
from tsad.core.names import safe_name
from tsad.core.results import Result
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import Detection

if TYPE_CHECKING:
    from tsad.plots import ScoreCurve
    from tsad.sources.base import Source
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.runs import StepRun


@dataclass(frozen=True, eq=False)
class SeriesDetected(Result):
    """What a detection says of one series, in figures; those against its labels are ``None`` where it has none.

    Attributes:
        state: digest of the state that it was scored under; ``None`` where all of it was looked at afresh.
        refit: why its state was fitted now and what that has changed, in words; "" where it was not.
    """

    point_id: str
    points: int
    intervals: int
    abnormal_share: float
    labelled: int | None
    point_f1: float | None = None
    interval_precision: float | None = None
    interval_recall: float | None = None
    interval_f1: float | None = None
    state: str | None = None
    refit: str = ""

    def table_row(self) -> dict[str, Any]:
        """As people see it: a series without labels has no figures against them."""
        row = {key: value for key, value in asdict(self).items() if key not in ("state", "refit")}
        return row if self.labelled is not None else {key: row[key] for key in list(row)[:5]}


def loaded_detections(context: Context, loaded: LoadedVersion, series: Sequence[Series]) -> list[Detection]:
    """Scores and proposals of each series by a registered version, at its own threshold; may be stopped in between."""
    return list(context.each(loaded.detections(series), "scoring series", len(series)))


def record_detections(
    bench: Workbench, step: StepRun, series: Sequence[Series], detections: Sequence[Detection]
) -> list[SeriesDetected]:
    """Per-series ``metrics.json`` and ``intervals.json`` and a few plots as artifacts; a row per series back."""
    from tsad.plots import series_figure

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        pairs = zip(series, detections, strict=True)
        for one, detection in bench.context.each(pairs, "keeping detections", len(series)):
            rows.append(_row(one, detection))
            row = rows[-1]
            kept = {"state": row.state, "refit": row.refit} if row.state else {}
            figures = json.dumps(row.table_row() | kept, default=str, indent=1)
            folder = Path(scratch) / safe_name(one.point_id)
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(figures, encoding="utf-8")
            (folder / "intervals.json").write_text(json.dumps(intervals_json(one, detection)), encoding="utf-8")
        step.file(Path(scratch), "series")
    busiest = sorted(range(len(series)), key=lambda k: -len(detections[k].intervals))[: bench.tracking.plots]
    for k in busiest:
        figure = series_figure(
            series[k], truth=series[k].labels or (), preannotation=detections[k].intervals, curve=_curve(detections[k]),
            title=detections[k].origin.model_version,
        )
        step.figure(figure, f"plots/{safe_name(series[k].point_id)}.png")
    step.table([row.table_row() for row in rows], "series.json")
    return rows


def _curve(detection: Detection) -> ScoreCurve | None:
    """The scores, with their threshold where points are compared with it; ``None`` where there are no scores."""
    from tsad.plots import ScoreCurve

    if detection.scores is None:
        return None
    return ScoreCurve(detection.scores, None if detection.candidates is not None else detection.threshold)


def _row(series: Series, detection: Detection) -> SeriesDetected:
    figures: dict[str, Any] = {}
    predicted = intervals_to_mask(detection.intervals, series.timestamps)
    if series.labels is not None:
        from tsad.metrics.units import Unit, summarise

        truth = intervals_to_mask(series.labels, series.timestamps)
        every = summarise([Unit(group=series.point_id, truth=truth, predicted=predicted, scores=None, weight=1.0)])
        figures = {k: every[k] for k in ("point_f1", "interval_precision", "interval_recall", "interval_f1")}
    used = detection.state
    if used is not None:
        figures |= {"state": used.digest, "refit": used.change()}
    return SeriesDetected(
        point_id=series.point_id, points=len(series), intervals=len(detection.intervals),
        abnormal_share=float(predicted.mean()), labelled=None if series.labels is None else len(series.labels),
        **figures,
    )


def hand_out(series: Series, detection: Detection, folder: Path | None, source: Source) -> None:
    """A detection to whoever is to have it: ``scores/`` and ``intervals/`` under a folder, and a source that takes it.

    Args:
        folder: gets a ``{point_id}_{start}_{end}_{algorithm}.csv`` in each of the two; ``None`` = no files.
        source: gets it where it was opened with ``write_back``.
    """
    if folder is not None:
        from tsad.sources.exchange import write_detection, write_intervals

        write_detection(folder / "scores", series, detection)
        write_intervals(folder / "intervals", series, detection.intervals, detection.origin.model_version)
    if source.write_back:
        source.write(series, detection)


def intervals_json(series: Series, detection: Detection) -> dict[str, Any]:
    """What a detection says of a series, as plain values; times as text."""
    return {
        "point_id": series.point_id, "origin": asdict(detection.origin), "threshold": detection.threshold,
        "intervals": [
            {
                "start": format_time(i.start, series.time_kind), "end": format_time(i.end, series.time_kind),
                "label": i.label, "score": i.score,
            }
            for i in detection.intervals
        ],
    }
