"""What EVALUATE draws: precision against recall, calibration, each series' figures, and where two versions disagree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.names import safe_name
from tsad.core.times import format_time
from tsad.loop.scoring import GoldStretch
from tsad.metrics.units import by_group, joined, summarise

if TYPE_CHECKING:
    from tsad.core.series import Series
    from tsad.plots.evaluation import Curve
    from tsad.tracking.runs import StepRun

SERIES_FIGURES = ("interval_precision", "interval_recall", "interval_f1", "point_precision", "point_recall", "point_f1",
                  "composite_f1", "intervals")  # fmt: skip
DISAGREEMENTS = 10  # drawn, the largest first
AROUND = 3  # what is drawn beside a disagreement on either side, in its own lengths
LEAST = 60  # points beside it at least


def picture_name(series: Series, start: int) -> str:
    """File name of a picture: its point and the time it begins at, ns UTC; ``:`` is none of Windows' characters."""
    return f"{safe_name(series.point_id)}_{format_time(start, series.time_kind).replace(':', '')}.png"


def draw_evaluation(step: StepRun, judged: Mapping[str, Sequence[GoldStretch]]) -> None:
    """Figures and tables of versions on the gold set, as artifacts of the run.

    Args:
        judged: by the name the versions were asked for by; the same stretches in the same order.
    """
    from tsad.plots.evaluation import precision_recall_figure, reliability_figure

    step.table(list(_series_rows(judged)), "series.json")
    curves = {name: curve for name, of in judged.items() if (curve := _curve(of)) is not None}
    if curves:
        truth = np.concatenate([s.unit.truth for s in next(iter(judged.values()))])
        step.figure(precision_recall_figure(curves, float(truth.mean())), "precision_recall.png")
    tables = {name: rows for name, of in judged.items() if (rows := _reliability(of))}
    if tables:
        step.figure(reliability_figure(tables), "calibration.png")
        step.table([{"version": name, **row} for name, rows in tables.items() for row in rows], "calibration.json")
    if len(judged) == 2:
        _draw_disagreements(step, judged)


def _series_rows(judged: Mapping[str, Sequence[GoldStretch]]) -> Iterator[dict[str, Any]]:
    """A row per series and version."""
    groups = {name: by_group([s.unit for s in of]) for name, of in judged.items()}
    for point_id in next(iter(groups.values()), {}):
        for name, of in groups.items():
            figures = summarise(of[point_id])
            yield {"point_id": point_id, "version": name, **{key: figures[key] for key in SERIES_FIGURES}}


def _curve(stretches: Sequence[GoldStretch]) -> Curve | None:
    """``None`` where nothing is true, or the detector gives no scores."""
    from tsad.metrics.ranking import precision_recall
    from tsad.plots.evaluation import Curve

    units = [s.unit for s in stretches]
    if any(u.scores is None for u in units) or not any(u.truth.any() for u in units):
        return None
    truth, scores, weights, _ = joined(units)
    recall, precision = precision_recall(truth, scores, weights)
    kept = np.unique(np.linspace(0, len(recall) - 1, 1000).astype(np.int64))  # no eye sees more
    figures = summarise(units)
    return Curve(recall[kept], precision[kept], (figures["point_recall"], figures["point_precision"]))


def _reliability(stretches: Sequence[GoldStretch]) -> list[dict[str, float]]:
    """Confidence of the candidates against the share that overlaps a true interval; empty without candidates."""
    from tsad.metrics.calibration import reliability_table

    candidates = [(s, c) for s in stretches for c in s.candidates]
    if not candidates:
        return []
    true = [any(c.overlaps(t) for t in s.truth) for s, c in candidates]
    return [row._asdict() for row in reliability_table(true, [c.score for _, c in candidates])]


def _draw_disagreements(step: StepRun, judged: Mapping[str, Sequence[GoldStretch]]) -> None:
    """The stretches of time where one version proposes and the other does not, the longest first."""
    from tsad.plots import versions_figure

    (first, ours), (second, theirs) = judged.items()
    found = []
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        runs = runs_of(a.unit.predicted ^ b.unit.predicted)
        found += [(int(stop - start), number, int(start), int(stop)) for start, stop in runs]
    rows = []
    for rank, (length, number, start, stop) in enumerate(sorted(found, reverse=True)[:DISAGREEMENTS], start=1):
        a, b = ours[number], theirs[number]
        margin = max(LEAST, AROUND * length)
        view = a.series.slice(max(0, start - margin), min(len(a.series), stop + margin))
        at = int(a.series.timestamps[start])
        path = f"disagreements/{rank:02d}_{picture_name(a.series, at)}"
        figure = versions_figure(view, a.truth, {first: a.intervals, second: b.intervals}, view.point_id)
        step.figure(figure, path)
        rows.append({
            "picture": path, "point_id": a.series.point_id, "from": format_time(at, a.series.time_kind),
            "points": length, "proposed by": first if a.unit.predicted[start] else second,
            "truth": "anomaly" if a.unit.truth[start:stop].any() else "normal",
        })  # fmt: skip
    step.table(rows, "disagreements.json")
