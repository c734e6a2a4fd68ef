"""DETECT: the champion over all series, the gold set fixed, the review queue drawn; one version over some series."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import RegistryError, TsadError
from tsad.core.intervals import clip, confidence_along, point_scores
from tsad.core.options.threshold import kept_threshold
from tsad.core.results import Result
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import Detection, FloatArray, Origin, Proposal
from tsad.core.windows import without_overlap
from tsad.loop.backfill import Backfilled, Scoring, Stretch, backfill, history_of
from tsad.loop.champion import ensure_champion, load_registered, registry_of
from tsad.loop.common import read_series
from tsad.loop.datasets import latest_training
from tsad.loop.detections import SeriesDetected, hand_out, loaded_detections, record_detections
from tsad.loop.gold import draw_for_people, fix_gold
from tsad.loop.opening import open_loop, standalone
from tsad.loop.queue import keep_queue
from tsad.loop.reading import Reading
from tsad.loop.results import Detected
from tsad.loop.runner import Stage, Turn

if TYPE_CHECKING:
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.runs import LoopStore, StepRun

log = logging.getLogger("tsad")


@dataclass(frozen=True, eq=False)
class SeriesScored(Result):
    """What one version said of series.

    Attributes:
        series, intervals: counted.
        rows: series by series.
        output: folder that the files were written to.
        written_back: the source that took the detections, in words.
        outage: that the source could not be reached and the cache answered, in words; else "".
    """

    model_version: str
    threshold: float
    series: int
    intervals: int
    rows: tuple[SeriesDetected, ...]
    output: str | None = None
    written_back: str | None = None
    outage: str = ""


def score_series(bench: Workbench, version: str, points: Sequence[str] | None, output: str | None) -> SeriesScored:
    """Score series with a registered version (or the configured detector), and hand out and keep what it found.

    Args:
        version: alias or number of a registered version; ``none`` = the detector as configured, unregistered.
        points: identifiers or patterns; ``None`` = all.
        output: folder for ``scores/`` and ``intervals/``, a ``{point_id}_{start}_{end}_{algorithm}.csv`` per series in
            each; ``None`` = only the run's artifacts.

    Raises:
        RegistryError: no such version.
        SourceError: nothing could be read, or (``source.write_back=true``) the source does not take the detections.
    """
    with standalone(open_loop(bench), DETECT.name) as (loop, step):
        loaded = _asked(bench, loop, version)
        reading = read_series(bench, bench.make_source().select(points) if points else None)
        detections = reading.outward(loaded_detections(bench.context, loaded, reading.series))
        rows = record_detections(bench, step, reading.series, detections)
        reading.record(step)
        step.tags({"tsad.model_version": loaded.origin.model_version})
        for one, detection in zip(reading.series, detections, strict=True):
            bench.context.control.safe_point()
            hand_out(one, detection, Path(output) if output else None, reading.source)
        scored = SeriesScored(
            model_version=loaded.origin.model_version, threshold=loaded.threshold, series=len(rows),
            intervals=sum(len(d.intervals) for d in detections), rows=tuple(rows), output=output,
            written_back=reading.source.describe() if reading.source.write_back else None, outage=reading.outage(),
        )
        step.result(scored.to_json())
    return scored


def score_history(
    bench: Workbench, version: str, points: Sequence[str] | None, output: str | None, stretch: Stretch
) -> Backfilled:
    """Score history in chunks with a version; arguments and errors as for :func:`score_series`."""
    with standalone(open_loop(bench), DETECT.name) as (loop, step):
        loaded = _asked(bench, loop, version)
        source = bench.make_source()
        origin = loaded.origin
        identity = f"{origin.model_version} {origin.config_hash} {bench.downsample!r}"
        history = history_of(source, source.select(points), stretch, identity)
        folder = Path(output) if output else None
        scored = backfill(Scoring(bench, loop, step, loaded, folder), source, history)
        step.table([chunk.table_row() for chunk in scored.rows], "chunks.json")
        step.result(scored.to_json())
    return scored


def _detect(turn: Turn, step: StepRun, reading: Reading) -> Detected:
    bench, loop, series = turn.bench, turn.loop, reading.series
    champion = ensure_champion(bench, loop, step, series)
    loaded = load_registered(bench, registry_of(bench, loop), champion)
    detections = loaded_detections(bench.context, loaded, series)
    record_detections(bench, step, series, detections)
    reading.record(step)
    gold, pool = fix_gold(bench, loop, turn.iteration, series)
    candidates = _unreviewed(bench, loop, pool)
    peaks = _peaks(candidates, series, detections)
    drawn: list[Choice] = []
    if gold is None:
        drawn = draw_for_people(bench, candidates, peaks)
        candidates = without_overlap(candidates, [c.window for c in drawn])
        peaks = _peaks(candidates, series, detections)
    chosen = _choose(bench, turn.iteration.number, candidates, peaks, series, detections)
    keep_queue(step, [*drawn, *chosen], bench.windows.context, labelled=bench.reviewer.needs_labels)
    return Detected(
        champion=champion.version, model_version=loaded.origin.model_version, threshold=loaded.threshold,
        queued=len(chosen), gold_queued=len(drawn), gold_version=gold.digest if gold else None, series=len(series),
        points=sum(len(s) for s in series), intervals=sum(len(d.intervals) for d in detections),
        outage=reading.outage(), not_written_back=_written_back(reading, detections),
    )


def _read(turn: Turn) -> Reading:
    return read_series(turn.bench)


DETECT = Stage("DETECT", Detected, _detect, _read)


def _written_back(reading: Reading, detections: Sequence[Detection]) -> str:
    """Detections into the source, where it takes them; why not all of them are in it, or ""."""
    try:
        for one, detection in zip(reading.series, reading.outward(detections), strict=True):
            hand_out(one, detection, None, reading.source)
    except TsadError as error:  # an iteration goes on without
        said = f"its detections were not written back (tsad detect writes them later): {error}"
        log.warning(said)
        return said
    return ""


def _asked(bench: Workbench, loop: LoopStore, version: str) -> LoadedVersion:
    """The version asked for; ``none`` = the configured detector at ``threshold.default``.

    Raises:
        RegistryError: no such version.
    """
    from tsad.tracking.pyfunc_model import LoadedVersion

    if version == "none":
        detector = bench.make_detector()
        origin = Origin(detector.name, f"{detector.name}:base", None, detector.config_hash)
        proposer = bench.threshold_rule.first_proposer(detector.name)
        threshold = proposer.threshold if proposer else bench.threshold.default
        return LoadedVersion(detector, threshold, kept_threshold(dict(bench.threshold)), origin, None, proposer)
    registry = registry_of(bench, loop)
    found = registry.resolve(version)
    if found is None:
        raise RegistryError(
            f"{registry.name} has no version or alias {version!r}",
            "Run tsad iterate first, or detect version=none for the detector as configured.",
        )
    return load_registered(bench, registry, found)


def _unreviewed(bench: Workbench, loop: LoopStore, pool: Sequence[Window]) -> list[Window]:
    """The pool without what is in the training set already; only labelled series for a reviewer that needs labels."""
    if bench.reviewer.needs_labels:
        silent = {w.point_id for w in pool if w.series.labels is None}
        if silent and len(silent) < len({w.point_id for w in pool}):
            log.warning("%d series without labels are not put to the reviewer, who answers from labels", len(silent))
            pool = [w for w in pool if w.point_id not in silent]
    known = latest_training(loop)
    return without_overlap(pool, [r.window for r in known.windows]) if known else list(pool)


def _peaks(candidates: Sequence[Window], series: Sequence[Series], detections: Sequence[Detection]) -> FloatArray:
    """How likely each window holds an anomaly, [K]: its highest candidate's probability, else its highest score."""
    scores = {id(s): _along(s, d) for s, d in zip(series, detections, strict=True)}
    return np.array([scores[id(w.series)][w.start : w.stop].max() for w in candidates])


def _along(series: Series, detection: Detection) -> FloatArray:
    """[T] the probability of the candidate at each point, 0 between them; the scores where there are no candidates."""
    if detection.candidates is None:
        return point_scores(detection, series.timestamps)
    return confidence_along(detection.candidates, series.timestamps)


def _choose(
    bench: Workbench, number: int, candidates: Sequence[Window], peaks: FloatArray,
    series: Sequence[Series], detections: Sequence[Detection],
) -> list[Choice]:
    """Windows for people: disputed ones, then the sampler's; each with proposal, origin and inclusion probability."""
    from tsad.review.sampling import disputed_first

    if not candidates:
        return []
    said = {id(s): d for s, d in zip(series, detections, strict=True)}
    threshold = detections[0].threshold
    # 1 at the threshold, 0 at either end of the scale: where the detector knows least.
    uncertainty = 1.0 - np.abs(peaks - threshold) / np.where(peaks > threshold, 1 - threshold, threshold).clip(1e-9)
    seed = bench.sampling.seed + number
    picked = disputed_first(candidates, peaks, uncertainty.clip(0, 1), bench.strategy, seed=seed)
    choices = []
    for k, probability, strategy in picked:
        window, detection = candidates[k], said[id(candidates[k].series)]
        proposal = Proposal(clip(detection.intervals, *window.span), detection.origin)
        choices.append(Choice(window, probability, strategy, Purpose.TRAIN, (proposal,), float(peaks[k])))
    return choices
