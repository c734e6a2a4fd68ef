"""What chance says of a score, and of the difference between two detectors on the same gold set.

A score's interval is a bootstrap over whole series, since errors within one series go together; with fewer than
``MIN_GROUPS`` series it draws blocks of windows instead (Efron and Tibshirani 1993, chapters 6 and 13; blocks: Kuensch
1989). A difference is tested by swapping: where champion and challenger are equally good, each block's answers could
as well have come from the other (approximate randomisation: Noreen 1989; for precision, recall and F1: Yeh 2000, "More
accurate tests for the statistical significance of result differences"). Unlike a bootstrap, which never saw what did
not happen, it holds its level with a handful of blocks, or of intervals in which the two differ.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tsad.core.intervals import runs_of
from tsad.core.results import Result
from tsad.core.types import FloatArray, IntArray
from tsad.metrics.units import (
    COUNT_METRICS,
    COUNTS,
    RANKING_METRICS,
    Unit,
    items_of,
    metric_of,
    ranking_of,
)

MIN_GROUPS = 8  # a bootstrap of fewer series than this says too little about how series differ
TARGET_BLOCKS = 64  # how finely the points are cut where they must be
MIN_BLOCKS = 8
METRICS = (*COUNT_METRICS, *RANKING_METRICS)  # what can be resampled, and so what a gate may use

ROUNDING = 1e-12  # of sums that would be equal

Resampled = Literal["series", "windows"]


@dataclass(frozen=True, eq=False)
class PairedGain(Result):
    """Challenger minus champion on one metric.

    Attributes:
        gain: on the whole gold set.
        low, high: where the gain lies, by what swapping gives: above zero (below it) exactly where the challenger is
            better (worse) than chance at this level. NaN with only one block, which says nothing.
        p_value: one-sided share of swaps that give at least this gain; never below 2 ** -blocks, all blocks being
            better by luck.
        resampled: what was swapped: whole series, or blocks of windows where there are too few series.
        level: of the interval; each side has half of what is left.
        blocks: how many of them there are.
    """

    gain: float
    low: float
    high: float
    p_value: float
    resampled: str = ""
    level: float = 0.95  # results of before have no level, and these intervals
    blocks: int = 0


def gain_figures(gains: Mapping[str, PairedGain]) -> dict[str, float]:
    """Gains, their ends and p-values by name, ``gain/<metric>`` and ``gain/<metric>_low``, as metrics of a run."""
    return {
        f"gain/{metric}{suffix}": value
        for metric, gain in gains.items()
        for suffix, value in (("", gain.gain), ("_low", gain.low), ("_high", gain.high), ("_p", gain.p_value))
    }


def confidence_interval(
    units: Sequence[Unit], metric: str, *, resamples: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of one metric; (NaN, NaN) where it is undefined or only one block exists.

    Args:
        metric: one of METRICS.
        resamples: at least 1; 1000 or more for stable ends.
        level: 0..1.
    """
    _check(metric, resamples)
    labels, count, _ = _blocks(units, MIN_GROUPS)
    if count < 2:
        return float("nan"), float("nan")
    draws = _draws(count, resamples, seed)
    return _interval(_statistic(metric)(draws @ _sums(units, labels, count, metric)), level)


def mean_of_means(strata: Sequence[FloatArray]) -> float:
    """Mean over the strata (sets) of the mean over their members (series); NaN members do not count."""
    means = [float(np.mean(known)) for known in (s[~np.isnan(s)] for s in strata) if len(known)]
    return float(np.mean(means)) if means else float("nan")


def mean_interval(
    strata: Sequence[FloatArray], *, resamples: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of :func:`mean_of_means`, members drawn anew within each stratum.

    The draws depend on the seed and the sizes alone, so detectors on the same series are compared over the same draws.
    (NaN, NaN) where no stratum has two members; a stratum with one adds no spread of its own.
    """
    rng = np.random.default_rng(seed)
    drawn = [s[rng.integers(0, len(s), (resamples, len(s)))] for s in strata if len(s)]
    if not any(len(s) > 1 for s in strata):
        return float("nan"), float("nan")
    sums = np.stack([np.nansum(d, axis=1) for d in drawn])
    counts = np.stack([np.count_nonzero(~np.isnan(d), axis=1) for d in drawn])
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    known = np.count_nonzero(~np.isnan(means), axis=0)
    return _interval(np.where(known > 0, np.nansum(means, axis=0) / np.maximum(known, 1), np.nan), level)


def paired_tests(
    champion_units: Sequence[Unit], challenger_units: Sequence[Unit], metrics: Sequence[str], *, level: float,
    resamples: int, seed: int,
) -> dict[str, PairedGain]:  # fmt: skip
    """Whether the challenger's gain on each of ``metrics`` is more than chance, over the same swaps.

    Swaps under which a metric is undefined for either count as gains by chance. So a gold set without true
    intervals, and a challenger that says the same as the champion, give p = 1. Whole series are swapped where there
    are enough of them to reach the level, else blocks of windows; auc_pr and vus_pr are then means over the blocks
    with an anomaly, in ``gain`` too.

    Args:
        champion_units: scored by the champion.
        challenger_units: the same units in the same order, scored by the challenger.
        metrics: of METRICS.
        level: 0..1, of the intervals; a gain is more than chance at ``(1 - level) / 2``, one-sided.
        resamples: swaps drawn, each with its mirror image; all of them where there are no more than that.

    Raises:
        ValueError: the units do not pair up (group, truth or weight differ), or a metric is not known.
    """
    for metric in metrics:
        _check(metric, resamples)
    _check_pairs(champion_units, challenger_units)
    labels, count, resampled = _blocks(champion_units, least_series((1.0 - level) / 2))
    if count == 0:
        nothing = PairedGain(0.0, float("nan"), float("nan"), 1.0, resampled, level, 0)
        return dict.fromkeys(metrics, nothing)
    swaps = _swaps(count, resamples, seed)
    sums: dict[str, tuple[FloatArray, FloatArray]] = {}
    gains = {}
    for metric in metrics:
        kind = metric if metric in RANKING_METRICS else "counts"  # all metrics of counts come from the same sums
        if kind not in sums:
            sums[kind] = (
                _sums(champion_units, labels, count, metric), _sums(challenger_units, labels, count, metric)
            )  # fmt: skip
        gain, chance = _swapped(*sums[kind], _statistic(metric), swaps)
        gains[metric] = _judged(gain, chance, PairedGain(gain, math.nan, math.nan, 1.0, resampled, level, count))
    return gains


def _swapped(
    old: FloatArray, new: FloatArray, value: Callable[[FloatArray], FloatArray], swaps: FloatArray
) -> tuple[float, FloatArray]:
    """The gain, and what each swap and its mirror image give instead, in ascending order; unknown ones last."""
    moved = swaps @ (new - old)
    chance = value(old.sum(axis=0) + moved) - value(new.sum(axis=0) - moved)
    chance = np.sort(np.nan_to_num(np.concatenate((chance, -chance)), nan=np.inf))
    return float(value(new.sum(axis=0)) - value(old.sum(axis=0))), chance


def _judged(gain: float, chance: FloatArray, unknown: PairedGain) -> PairedGain:
    """A gain with its p-value and the interval that agrees with it."""
    if math.isnan(gain):
        return unknown
    # rounding of equal sums must not pass for a gain
    p_value = float(np.count_nonzero(chance >= gain - ROUNDING) / len(chance))
    if unknown.blocks < 2:
        return replace(unknown, p_value=p_value)
    beyond = int((1.0 - unknown.level) / 2 * len(chance) + ROUNDING)  # at most so many swaps may give as much
    reach = float(chance[len(chance) - 1 - beyond])
    low, high = (0.0 if abs(end) <= ROUNDING else max(-1.0, min(1.0, end)) for end in (gain - reach, gain + reach))
    return replace(unknown, low=low, high=high, p_value=p_value)


def least_series(side: float) -> int:
    """Fewest series whose swaps can reach a one-sided level: all of them better by luck has probability 2 ** -n."""
    return max(2, math.ceil(-math.log2(side)))


def _swaps(count: int, resamples: int, seed: int) -> FloatArray:
    """Which blocks are swapped, [N, count] of 0 and 1; nothing swapped comes first, so that no p-value is 0."""
    if 2**count <= resamples:
        return (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float64)
    drawn = np.random.default_rng(seed).integers(0, 2, (resamples, count))
    drawn[0] = 0
    return drawn.astype(np.float64)


def _check(metric: str, resamples: int) -> None:
    if metric not in METRICS:
        raise ValueError(f"{metric} cannot be resampled; choose one of {', '.join(METRICS)}")
    if resamples < 1:
        raise ValueError(f"resamples={resamples} must be at least 1")


def _check_pairs(champion: Sequence[Unit], challenger: Sequence[Unit]) -> None:
    if len(champion) != len(challenger):
        raise ValueError(f"champion has {len(champion)} gold units, challenger {len(challenger)}")
    for k, (a, b) in enumerate(zip(champion, challenger, strict=True)):
        if a.group != b.group or a.weight != b.weight or not np.array_equal(a.truth, b.truth):
            raise ValueError(f"gold unit {k} ({a.group}) differs between champion and challenger ({b.group})")


def _interval(values: FloatArray, level: float) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _draws(count: int, resamples: int, seed: int) -> FloatArray:
    """How often each block is in each resample, [resamples, count]; rows sum to ``count``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)


def _statistic(metric: str) -> Callable[[FloatArray], FloatArray]:
    """From summed block vectors [..., C] to the metric [...]."""
    if metric in COUNT_METRICS:
        return lambda totals: metric_of(totals, metric)
    return _mean_of_sums


def _mean_of_sums(totals: FloatArray) -> FloatArray:
    """(sum of values, number of values) [..., 2] -> mean [...], NaN where there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(totals[..., 1] > 0, totals[..., 0] / totals[..., 1], np.nan)


def _blocks(units: Sequence[Unit], least: int) -> tuple[list[IntArray], int, Resampled]:
    """Which block each point of each unit belongs to: [L] per unit, the number of blocks, and what they are.

    From ``least`` series on they are whole series, else parts of them. Depends on groups, lengths and truth alone, so
    it is the same for champion and challenger. Blocks lie in one series. They are at least twice as long as the
    longest true run where that leaves enough of them, so that an anomaly and what surrounds it stay together. A unit
    no longer than a block is never cut.
    """
    groups: dict[str, list[int]] = {}
    for k, unit in enumerate(units):
        groups.setdefault(unit.group, []).append(k)
    if len(groups) >= least:
        index = {group: k for k, group in enumerate(groups)}
        return [np.full(len(u.truth), index[u.group]) for u in units], len(groups), "series"
    total = sum(len(u.truth) for u in units)
    longest = max((int(np.diff(runs_of(u.truth)).max(initial=0)) for u in units), default=0)
    largest = max((len(u.truth) for u in units), default=0)
    # windows were drawn as wholes and stay whole; only stretches that hold much of the gold set must be cut
    whole = largest if largest <= total // MIN_BLOCKS else 0
    block = max(1, min(max(2 * longest, whole, total // TARGET_BLOCKS), total // MIN_BLOCKS))
    labels: list[IntArray] = [np.empty(0, np.int64)] * len(units)
    used = 0
    for members in groups.values():
        points = sum(len(units[k].truth) for k in members)
        pieces = max(1, round(points / block))
        start = 0
        for k in members:
            length = len(units[k].truth)
            place = start + (np.arange(length) if length > block else np.full(length, length // 2))
            labels[k] = used + place * pieces // points
            start += length
        used += pieces
    return _without_gaps(labels)


def _without_gaps(labels: list[IntArray]) -> tuple[list[IntArray], int, Resampled]:
    """Blocks that no unit's middle fell into are dropped: an empty block would only add noise to the draws."""
    if not labels:
        return [], 0, "windows"
    present, dense = np.unique(np.concatenate(labels), return_inverse=True)
    return np.split(dense, np.cumsum([len(x) for x in labels])[:-1]), len(present), "windows"


def _sums(units: Sequence[Unit], labels: Sequence[IntArray], count: int, metric: str) -> FloatArray:
    """What each block adds to the metric's sums, [count, C]: weighted counts, or (value, 1) where there is one."""
    if metric in RANKING_METRICS:
        return _ranking_sums(units, labels, count, metric)
    width = len(COUNTS)
    items = items_of(units)
    starts = np.cumsum([0, *(len(label) for label in labels)])
    block = np.concatenate(labels)[starts[items.unit] + items.position]
    weights = np.array([u.weight for u in units], np.float64)[items.unit]
    return np.bincount(block * width + items.column, weights, count * width).reshape(count, width).astype(np.float64)


def _ranking_sums(units: Sequence[Unit], labels: Sequence[IntArray], count: int, metric: str) -> FloatArray:
    members: list[list[Unit]] = [[] for _ in range(count)]
    for unit, label in zip(units, labels, strict=True):
        if unit.scores is None:
            raise ValueError(f"a unit of {unit.group} has no scores, which {metric} needs")
        edges = np.concatenate(([0], np.flatnonzero(np.diff(label)) + 1, [len(label)]))
        for a, b in itertools.pairwise(edges.tolist()):
            part = Unit(unit.group, unit.truth[a:b], unit.predicted[a:b], unit.scores[a:b], unit.weight)
            members[int(label[a])].append(part)
    values = np.array([ranking_of(m, metric) if any(np.any(u.truth) for u in m) else np.nan for m in members])
    return np.stack((np.nan_to_num(values), ~np.isnan(values)), axis=1).astype(np.float64)
