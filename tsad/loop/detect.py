"""``tsad detect``: a detector version over series; and the first stage of an iteration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import RegistryError, TsadError
from tsad.core.intervals import clip, confidence_along, point_scores
from tsad.core.reviews import Choice, Purpose
from tsad.core.series import Series, Window
from tsad.core.types import Detection, FloatArray, Origin, Proposal
from tsad.core.windows import without_overlap
from tsad.loop.champion import ensure_champion, first_proposer, registry_of
from tsad.loop.common import finished, log, open_loop, read_series, say, show, standalone
from tsad.loop.datasets import latest_training
from tsad.loop.detections import hand_out, loaded_detections, record_detections
from tsad.loop.gold import draw_for_people, fix_gold
from tsad.loop.queue import keep_queue
from tsad.loop.reading import Reading

if TYPE_CHECKING:
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.runs import Iteration, LoopStore, StepRecord, StepRun

STEP = "DETECT"


def run(
    bench: Workbench, *, points: list[str] | None = None, version: str = "champion", output: str | None = None,
    since: str | None = None, until: str | None = None, chunk: str = "30d", again: bool = False,
) -> None:  # fmt: skip
    """Score series with a registered version (or the configured detector) and write what it found.

    Args:
        points: identifiers or patterns; ``None`` = all.
        version: alias or number of a registered version; ``none`` = the detector as configured, unregistered.
        output: folder for ``scores/`` and ``intervals/``, a ``{point_id}_{start}_{end}_{algorithm}.csv`` per series in
            each; ``None`` = only the run's artifacts.
        since, until: half-open range of history, scored in chunks: a killed run goes on where it was, and what the same
            version has scored is not scored again.
        chunk: time per chunk, e.g. ``30d``.
        again: history: score also what was scored before.

    Raises:
        RegistryError: no such version.
        SourceError: nothing could be read, or (``source.write_back=true``) the source does not take the detections.
    """
    loop = open_loop(bench)
    folder = Path(output) if output else None
    with standalone(loop, STEP) as step:
        loaded = _asked(bench, loop, version)
        if since is not None or until is not None:
            _history(bench, loop, step, loaded, points, since, until, chunk, again, folder)
            return
        reading = read_series(bench, bench.make_source().select(points) if points else None)
        detections = reading.outward(loaded_detections(loaded, reading.series))
        rows = record_detections(bench, step, reading.series, detections)
        reading.record(step)
        step.tags({"tsad.model_version": loaded.origin.model_version})
        for one, detection in zip(reading.series, detections, strict=True):
            hand_out(one, detection, folder, reading.source)
        step.result({"series": len(rows), "intervals": sum(len(d.intervals) for d in detections)})
    if folder:
        say(f"wrote {len(detections)} files each to {output}/scores and {output}/intervals")
    if reading.source.write_back:
        say(f"wrote {len(detections)} detections back into {reading.source.describe()}")
    show(rows, f"{loaded.origin.model_version} at threshold {loaded.threshold:.3f}")
    if reading.outage():
        say(reading.outage())


def _history(
    bench: Workbench, loop: LoopStore, step: StepRun, loaded: LoadedVersion, points: list[str] | None,
    since: str | None, until: str | None, chunk: str, again: bool, output: Path | None,
) -> None:  # fmt: skip
    from tsad.loop.backfill import backfill, history_of, tell, totals

    source = bench.make_source()
    origin = loaded.origin
    version = f"{origin.model_version} {origin.config_hash} {bench.downsample}"
    history = history_of(source, source.select(points), since, until, chunk, version)
    rows = backfill(bench, loop, step, loaded, source, history, again=again, output=output)
    step.table(rows, "chunks.json")
    step.result(totals(rows))
    show(rows, f"{origin.model_version} at threshold {loaded.threshold:.3f}")
    tell(rows)


def stage(bench: Workbench, loop: LoopStore, iteration: Iteration) -> StepRecord:
    """DETECTING: the champion over all series, the gold set fixed, the review queue drawn and kept."""
    done = iteration.finished(STEP)
    if done is not None:
        return done
    reading = read_series(bench)
    series = reading.series
    with iteration.step(STEP) as step:
        from tsad.tracking.pyfunc_model import load_version

        champion = ensure_champion(bench, loop, step, series)
        loaded = load_version(registry_of(bench, loop), champion)
        detections = loaded_detections(loaded, series)
        record_detections(bench, step, series, detections)
        reading.record(step)
        gold, pool = fix_gold(bench, loop, iteration, series)
        candidates = _unreviewed(bench, loop, pool)
        peaks = _peaks(candidates, series, detections)
        drawn: list[Choice] = []
        if gold is None:
            drawn = draw_for_people(bench, candidates, peaks)
            candidates = without_overlap(candidates, [c.window for c in drawn])
            peaks = _peaks(candidates, series, detections)
        chosen = _choose(bench, iteration.number, candidates, peaks, series, detections)
        keep_queue(step, [*drawn, *chosen], bench.windows.context)
        step.result(
            {
                "champion": champion.version, "model_version": loaded.origin.model_version,
                "threshold": loaded.threshold, "queued": len(chosen), "gold_queued": len(drawn),
                "gold_version": gold.version if gold else None, "series": len(series),
                "points": sum(len(s) for s in series), "intervals": sum(len(d.intervals) for d in detections),
                "outage": reading.outage(), "not_written_back": _written_back(reading, detections),
            }
        )
    return finished(iteration, STEP)


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
    from tsad.tracking.pyfunc_model import LoadedVersion, load_version

    if version == "none":
        detector = bench.make_detector()
        origin = Origin(detector.name, f"{detector.name}:base", None, detector.config_hash)
        proposer = first_proposer(bench, detector)
        threshold = proposer.threshold if proposer else bench.threshold.default
        return LoadedVersion(detector, threshold, bench.threshold, origin, None, proposer)
    registry = registry_of(bench, loop)
    found = registry.resolve(version)
    if found is None:
        raise RegistryError(
            f"{registry.name} has no version or alias {version!r}",
            "Run tsad iterate first, or detect version=none for the detector as configured.",
        )
    return load_version(registry, found)


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
    picked = disputed_first(candidates, peaks, uncertainty.clip(0, 1), bench.sampling, seed=seed)
    choices = []
    for k, probability, strategy in picked:
        window, detection = candidates[k], said[id(candidates[k].series)]
        proposal = Proposal(clip(detection.intervals, *window.span), detection.origin)
        choices.append(Choice(window, probability, strategy, Purpose.TRAIN, (proposal,), float(peaks[k])))
    return choices
