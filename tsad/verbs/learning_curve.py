"""``tsad learning_curve``: simulated reviews on labelled sets -> quality against windows reviewed, and its plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import ConfigError
from tsad.core.types import BoolArray, FloatArray
from tsad.files.atomic import atomic
from tsad.loop.common import log, open_loop, say, show, standalone
from tsad.metrics.calibration import Resampling, ece_interval, expected_calibration_error
from tsad.steps.curve_protocol import Line, Said, Split, by_calibrator, by_threshold, measured, subjects_of
from tsad.steps.sets import LabelledSet, open_sets

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.detectors.proposals.proposer import Proposer

STEP = "LEARNING_CURVE"
STRATEGIES = ("calibrator", "threshold", "none")
ALL = "all"  # in place of a set's name or a seed: all of them
TOLERANCE = 0.03  # interval F1 may fall this far below that of no review before it counts as below
FIGURES = (
    "interval_f1", "composite_f1", "rotated_interval_f1", "rotated_composite_f1", "affiliation_f1",
    "oracle_interval_f1", "event_coverage", "auc_pr", "ece", "repeat_rate", "similar_repeat_rate", "fit_seconds",
    "below_zero",
)  # fmt: skip
COLUMNS = ("set", "strategy", "seed", "reviewed", *FIGURES, "ece_low", "ece_high")
Row = dict[str, Any]
Cases = dict[tuple[str, int], list[tuple[BoolArray, FloatArray, FloatArray]]]  # confirmed, probability, series


def run(
    bench: Workbench, *, sets: list[str], reviews: list[int], seeds: int, strategies: list[str], noise: float,
    leave_out: bool, rotations: int, resamples: int, output: str,
) -> float | None:
    """Simulate reviews of labelled sets by the configured detector and measure what they add.

    Args:
        sets: folders of CSV files with a label column, or of TSB-AD's files.
        reviews: numbers of reviewed windows (``windows.length`` points) per set.
        seeds: how often blocks and windows are drawn anew.
        strategies: what reviews change: ``calibrator``, ``threshold`` (of point scores), or ``none``.
        noise: share of wrong answers, 0..1.
        leave_out: whether default weights come from the other sets and synthetic series alone.
        rotations: random shifts of the labels that ``rotated_*`` is averaged over.
        resamples: of the bootstrap over series.
        output: folder for ``learning_curve.csv`` and the plot.

    Returns:
        The first strategy's mean interval F1 over sets after the most reviews, for sweepers.

    Raises:
        ConfigError: an impossible number, an unknown strategy.
        SourceError: a set that does not exist, or without any anomaly.
    """
    _check(reviews, seeds, strategies, noise, rotations, resamples)
    found_sets, detector = open_sets(bench, sets, 0), bench.make_detector()
    loop, folder = open_loop(bench), Path(output)
    given = {"reviews": sorted({0, *reviews}), "seeds": seeds, "strategies": strategies, "noise": noise,
             "leave_out": leave_out, "rotations": rotations}  # fmt: skip
    with standalone(loop, STEP) as parent:
        parent.params({"sets": [s.name for s in found_sets], "window": bench.windows.length, **given,
                       **{f"detector.{k}": v for k, v in detector.describe().items()}})  # fmt: skip
        lines = [_examined(detector, one) for one in found_sets]
        bases = _bases(detector, lines, leave_out)
        rows: list[Row] = []
        cases: Cases = {}
        for line, base in zip(lines, bases, strict=True):
            rows += _of_set(bench, line, base, given, cases)
            log.info("%s: measured with %d seeds", line.name, seeds)
        rows += _overall(rows, cases, resamples)
        write(folder / "learning_curve.csv", rows)
        means = summary(rows)
        _record(parent, folder, rows, means)
    show(means, f"{detector.name} on {len(lines)} sets, {seeds} seeds; figures are means over sets and seeds")
    say(f"wrote {folder / 'learning_curve.csv'}")
    last = [row for row in means if row["strategy"] == strategies[0]][-1]
    return float(last["interval F1"])


def _check(
    reviews: list[int], seeds: int, strategies: list[str], noise: float, rotations: int, resamples: int
) -> None:
    if not reviews or min(reviews) < 0 or min(seeds, rotations, resamples) < 1 or not 0 <= noise <= 1:
        found = f"reviews={reviews}, seeds={seeds}, noise={noise}, rotations={rotations}, resamples={resamples}"
        raise ConfigError(found, "Give reviews of at least 0, noise in 0..1, the others at least 1.")
    unknown = [name for name in strategies if name not in STRATEGIES]
    if unknown or not strategies:
        raise ConfigError(f"strategies={strategies}", f"Choose from {', '.join(STRATEGIES)}.")


def _examined(detector: Detector, one: LabelledSet) -> Line:
    """Every labelled series of a set, examined once; what was left out is logged."""
    subjects = list(subjects_of(detector, one.labelled()))
    for point, why in one.left_out.items():
        log.warning("%s: left out %s (%s)", one.name, point, why)
    log.info("%s: examined %d series, %d candidates", one.name, len(subjects),
             sum(len(s.seen.look.candidates) for s in subjects))  # fmt: skip
    return Line(one.name, subjects)


def _bases(detector: Detector, lines: Sequence[Line], leave_out: bool) -> list[Proposer]:
    """The proposer before any review, for each set."""
    from tsad.detectors.proposals.fitting import fit_proposer, synthetic_groups
    from tsad.detectors.proposals.proposer import default_proposer

    if not leave_out:
        return [default_proposer(detector.name)] * len(lines)
    synthetic = list(synthetic_groups(detector).values())
    found = []
    for line in lines:
        others = [[s.seen for s in other.subjects] for other in lines if other is not line]
        found.append(fit_proposer([*others, *synthetic], others or synthetic))
    return found


def _of_set(bench: Workbench, line: Line, base: Proposer, given: dict[str, Any], cases: Cases) -> list[Row]:
    """Rows of one set, by strategy, seed and reviewed windows; what was said of candidates goes into ``cases``."""
    options = replace(bench.threshold, rule="reviewed")
    rows: list[Row] = []
    for seed in range(given["seeds"]):
        split = Split(line, seed, bench.windows.length, max(given["reviews"]), given["rotations"])
        for strategy in given["strategies"]:
            zero = 0.0
            for count in given["reviews"]:
                said: Said
                if strategy == "threshold":
                    said = by_threshold(split, count, given["noise"], options)
                else:
                    said = by_calibrator(split, count, given["noise"], base, strategy == "calibrator")
                    answer = line.confirmed[split.inside], said.probability[split.inside], _series(split)
                    cases.setdefault((strategy, count), []).append(answer)
                figures = measured(split, said, count, given["noise"])
                zero = figures["interval_f1"] if count == 0 else zero
                below = float(figures["interval_f1"] < zero - TOLERANCE)
                named = {"set": line.name, "strategy": strategy, "seed": seed, "reviewed": count}
                rows.append({**named, **figures, "below_zero": below})
    return rows


def _series(split: Split) -> FloatArray:
    """Name of the series of each candidate in a scored block."""
    named = np.array([f"{split.line.name}/{name}" for name in split.line.names])
    return np.asarray(named[split.inside])


def _overall(rows: Sequence[Row], cases: Cases, resamples: int) -> list[Row]:
    """Per strategy and count the mean over sets and seeds; calibration error of all sets' candidates, with interval."""
    found = []
    for strategy, count in dict.fromkeys((row["strategy"], row["reviewed"]) for row in rows):
        mine = [row for row in rows if (row["strategy"], row["reviewed"]) == (strategy, count)]
        row: Row = {"set": ALL, "strategy": strategy, "seed": ALL, "reviewed": count}
        row |= {figure: _mean([r.get(figure, np.nan) for r in mine]) for figure in FIGURES}
        if (strategy, count) in cases:
            truth, said, series = (np.concatenate(part) for part in zip(*cases[strategy, count], strict=True))
            row["ece"] = expected_calibration_error(truth, said)
            row["ece_low"], row["ece_high"] = ece_interval(truth, said, series, resampling=Resampling(resamples))
        found.append(row)
    return found


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if v == v]
    return float(np.mean(known)) if known else float("nan")


def summary(rows: Sequence[Row]) -> list[Row]:
    """What people look at: per strategy and count the mean over sets and seeds."""
    titles = {
        "interval_f1": "interval F1", "rotated_interval_f1": "rotated", "composite_f1": "composite F1",
        "rotated_composite_f1": "rotated ", "oracle_interval_f1": "oracle", "ece": "ECE", "repeat_rate": "repeated",
        "similar_repeat_rate": "similar", "below_zero": "below zero", "fit_seconds": "seconds",
    }  # fmt: skip
    overall = [row for row in rows if row["set"] == ALL]
    return [
        {"strategy": row["strategy"], "reviewed": row["reviewed"], **{t: row[key] for key, t in titles.items()}}
        for row in overall
    ]


def write(path: Path, rows: Sequence[Row]) -> None:
    """``learning_curve.csv`` with COLUMNS; what a row does not have stays empty.

    Raises:
        StorageError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        known = {k: v for k, v in row.items() if v == v}
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in known.items()})
    with atomic(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")


def _record(parent: Any, folder: Path, rows: Sequence[Row], means: Sequence[Row]) -> None:
    """The run: the file, the table, the plot, and each strategy's curve as a metric over reviewed windows."""
    from tsad.plots.curves import learning_curve_figure

    figure = learning_curve_figure([row for row in rows if row["set"] != ALL])
    with atomic(folder / "learning_curve.png") as partial:
        figure.savefig(partial, format="png")
    parent.file(folder / "learning_curve.csv")
    parent.figure(figure, "learning_curve.png")
    parent.table(list(means), "learning_curve.json")
    for row in rows:
        if row["set"] == ALL:
            known = {k: v for k, v in row.items() if isinstance(v, float) and v == v}
            parent.metrics({f"{row['strategy']}/{k}": v for k, v in known.items()}, step=row["reviewed"])
    parent.result({"rows": len(rows), "sets": len({row["set"] for row in rows}) - 1})
