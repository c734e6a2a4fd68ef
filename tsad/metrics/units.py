"""Scores of a detector on the gold set: weighted sums over units, and ratios of those sums.

A unit is what was drawn with one probability: a window that people reviewed, or a whole gold stretch of a series.
Windows are not a fair sample, so every count is multiplied by 1 / p before it is summed (Horvitz and Thompson
1952); precision, recall and F1 are ratios of such sums (Hajek's ratio estimator).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tsad.core.intervals import mask_of_runs, runs_of
from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.metrics.affiliation import affiliation_prf
from tsad.metrics.interval import match, spaced
from tsad.metrics.point import hit_runs, same_masks, scored
from tsad.metrics.ranking import auc_pr, oracle_interval_f1, oracle_point_f1, vus_pr
from tsad.metrics.vus import Stretches

# The columns of a count vector. Their sum over any set of units gives that set's metrics.
COUNTS = (
    "point_tp", "point_fp", "point_fn",
    "interval_tp", "interval_fp", "interval_fn",
    "interval_iou50_tp", "interval_iou50_fp", "interval_iou50_fn",
    "event_hit", "event_missed",
    "pa_point_tp", "pa_point_fn",
)  # fmt: skip
_COLUMN = {name: k for k, name in enumerate(COUNTS)}
_PRF_COLUMNS = {
    "point": ("point_tp", "point_fp", "point_fn"),
    "interval": ("interval_tp", "interval_fp", "interval_fn"),
    "interval_iou50": ("interval_iou50_tp", "interval_iou50_fp", "interval_iou50_fn"),
    "pa_point": ("pa_point_tp", "point_fp", "pa_point_fn"),
}
# Metrics that are ratios of summed counts; reported in this order.
COUNT_METRICS = (
    "point_precision", "point_recall", "point_f1",
    "interval_precision", "interval_recall", "interval_f1",
    "interval_iou50_f1", "composite_recall", "composite_f1", "pa_point_f1",
)  # fmt: skip
# Metrics that are means over series that hold an anomaly.
RANKING_METRICS = ("auc_pr", "vus_pr")
# Metrics that are weighted means over units that hold an anomaly.
AFFILIATION_METRICS = ("affiliation_precision", "affiliation_recall", "affiliation_f1")


@dataclass(frozen=True, eq=False)
class Unit:
    """One gold window or stretch with what a detector said of it.

    Attributes:
        group: the series it belongs to; units of one group are in order of time.
        truth: [L] bool.
        predicted: [L] bool.
        scores: [L] finite, higher = more abnormal; ``None`` where only intervals are known.
        weight: 1 / inclusion probability, at least 1 for a sampled window.

    Raises:
        ValueError: unequal lengths, an empty unit, a weight that is not finite and above 0.
    """

    group: str
    truth: BoolArray
    predicted: BoolArray
    scores: FloatArray | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        true, _ = same_masks(self.truth, self.predicted)
        if len(true) == 0:
            raise ValueError(f"a unit of {self.group} has no points")
        if self.scores is not None and np.shape(self.scores) != true.shape:
            raise ValueError(f"scores {np.shape(self.scores)} of {self.group} do not fit its truth {true.shape}")
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"weight {self.weight} of a unit of {self.group} must be finite and above 0")


@dataclass(frozen=True, eq=False)
class Items:
    """Everything that counts in some units, and where it lies. All [N]; each item counts 1 before weighting.

    Attributes:
        column: index into COUNTS.
        unit: index of the unit.
        position: 0-based point in the unit; intervals and events lie at their middle.
    """

    column: IntArray
    unit: IntArray
    position: IntArray


def items_of(units: Sequence[Unit]) -> Items:
    """What counts in the units, found in one pass over all of them."""
    lengths = [len(u.truth) for u in units]
    place = spaced(lengths)
    total = sum(lengths) + len(units)
    true, pred = np.zeros(total, bool), np.zeros(total, bool)
    if units:
        true[place] = np.concatenate([u.truth for u in units])
        pred[place] = np.concatenate([u.predicted for u in units])
    true_runs, pred_runs = runs_of(true), runs_of(pred)
    hit = hit_runs(true_runs, pred)
    found: dict[str, IntArray] = {
        "point_tp": np.flatnonzero(true & pred),
        "point_fp": np.flatnonzero(pred & ~true),
        "point_fn": np.flatnonzero(true & ~pred),
        "event_hit": _middles(true_runs[hit]),
        "event_missed": _middles(true_runs[~hit]),
        "pa_point_tp": np.flatnonzero(mask_of_runs(true_runs[hit], total)),
        "pa_point_fn": np.flatnonzero(mask_of_runs(true_runs[~hit], total)),
    }
    for kind, iou in (("interval", 0.0), ("interval_iou50", 0.5)):
        matched = match(true_runs, pred_runs, iou)
        alone = np.setdiff1d(np.arange(len(pred_runs)), matched)
        found[f"{kind}_tp"] = _middles(true_runs[matched >= 0])
        found[f"{kind}_fn"] = _middles(true_runs[matched < 0])
        found[f"{kind}_fp"] = _middles(pred_runs[alone])
    line = np.concatenate(list(found.values())).astype(np.int64)
    starts = np.cumsum([0, *(n + 1 for n in lengths)])
    unit = np.searchsorted(starts, line, side="right") - 1
    column = np.concatenate([np.full(len(at), _COLUMN[name], np.int64) for name, at in found.items()])
    return Items(column, unit.astype(np.int64), line - starts[unit])


def _middles(runs: IntArray) -> IntArray:
    return (runs[:, 0] + runs[:, 1] - 1) // 2


def count_table(units: Sequence[Unit]) -> FloatArray:
    """The units' counts, unweighted, in the order of COUNTS. [U, len(COUNTS)]."""
    items, width = items_of(units), len(COUNTS)
    cells = np.bincount(items.unit * width + items.column, minlength=len(units) * width)
    return cells.reshape(-1, width).astype(np.float64)


def unit_counts(unit: Unit) -> FloatArray:
    """One unit's counts, unweighted, in the order of COUNTS. [len(COUNTS)] float64."""
    return count_table([unit])[0]


def metric_of(totals: FloatArray, name: str) -> FloatArray:
    """One metric of COUNT_METRICS from summed counts. totals [..., len(COUNTS)] -> [...].

    Precision and recall are NaN where undefined, F1 is 0 where there is no true positive (as ``metrics.point.PRF``).
    """
    if name not in COUNT_METRICS:
        raise ValueError(f"{name} is not a metric of counts; those are {', '.join(COUNT_METRICS)}")
    kind, part = name.rsplit("_", 1)
    if kind == "composite":
        hit, missed = totals[..., _COLUMN["event_hit"]], totals[..., _COLUMN["event_missed"]]
        recall = _ratio(hit, hit + missed)
        if part == "recall":
            return recall
        precision = metric_of(totals, "point_precision")
        return np.where(hit > 0, _ratio(2 * precision * recall, precision + recall), 0.0)
    tp, fp, fn = (totals[..., _COLUMN[column]] for column in _PRF_COLUMNS[kind])
    if part == "precision":
        return _ratio(tp, tp + fp)
    if part == "recall":
        return _ratio(tp, tp + fn)
    return np.where(tp > 0, _ratio(2 * tp, 2 * tp + fp + fn), 0.0)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)


def ranking_of(units: Sequence[Unit], name: str) -> float:
    """``auc_pr`` or ``vus_pr`` over the units taken as stretches of one series; NaN where nothing is true.

    Raises:
        ValueError: a unit without scores.
    """
    truth, scores, weights, lengths = joined(units)
    if name == "auc_pr":
        return auc_pr(truth, scores, weights)
    if name == "vus_pr":
        return vus_pr(truth, scores, stretches=Stretches(lengths, weights))
    raise ValueError(f"{name} is not a ranking metric; those are {', '.join(RANKING_METRICS)}")


def joined(units: Sequence[Unit]) -> tuple[BoolArray, FloatArray, FloatArray, list[int]]:
    """Truth, scores and weights of all points one after the other, and the units' lengths.

    Raises:
        ValueError: a unit without scores, or with a score that is not finite.
    """
    parts = []
    for unit in units:
        if unit.scores is None:
            raise ValueError(f"a unit of {unit.group} has no scores")
        parts.append(scored(unit.truth, unit.scores))
    lengths = [len(unit.truth) for unit in units]
    weights = np.repeat([float(unit.weight) for unit in units], lengths)
    return np.concatenate([t for t, _ in parts]), np.concatenate([s for _, s in parts]), weights, lengths


def by_group(units: Sequence[Unit]) -> dict[str, list[Unit]]:
    """Units by series, in order of first appearance."""
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        groups.setdefault(unit.group, []).append(unit)
    return groups


def summarise(units: Sequence[Unit]) -> dict[str, float]:
    """Every metric of a detector on the gold set.

    Returns:
        COUNT_METRICS from the weighted sums; AFFILIATION_METRICS, weighted means over the units that hold an anomaly,
        so that false alarms elsewhere do not show in them; ``auc_pr`` and ``vus_pr``, plain means over the series that
        hold an anomaly; ``oracle_point_f1`` and ``oracle_interval_f1``, one threshold for all units, found with the
        labels; ``intervals`` (true ones), ``windows`` (units) and ``series``, unweighted. Precision is NaN where
        nothing was predicted, recall and threshold-free metrics where nothing is true; the latter also where a unit
        has no scores.
    """
    counts = count_table(units)
    totals = np.array([u.weight for u in units], np.float64) @ counts
    result = {name: float(metric_of(totals, name)) for name in COUNT_METRICS}
    result.update(affiliation_of(units))
    result.update(_threshold_free(units))
    intervals = counts[:, _COLUMN["event_hit"]] + counts[:, _COLUMN["event_missed"]]
    result["intervals"] = float(intervals.sum())
    result["windows"] = float(len(units))
    result["series"] = float(len(by_group(units)))
    return result


def affiliation_of(units: Sequence[Unit]) -> dict[str, float]:
    """AFFILIATION_METRICS: weighted means over the units that hold an anomaly, each a stretch of its own.

    Precision is the mean over those of them in which something is predicted. NaN where there are none.
    """
    rows = [
        (u.weight, *affiliation_prf(runs_of(u.truth), runs_of(u.predicted), len(u.truth)))
        for u in units
        if np.any(u.truth)
    ]
    table = np.array(rows, np.float64).reshape(-1, 1 + len(AFFILIATION_METRICS))
    weights, values = table[:, :1], table[:, 1:]
    known = ~np.isnan(values)
    means = _ratio((weights * np.where(known, values, 0.0)).sum(axis=0), (weights * known).sum(axis=0))
    return dict(zip(AFFILIATION_METRICS, means.tolist(), strict=True))


def _threshold_free(units: Sequence[Unit]) -> Mapping[str, float]:
    names = (*RANKING_METRICS, "oracle_point_f1", "oracle_interval_f1")
    if not units or any(u.scores is None for u in units) or not any(np.any(u.truth) for u in units):
        return dict.fromkeys(names, float("nan"))
    groups = [g for g in by_group(units).values() if any(np.any(u.truth) for u in g)]
    result = {name: float(np.mean([ranking_of(g, name) for g in groups])) for name in RANKING_METRICS}
    truth, scores, weights, lengths = joined(units)
    result["oracle_point_f1"] = oracle_point_f1(truth, scores, weights)
    result["oracle_interval_f1"] = oracle_interval_f1(truth, scores, lengths=lengths, weights=weights)
    return result


def rotated(units: Sequence[Unit], seed: int) -> list[Unit]:
    """The same units with their truth shifted circularly by a random number of points: the control of a report.

    Anomalies keep their number and length but lose their place. What a detector still scores, it scores by chance.
    A run that is cut by the edge becomes two. Units of one point stay as they are.
    """
    rng = np.random.default_rng(seed)
    shifts = [int(rng.integers(1, len(u.truth))) if len(u.truth) > 1 else 0 for u in units]
    return [replace(u, truth=np.roll(u.truth, shift)) for u, shift in zip(units, shifts, strict=True)]
