"""DETECT: the champion over all series, the gold set fixed, the review queue drawn; one version over some series."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tsad.config.workbench import Workbench
from tsad.core.errors import TsadError
from tsad.core.results import Result
from tsad.core.reviews import DatasetVersion, Purpose
from tsad.core.series import Window
from tsad.core.types import Detection
from tsad.core.windows import without_overlap
from tsad.loop.backfill import Backfilled, Scoring, Stretch, backfill, history_of
from tsad.loop.beside import ask_beside
from tsad.loop.champion import ensure_champion, load_named, load_registered, registry_of, unregistered
from tsad.loop.common import read_series
from tsad.loop.datasets import latest_training
from tsad.loop.detections import SeriesDetected, hand_out, loaded_detections, record_detections
from tsad.loop.drawing import contested, draw_queue, unreviewed
from tsad.loop.gold import find_gold, fix_gold
from tsad.loop.opening import once, open_loop
from tsad.loop.pool import EarlierReviews, ScoredSeries
from tsad.loop.queue import keep_queue
from tsad.loop.reading import Reading, source_state
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
    with open_loop(bench).lock() as loop:

        def work(step: StepRun) -> SeriesScored:
            loaded = continuing(bench, _asked(bench, loop, version))
            reading = read_series(bench, bench.make_source().select(points) if points else None)
            detections = reading.outward(loaded_detections(bench.context, loaded, reading.series))
            rows = record_detections(bench, step, reading.series, detections)
            reading.record(step)
            step.tags({"tsad.model_version": loaded.origin.model_version})
            for one, detection in zip(reading.series, detections, strict=True):
                bench.context.control.safe_point()
                hand_out(one, detection, Path(output) if output else None, reading.source)
            return SeriesScored(
                model_version=loaded.origin.model_version, threshold=loaded.threshold, series=len(rows),
                intervals=sum(len(d.intervals) for d in detections), rows=tuple(rows), output=output,
                written_back=reading.source.describe() if reading.source.write_back else None,
                outage=reading.outage(),
            )  # fmt: skip

        return once(loop, DETECT.name, SeriesScored, work)[1]


def score_history(
    bench: Workbench, version: str, points: Sequence[str] | None, output: str | None, stretch: Stretch
) -> Backfilled:
    """Score history in chunks with a version; arguments and errors as for :func:`score_series`."""
    with open_loop(bench).lock() as loop:

        def work(step: StepRun) -> Backfilled:
            loaded = _asked(bench, loop, version)
            source = bench.make_source()
            origin = loaded.origin
            identity = f"{origin.model_version} {origin.config_hash} {bench.downsample!r}"
            history = history_of(source, source.select(points), stretch, identity)
            folder = Path(output) if output else None
            scored = backfill(Scoring(bench, loop, step, loaded, folder), source, history)
            step.table([chunk.table_row() for chunk in scored.rows], "chunks.json")
            return scored

        return once(loop, DETECT.name, Backfilled, work)[1]


@dataclass(frozen=True, eq=False)
class _Ready:
    """What DETECT works on.

    Attributes:
        gold: ``None`` before it is fixed.
        known: the training set so far. windows: that no dataset version holds.
        source_state: as it was before the series were read, so that nothing that comes meanwhile is missed.
    """

    reading: Reading
    gold: DatasetVersion | None
    known: DatasetVersion | None
    windows: Sequence[Window]
    source_state: str


def _read(turn: Turn) -> _Ready | None:
    """``None`` where every window of the source has been answered: nothing is claimed, later calls look again."""
    state = source_state(turn.bench.make_source())
    reading, gold = read_series(turn.bench), find_gold(turn.loop)
    known = latest_training(turn.loop)
    windows = unreviewed(turn, reading.series, gold, known)
    return _Ready(reading, gold, known, windows, state) if windows or gold is None else None


def _detect(turn: Turn, step: StepRun, ready: _Ready) -> Detected:
    bench, loop, reading, series = turn.bench, turn.loop, ready.reading, ready.reading.series
    champion = ensure_champion(bench, loop, step, series)
    loaded = load_registered(bench, registry_of(bench, loop), champion)
    detections = loaded_detections(bench.context, loaded, series)
    record_detections(bench, step, series, detections)
    reading.record(step)
    gold, windows = ready.gold, ready.windows
    if gold is None and (gold := fix_gold(bench, loop, turn.iteration, series)) is not None:
        windows = without_overlap(windows, [r.window for r in gold.windows])
    carried = turn.carried(series, gold)  # now, after the long part: what was answered meanwhile counts
    windows = without_overlap(windows, carried.windows)
    scored = ScoredSeries(series, detections, loaded.threshold_options)
    before = EarlierReviews(contested(turn, windows), ready.known.windows if ready.known is not None else ())
    blind = gold is None and not carried.blind
    queue = draw_queue(bench, turn.iteration.number, windows, scored, blind=blind, before=before)
    drawn = {(c.window.window_id, c.purpose) for c in queue.choices}
    # A window that is blind now must not show what was proposed for it before.
    if stale := [c for c in carried.left if (c.window.window_id, c.purpose) not in drawn]:
        bench.make_reviewer().withdraw(stale)
    beside = ask_beside(bench, loop, queue.choices)
    queue = replace(queue, choices=list(beside.choices)).with_carried(carried)
    if carried.windows:
        bench.context.progress.note(f"{len(carried.windows)} windows are taken over from what was given up")
    around = max(bench.windows.context, round(bench.label_studio().context * bench.windows.length))
    keep_queue(step, queue.choices, around, labelled=bench.reviewer.needs_labels)
    return Detected(
        champion=champion.version, model_version=loaded.origin.model_version, threshold=loaded.threshold,
        queued=queue.count(Purpose.TRAIN), gold_queued=queue.count(Purpose.GOLD),
        gold_version=gold.digest if gold else None, series=len(series), points=sum(len(s) for s in series),
        intervals=sum(len(d.intervals) for d in detections), outage=reading.outage(),
        not_written_back=_written_back(reading, detections), proposed=queue.proposed, left=queue.left,
        beside=beside.asked, left_out=beside.left_out, source_state=ready.source_state,
    )


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


def continuing(bench: Workbench, loaded: LoadedVersion) -> LoadedVersion:
    """The version under ``detector.refit_every`` of this call: it goes on where it last was with each series."""
    from tsad.sources.cache import states_folder

    refit_every = float(bench.detector_config.get("refit_every", 0.0))
    return replace(loaded, detector=loaded.detector.continuing(states_folder(bench.home), refit_every))


def _asked(bench: Workbench, loop: LoopStore, version: str) -> LoadedVersion:
    """The version asked for; ``none`` = the configured detector at ``threshold.default``.

    Raises:
        RegistryError: no such version.
    """
    if version == "none":
        return unregistered(bench, bench.make_detector())
    remedy = "Run tsad iterate first, or detect version=none for the detector as configured."
    return load_named(bench, loop, version, remedy)
