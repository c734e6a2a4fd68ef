"""Detectors on labelled sets -> a leaderboard, and the scores it was made from."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from tsad.config.workbench import Workbench
from tsad.core.context import Context
from tsad.core.errors import DetectorError, SourceError
from tsad.core.intervals import intervals_to_runs
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.core.series import Series
from tsad.core.types import NS_PER_SECOND, BoolArray, Detection, FloatArray, Interval
from tsad.detectors.numeric import fill_missing
from tsad.files.hashing import digest_of_text
from tsad.loop.opening import open_loop, standalone
from tsad.metrics.figures import series_counts, series_figures
from tsad.metrics.period_rule import period_rule
from tsad.metrics.vus import vus_pr
from tsad.steps.leaderboard import (
    CHOSEN,
    MEAN,
    TSB_AD,
    Row,
    keep,
    kept,
    mean_rows,
    pooled_rows,
    score_file,
    table,
    write,
)
from tsad.steps.sets import LabelledSet, open_sets

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.tracking.runs import StepRun

log = logging.getLogger("tsad")
STEP = "BENCHMARK"
VERSION = 3  # of what a row holds: rows of another version are made again


class BenchmarkKeys(Options):
    """Own keys of ``tsad benchmark``; see ``conf/task/benchmark.yaml``."""

    sets: list[str]
    detectors: list[str] = Field(min_length=1)
    output: str
    cut: int = Field(ge=0)
    vus_step: int = Field(ge=1)
    rotations: int = Field(ge=1)
    resamples: int = Field(ge=1)
    seed: int


@dataclass(frozen=True, eq=False)
class Leaderboard(Result):
    """Detectors on labelled sets.

    Attributes:
        means: a row per detector and set, and per detector one over the sets (``mean``); figures with their bounds.
        series: rows of single series behind them.
        path: ``leaderboard.csv``; ``scores``: the folder of everybody's scores.
    """

    detectors: tuple[str, ...]
    sets: tuple[str, ...]
    means: tuple[Mapping[str, Any], ...]
    series: int
    path: str
    scores: str

    @property
    def optimised(self) -> float | None:
        """The last detector's mean VUS-PR."""
        return float(self.means[-1]["vus_pr"])


def benchmark(bench: Workbench, keys: BenchmarkKeys) -> Leaderboard:
    """Score labelled sets with detectors and write ``leaderboard.csv`` and the scores of every series.

    What was computed before into the same folder, from the same data, options and weights, is not computed again.

    Raises:
        ConfigError: a detector that does not exist.
        SourceError: a set that does not exist, or without any anomaly; nothing abnormal in all the heads cut off.
        StopRequested: it was asked to stop; the scores of finished series are kept.
    """
    sets = open_sets(bench, keys.sets, keys.cut)
    made = {name: bench.detector_named(name) for name in keys.detectors}
    folder = Path(keys.output)
    settings = {"cut": keys.cut, "vus_step": keys.vus_step, "rotations": keys.rotations, "seed": keys.seed}
    rows: list[Row] = []
    with standalone(open_loop(bench), STEP) as (loop, parent):
        parent.params({"sets": [s.name for s in sets], "detectors": list(made), **settings})
        for name, detector in made.items():
            tags = {"mlflow.parentRunId": parent.run_id, "tsad.detector": name}
            with loop.run(f"{STEP}_{name}", tags) as child:
                child.params({"detector": name, **{f"detector.{k}": v for k, v in detector.describe().items()}})
                mine = _one_detector(bench.context, name, detector, sets, folder, settings)
                _record(child, mine, mean_rows(mine, resamples=keys.resamples, seed=keys.seed))
            rows += mine
            means = mean_rows(rows, resamples=keys.resamples, seed=keys.seed)
            write(folder / "leaderboard.csv", [*rows, *means, *pooled_rows(rows)])
        _finish(parent, folder, sets, rows, means)
    return Leaderboard(
        tuple(made), tuple(s.name for s in sets), tuple(means), len(rows), str(folder / "leaderboard.csv"),
        str(folder / "scores"),
    )


def _one_detector(
    context: Context, name: str, detector: Detector, sets: Sequence[LabelledSet], folder: Path, settings: dict[str, int]
) -> list[Row]:
    """The rows of all series, kept ones first looked for; a line in the log per set."""
    warm = _warm(detector)
    rows: list[Row] = []
    for one in sets:
        mine, fresh = [], 0
        for series, truth in context.each(one.read(), f"{name} on {one.name}", len(one)):
            path = score_file(folder, name, one.name, series.point_id)
            key = _key(series, detector, settings)
            row = kept(path, key)
            if row is None:
                warm()
                named = {"set": one.name, "detector": name, "series": series.point_id}
                detection, costs = _measured(detector, series)
                if detection.scores is None:
                    remedy = "Leave it out of detectors=: the rank is by VUS-PR, which needs scores."
                    raise DetectorError(f"detector {name} gives intervals, no scores", remedy)
                row = {**named, **_figures(series, truth, detection.scores, detection.intervals, settings), **costs}
                keep(path, series, detection.scores, row, key)
                fresh += 1
            mine.append({**row, CHOSEN: one.chosen_on})
        if not mine:
            log.info("%s on %s: nothing abnormal in what was cut", name, one.name)
            continue
        mean = float(np.mean([row["vus_pr"] for row in mine]))
        log.info("%s on %s: %d series (%d kept from before), VUS-PR %.3f",
                 name, one.name, len(mine), len(mine) - fresh, mean)  # fmt: skip
        rows += mine
    if not rows:
        raise SourceError(f"sets={[s.name for s in sets]}: nothing abnormal in any series", "Choose a longer cut.")
    return rows


def _warm(detector: Detector) -> Callable[[], None]:
    """Scores noise at its first call: imports, weights and compilers are nobody's points per second."""
    done = False

    def warm() -> None:
        nonlocal done
        if not done:
            noise = np.random.default_rng(0).standard_normal((2048, 1))
            detector.score([Series("warm-up", np.arange(2048, dtype=np.int64) * NS_PER_SECOND, noise)])
            done = True

    return warm


def _key(series: Series, detector: Detector, settings: dict[str, int]) -> str:
    """What a row follows from: values, labels, detector with its weights and defaults, settings; 16 hex digits."""
    from tsad.detectors.proposals.proposer import defaults_digest

    weights = (detector.base_reference().get("sha256", ""), defaults_digest(detector.rated_as))
    parts = (VERSION, series.digest, series.labels, detector.config_hash, weights, sorted(settings.items()))
    return digest_of_text(repr(parts))[:16]


def _proposed(detector: Detector, series: Series) -> Detection:
    """Scores and the intervals that the detector would propose to people before any review."""
    from tsad.detectors.proposals.proposer import default_detection

    return default_detection(detector, series)


def _measured(detector: Detector, series: Series) -> tuple[Detection, Row]:
    """The detection, and what it cost: values (points times channels) per second of processor time, peak MB."""
    with _peak() as growth:
        started = time.process_time()
        detection = _proposed(detector, series)
        seconds = max(time.process_time() - started, 1e-6)
    values = series.values.size
    return detection, {"points": values, "points_per_second": values / seconds, "peak_mb": growth[0] / 1e6}


@contextmanager
def _peak() -> Iterator[list[float]]:
    """Growth of the resident set in bytes while the block works, looked at every 10 ms."""
    import psutil

    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    growth = [0.0]

    def watch() -> None:
        while not done.wait(0.01):
            growth[0] = max(growth[0], float(process.memory_info().rss - before))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield growth
    finally:
        done.set()
        watcher.join()
        growth[0] = max(growth[0], float(process.memory_info().rss - before))


def _figures(
    series: Series, truth: BoolArray, scores: FloatArray, intervals: Sequence[Interval], settings: dict[str, int]
) -> dict[str, float]:
    predicted = intervals_to_runs(intervals, series.timestamps)
    wanted = {key: settings[key] for key in ("vus_step", "rotations", "seed")}
    counts = series_counts(truth, predicted, rotations=settings["rotations"], seed=settings["seed"])
    by_period = tsb_ad_vus_pr(series, truth, scores, settings["vus_step"])
    return {**series_figures(truth, scores, predicted, **wanted), TSB_AD: by_period, **counts}


def tsb_ad_vus_pr(series: Series, truth: BoolArray, scores: FloatArray, step: int) -> float:
    """VUS-PR by TSB-AD's protocol: buffers up to the period of the first channel (``metrics.period_rule``).

    Args:
        step: every how many-th buffer is taken; all of them where they are few.
    """
    widest = period_rule(fill_missing(series.values[:, 0])[0])
    return vus_pr(truth, scores, widest, step=step if widest >= 20 * step else 1)


def _record(run: StepRun, rows: Sequence[Row], means: Sequence[Row]) -> None:
    """A detector's own run: its means as metrics, all its rows as a table."""
    for row in means:
        run.metrics({f"{row['set']}/{k}": v for k, v in row.items() if isinstance(v, float)})
    for row in pooled_rows(rows):
        run.metrics({f"{row['set']}/pooled_{k}": v for k, v in row.items() if isinstance(v, float)})
    run.table(json.loads(json.dumps([*rows, *means, *pooled_rows(rows)])), "leaderboard.csv")
    run.result({"series": len(rows), "vus_pr": means[-1]["vus_pr"]})


def _finish(
    parent: StepRun, folder: Path, sets: Sequence[LabelledSet], rows: Sequence[Row], means: Sequence[Row]
) -> None:
    """The parent run: leaderboard, bars, and the series that were left out, by name."""
    from tsad.plots import leaderboard_figure

    left_out = {one.name: dict(one.left_out) for one in sets if one.left_out}
    for name, series in left_out.items():
        log.warning("%s: left out %s", name, "; ".join(f"{point} ({why})" for point, why in series.items()))
    parent.file(folder / "leaderboard.csv")
    parent.table(table(means), "leaderboard.json")
    parent.json(left_out, "left_out.json")
    parent.figure(leaderboard_figure(means), "leaderboard.png")
    best = max((row for row in means if row["set"] == MEAN), key=lambda row: row["vus_pr"])
    parent.metrics({f"{row['detector']}/vus_pr": row["vus_pr"] for row in means if row["set"] == MEAN})
    parent.result({"series": len(rows), "best": best["detector"], "vus_pr": best["vus_pr"]})
