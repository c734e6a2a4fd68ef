"""``tsad detect``: a detector version over series; and the first stage of an iteration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.intervals import intervals_to_mask, intervals_to_runs
from tsad.core.types import Choice, Detection, FloatArray, Origin, Series, Window
from tsad.core.windows import without_overlap
from tsad.steps.champion import ensure_champion, registry_of
from tsad.steps.common import load_series, log, open_loop, say, show
from tsad.steps.gold import draw_for_people, fix_gold
from tsad.steps.queue import save_queue
from tsad.steps.workbench import Workbench

if TYPE_CHECKING:
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord, StepRun

STEP = "DETECT"


def run(
    bench: Workbench, *, points: list[str] | None = None, version: str = "champion", output: str | None = None
) -> None:
    """Score series with a registered version (or the configured detector) and write what it found.

    Args:
        points: identifiers to read; ``None`` = all.
        version: alias or number of a registered version; ``none`` = the detector as configured, unregistered.
        output: folder for ``{point_id}_{start}_{end}_{algorithm}.csv`` files; ``None`` = only the run's artifacts.
    """
    series = load_series(bench, points)
    loop = open_loop(bench)
    with loop.standalone(STEP) as step:
        loaded = load_or_base(bench, loop, step, version)
        detections = detections_of(loaded, series)
        rows = record_detections(bench, step, series, detections)
        step.tags({"tsad.model_version": loaded.origin.model_version})
        step.result({"series": len(series), "intervals": sum(len(d.intervals) for d in detections)})
    if output:
        write_exchange(Path(output), series, detections)
        say(f"wrote {len(detections)} files to {output}")
    show(rows, f"{loaded.origin.model_version} at threshold {loaded.threshold:.3f}")


def stage(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord:
    """DETECTING: the champion over all series, the gold set fixed, the review queue drawn and kept."""
    done = iteration.finished(STEP)
    if done is not None:
        return done
    series = load_series(bench)
    with iteration.step(STEP) as step:
        champion = ensure_champion(bench, loop, step, series)
        loaded = load_version(registry_of(bench, loop), champion)
        detections = loaded_detections(loaded, series)
        record_detections(bench, step, series, detections)
        gold, pool = fix_gold(bench, loop, iteration, series)
        candidates = _unreviewed(bench, loop, pool)
        peaks = _peaks(candidates, series, detections)
        drawn: list[Choice] = []
        if gold is None:
            drawn = draw_for_people(bench, candidates, peaks)
            candidates = without_overlap(candidates, [c.window for c in drawn])
            peaks = _peaks(candidates, series, detections)
        chosen = _choose(bench, iteration.number, candidates, peaks, series, detections)
        save_queue(step, [*drawn, *chosen], bench.windows.context)
        step.result(
            {
                "champion": champion.version, "model_version": loaded.origin.model_version,
                "threshold": loaded.threshold, "queued": len(chosen), "gold_queued": len(drawn),
                "gold_version": gold.version if gold else None, "series": len(series),
                "points": sum(len(s) for s in series), "intervals": sum(len(d.intervals) for d in detections),
            }
        )
    return finished(iteration, STEP)


def loaded_detections(loaded: LoadedVersion, series: Sequence[Series]) -> list[Detection]:
    """Scores and intervals of each series by a registered version, at its own threshold."""
    from tsad.detectors.thresholds import to_intervals

    return [
        Detection(
            one.point_id, scores, to_intervals(scores, one.timestamps, loaded.threshold, loaded.threshold_options),
            loaded.origin, loaded.threshold,
        )
        for one, scores in zip(series, loaded.detector.score(series), strict=True)
    ]


def record_detections(
    bench: Workbench, step: StepRun, series: Sequence[Series], detections: Sequence[Detection]
) -> list[dict[str, Any]]:
    """Per-series ``metrics.json`` and ``intervals.json`` and a few plots as artifacts; a row per series back."""
    from tsad.plots import series_figure

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for one, detection in zip(series, detections, strict=True):
            row = _row(one, detection)
            rows.append(row)
            folder = Path(scratch) / safe_name(one.point_id)
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(json.dumps(row, default=str, indent=1), encoding="utf-8")
            (folder / "intervals.json").write_text(json.dumps(_intervals_json(one, detection)), encoding="utf-8")
        step.file(Path(scratch), "series")
    busiest = sorted(range(len(series)), key=lambda k: -len(detections[k].intervals))[: bench.tracking.plots]
    for k in busiest:
        figure = series_figure(
            series[k], truth=series[k].labels or (), preannotation=detections[k].intervals,
            scores=detections[k].scores, threshold=detections[k].threshold, title=detections[k].origin.model_version,
        )
        step.figure(figure, f"plots/{safe_name(series[k].point_id)}.png")
    step.table(rows, "series.json")
    return rows


def _row(series: Series, detection: Detection) -> dict[str, Any]:
    row: dict[str, Any] = {
        "point_id": series.point_id, "points": len(series), "intervals": len(detection.intervals),
        "abnormal_share": float(intervals_to_mask(detection.intervals, series.timestamps).mean()),
        "labelled": len(series.labels) if series.labels is not None else None,
    }
    if series.labels is not None:
        from tsad.metrics.units import Unit, summarise

        unit = Unit(
            group=series.point_id, truth=intervals_to_mask(series.labels, series.timestamps),
            predicted=intervals_to_mask(detection.intervals, series.timestamps), scores=None, weight=1.0,
        )
        figures = summarise([unit])
        row |= {k: figures[k] for k in ("point_f1", "interval_precision", "interval_recall", "interval_f1")}
    return row


def _intervals_json(series: Series, detection: Detection) -> dict[str, Any]:
    from tsad.core.times import format_time

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


def _unreviewed(bench: Workbench, loop: LoopStore, pool: Sequence[Window]) -> list[Window]:
    """The pool without what is in the training set already; only labelled series for the simulated reviewer."""
    if bench.review.mode == "simulated":
        silent = {w.point_id for w in pool if w.series.labels is None}
        if silent and len(silent) < len({w.point_id for w in pool}):
            log.warning("%d series without labels are not put to the simulated reviewer", len(silent))
            pool = [w for w in pool if w.point_id not in silent]
    known = latest_training(loop)
    return without_overlap(pool, [r.window for r in known.windows]) if known else list(pool)


def _peaks(candidates: Sequence[Window], series: Sequence[Series], detections: Sequence[Detection]) -> FloatArray:
    """Highest score in each candidate window, [K]."""
    scores = {id(s): d.scores for s, d in zip(series, detections, strict=True)}
    return np.array([scores[id(w.series)][w.start : w.stop].max() for w in candidates])


def _choose(
    bench: Workbench, number: int, candidates: Sequence[Window], peaks: FloatArray,
    series: Sequence[Series], detections: Sequence[Detection],
) -> list[Choice]:
    """Windows for people by the configured sampler, each with proposal, origin and inclusion probability."""
    from tsad.review.sampling import select

    if not candidates:
        return []
    said = {id(s): d for s, d in zip(series, detections, strict=True)}
    threshold = detections[0].threshold
    # 1 at the threshold, 0 at either end of the scale: where the detector knows least.
    uncertainty = 1.0 - np.abs(peaks - threshold) / np.where(peaks > threshold, 1 - threshold, threshold).clip(1e-9)
    picked = select(candidates, peaks, uncertainty.clip(0, 1), bench.sampling, seed=bench.sampling.seed + number)
    choices = []
    for k, probability, strategy in picked:
        window, detection = candidates[k], said[id(candidates[k].series)]
        proposal = clip(detection.intervals, *window.span)
        choices.append(
            Choice(window, probability, strategy, Purpose.TRAIN, proposal, detection.origin, float(peaks[k]))
        )
    return choices
