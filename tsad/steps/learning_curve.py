"""Simulated reviews on labelled sets -> quality against windows reviewed, and its plot."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from tsad.config.workbench import Workbench
from tsad.core.option_model import Options
from tsad.core.results import Result
from tsad.core.types import BoolArray, FloatArray
from tsad.files.atomic import atomic
from tsad.loop.opening import open_loop, standalone
from tsad.metrics.calibration import Resampling, ece_interval, expected_calibration_error
from tsad.steps.curve_linear import by_linear
from tsad.steps.curve_memory import Recall
from tsad.steps.curve_protocol import Line, Said, Split, by_calibrator, by_threshold, measured, subjects_of
from tsad.steps.curve_strategies import StrategyDraws, compared, strategies_of
from tsad.steps.sets import LabelledSet, open_sets

if TYPE_CHECKING:
    from tsad.detectors.base import Detector
    from tsad.detectors.proposals.proposer import Proposer
    from tsad.review.strategies.base import Strategy

log = logging.getLogger("tsad")
STEP = "LEARNING_CURVE"
ALL = "all"  # in place of a set's name or a seed: all of them
TOLERANCE = 0.03  # interval F1 may fall this far below that of no review before it counts as below
FIGURES = (
    "interval_f1", "composite_f1", "rotated_interval_f1", "rotated_composite_f1", "affiliation_f1",
    "oracle_interval_f1", "event_coverage", "auc_pr", "ece", "repeat_rate", "similar_repeat_rate", "fit_seconds",
    "below_zero", "start_error", "end_error", "start_lag", "end_lag", "iou",
)  # fmt: skip
LEARNERS = ("calibrator", "threshold", "linear", "none")  # in the protocol's own order of windows
COLUMNS = ("set", "strategy", "seed", "reviewed", *FIGURES, "ece_low", "ece_high")
Row = dict[str, Any]
Cases = dict[tuple[str, int], list[tuple[BoolArray, FloatArray, FloatArray]]]  # confirmed, probability, series


class LearningCurveKeys(Options):
    """Own keys of ``tsad learning_curve``; see ``conf/task/learning_curve.yaml``."""

    sets: list[str]
    reviews: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    seeds: int = Field(ge=1)
    strategies: list[str] = Field(min_length=1)
    noise: float = Field(ge=0, le=1)
    leave_out: bool
    remember: bool
    rotations: int = Field(ge=1)
    resamples: int = Field(ge=1)
    output: str


@dataclass(frozen=True, eq=False)
class LearningCurve(Result):
    """Quality against windows reviewed.

    Attributes:
        rows: means over sets and seeds, by strategy and number of reviewed windows.
        changes: of the first strategy, per set, what reviews changed since none.
        score: the first strategy's interval F1 after the most reviews.
        path: ``learning_curve.csv``.
        compared: of sampling strategies: windows until 90% of the final interval F1, and gains paired by seed.
    """

    detector: str
    sets: tuple[str, ...]
    seeds: int
    rows: tuple[Mapping[str, Any], ...]
    changes: tuple[Mapping[str, Any], ...]
    score: float
    path: str
    compared: tuple[Mapping[str, Any], ...] = ()

    @property
    def optimised(self) -> float | None:
        """The first strategy's interval F1."""
        return self.score


def learning_curve(bench: Workbench, keys: LearningCurveKeys) -> LearningCurve:
    """Simulate reviews of labelled sets by the configured detector and measure what they add.

    Raises:
        ConfigError: two sets of one name; no strategy of a name, or one that asks for what the curve does not have.
        SourceError: a set that does not exist, or without any anomaly.
        StopRequested: it was asked to stop.
    """
    drawn = strategies_of(bench, keys.strategies, LEARNERS)
    sets, detector = open_sets(bench, keys.sets, 0), bench.make_detector()
    folder = Path(keys.output)
    given = {"reviews": sorted({0, *keys.reviews}), "seeds": keys.seeds, "strategies": list(keys.strategies),
             "noise": keys.noise, "leave_out": keys.leave_out, "remember": keys.remember,
             "rotations": keys.rotations}  # fmt: skip
    with standalone(open_loop(bench), STEP) as (_, parent):
        parent.params({"sets": [s.name for s in sets], "window": bench.windows.length, **given,
                       **{f"detector.{k}": v for k, v in detector.describe().items()}})  # fmt: skip
        evidence = "linear" in keys.strategies
        lines = [_examined(detector, one, evidence) for one in bench.context.each(sets, "examining", len(sets))]
        recall = Recall(detector, bench.windows.remembered)
        bases = _bases(recall, lines, keys, bench.windows.length)
        rows: list[Row] = []
        cases: Cases = {}
        for line, base in bench.context.each(list(zip(lines, bases, strict=True)), "measuring", len(lines)):
            rows += _of_set(bench, line, base, (given, recall, drawn), cases)
            log.info("%s: measured with %d seeds", line.name, keys.seeds)
        rows += _overall(rows, cases, keys.resamples)
        write(folder / "learning_curve.csv", rows)
        _record(parent, folder, rows, summary(rows))
    overall = [row for row in rows if row["set"] == ALL]
    score = [row for row in overall if row["strategy"] == keys.strategies[0]][-1]["interval_f1"]
    return LearningCurve(
        detector.name, tuple(line.name for line in lines), keys.seeds, tuple(overall),
        tuple(since_none(rows, keys.strategies[0])), float(score), str(folder / "learning_curve.csv"),
        tuple(compared(rows, list(drawn))) if drawn else (),
    )  # fmt: skip


def _examined(detector: Detector, one: LabelledSet, evidence: bool) -> Line:
    """Every labelled series of a set, examined once, its rows of evidence kept or not; what was left out is logged."""
    subjects = list(subjects_of(detector, one.labelled(), evidence))
    for point, why in one.left_out.items():
        log.warning("%s: left out %s (%s)", one.name, point, why)
    log.info("%s: examined %d series, %d candidates", one.name, len(subjects),
             sum(len(s.seen.look.candidates) for s in subjects))  # fmt: skip
    return Line(one.name, subjects)


def _bases(recall: Recall, lines: Sequence[Line], keys: LearningCurveKeys, length: int) -> list[Proposer]:
    """The proposer before any review, for each set."""
    from tsad.detectors.proposals.fitting import fit_without, remembering_look, synthetic_groups
    from tsad.detectors.proposals.proposer import default_proposer

    detector, shipped = recall.detector, default_proposer(recall.detector.rated_as)
    if not keys.leave_out:
        return [shipped] * len(lines)
    synthetic = list(synthetic_groups(detector).values())
    groups = {line.name: [s.seen for s in line.subjects] for line in lines}
    if recall.most and (keys.remember or shipped.remembers):
        for line in lines:
            groups[line.name] += [remembering_look(detector, s.series, s.seen.truth, length, recall.most)
                                  for s in line.subjects]  # fmt: skip
    return [fit_without(line.name, groups, synthetic) for line in lines]


def _of_set(
    bench: Workbench, line: Line, base: Proposer, how: tuple[dict[str, Any], Recall, Mapping[str, Strategy]],
    cases: Cases,
) -> list[Row]:
    """Rows of one set, by strategy, seed and reviewed windows; what was said of candidates goes into ``cases``."""
    given, recall, drawn = how
    rule, by_points = bench.threshold_named("reviewed"), {"threshold": by_threshold, "linear": by_linear}
    rows: list[Row] = []
    said: Said
    after: tuple[Split, Said] | None
    for seed in range(given["seeds"]):
        bench.context.control.safe_point()
        split = Split(line, seed, bench.windows.length, max(given["reviews"]), given["rotations"])
        for strategy in given["strategies"]:
            zero, order, after = 0.0, list[int](), None
            drawing = StrategyDraws(bench, split, drawn[strategy]) if strategy in drawn else None
            for count in given["reviews"]:
                seen = split
                if drawing is not None:
                    order = drawing.more(order, count, after, given["noise"]) if after is not None else order
                    seen = split.reviewing(order)
                if strategy in by_points:
                    said = by_points[strategy](split, count, given["noise"], rule)
                else:
                    if learn := strategy == "calibrator" or drawing is not None:
                        seen = recall.after(seen, count, given["noise"], base)
                    said = by_calibrator(seen, count, given["noise"], base, learn)
                    answer = seen.line.confirmed[seen.inside], said.probability[seen.inside], _series(seen)
                    cases.setdefault((strategy, count), []).append(answer)
                after = seen, said
                figures = measured(seen, said, count, given["noise"])
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


def summary(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """What people look at: per strategy and count the mean over sets and seeds."""
    titles = {
        "interval_f1": "interval F1", "rotated_interval_f1": "rotated", "composite_f1": "composite F1",
        "rotated_composite_f1": "rotated ", "oracle_interval_f1": "oracle", "ece": "ECE", "repeat_rate": "repeated",
        "similar_repeat_rate": "similar", "below_zero": "below zero", "start_error": "start +-",
        "end_error": "end +-", "iou": "IoU", "fit_seconds": "seconds",
    }  # fmt: skip
    overall = [row for row in rows if row["set"] == ALL]
    return [
        {"strategy": row["strategy"], "reviewed": row["reviewed"], **{t: row[key] for key, t in titles.items()}}
        for row in overall
    ]


def since_none(rows: Sequence[Mapping[str, Any]], strategy: str) -> list[Row]:
    """Per set and count: the change of interval F1 since no review, paired by seed, with its deviation over seeds."""
    mine = [row for row in rows if row["strategy"] == strategy and row["set"] != ALL]
    first = {(row["set"], row["seed"]): row["interval_f1"] for row in mine if row["reviewed"] == 0}
    changes: dict[tuple[str, int], list[float]] = {}
    for row in mine:
        change = row["interval_f1"] - first[row["set"], row["seed"]]
        changes.setdefault((row["set"], row["reviewed"]), []).append(change)
    counts = sorted({count for _, count in changes} - {0})
    return [
        {"set": name, "interval F1 at 0": _mean([v for (n, _), v in first.items() if n == name]),
         **{f"after {count}": f"{np.mean(changes[name, count]):+.3f} +- {np.std(changes[name, count]):.3f}"
            for count in counts}}
        for name in dict.fromkeys(row["set"] for row in mine)
    ]  # fmt: skip


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
