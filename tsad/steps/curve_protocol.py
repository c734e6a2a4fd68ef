"""The protocol behind ``tsad learning_curve``: blocks, review windows, answers from labels, counts pooled per set.

Every series is cut into blocks; half of them may be reviewed, the rest is scored. Candidates and evidence come from the
whole series: they need no labels. The series of a set lie on one line, far apart, so that all is counted at once.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tsad.core.intervals import mask_of_runs, runs_of
from tsad.core.options.threshold import kept_threshold
from tsad.core.proposing import to_runs
from tsad.core.series import Series
from tsad.core.types import BoolArray, FloatArray, IntArray
from tsad.detectors.evidence.channels import UNIT
from tsad.detectors.proposals.boundaries import best_pairs
from tsad.detectors.proposals.choose import GAPS, Rated, touches
from tsad.detectors.proposals.fitting import LabelledLook
from tsad.detectors.proposals.proposer import Judged, Proposer, corrected, look_at
from tsad.detectors.rules.base import KnownScores, ThresholdRule
from tsad.metrics.affiliation import affiliation_prf
from tsad.metrics.calibration import expected_calibration_error
from tsad.metrics.figures import counts_of, f1_of
from tsad.metrics.interval import candidate_pairs
from tsad.metrics.ranking import auc_pr

if TYPE_CHECKING:
    from tsad.detectors.base import Detector

BLOCK = 4096  # points per block, roughly
BLOCKS = (2, 8)  # per series, fewest and most
STRATA = 6  # of the windows, by their highest candidate score
UNIFORM = 0.25  # share of the windows that are drawn from all alike
SPACE = 10 * max(GAPS)  # points between two series on the line
SIMILAR = 2.0  # standardised features this near are alike; two candidates drawn at random lie about 7 apart
LEVELS = 25  # probability thresholds among which the oracle chooses


def subjects_of(
    detector: Detector, labelled: Iterable[tuple[Series, BoolArray]], evidence: bool = False
) -> Iterator[Subject]:
    """Each labelled series, examined once; scores as float32; the evidence itself only where it is asked for."""
    for series, truth in labelled:
        yield subject_of(detector, series, truth, evidence)


def subject_of(detector: Detector, series: Series, truth: BoolArray, evidence: bool = False) -> Subject:
    """One labelled series, examined."""
    examined = next(iter(detector.examine([series])))
    seen, scores = LabelledLook(look_at(series, examined), truth), examined.scores.astype(np.float32)
    return Subject(seen, series, scores, examined.rows if evidence else None)


@dataclass(frozen=True, eq=False)
class Subject:
    """One labelled series, examined: scores [T], rows of evidence [E, T] where they are kept."""

    seen: LabelledLook
    series: Series
    scores: npt.NDArray[np.floating]
    rows: npt.NDArray[np.int16] | None = None

    @property
    def timestamps(self) -> IntArray:
        """[T] ns UTC."""
        return self.series.timestamps


class Line:
    """The series of one set on one line, ``SPACE`` points between them.

    Attributes:
        truth, scores: [N]; nothing abnormal and a score of 0 between the series.
        runs, peaks, owner, confirmed: of all candidates, [K, 2] and [K]; ``owner`` is the number of the series.
        features: [K, F].
    """

    def __init__(self, name: str, subjects: Sequence[Subject]) -> None:
        self.name, self.subjects = name, subjects
        sizes = np.array([len(s.timestamps) for s in subjects])
        self.starts = np.concatenate(([0], np.cumsum(sizes + SPACE)))[:-1]
        self.stops = self.starts + sizes
        total = int(self.stops[-1]) + SPACE
        self.truth: BoolArray = np.zeros(total, bool)
        self.scores: FloatArray = np.zeros(total)
        for start, stop, one in zip(self.starts, self.stops, subjects, strict=True):
            self.truth[start:stop], self.scores[start:stop] = one.seen.truth, one.scores
        looks = [s.seen.look for s in subjects]
        self.owner = np.repeat(np.arange(len(looks)), [len(look.candidates) for look in looks])
        self.runs = np.concatenate([look.candidates.runs for look in looks]) + self.starts[self.owner][:, None]
        self.peaks = np.concatenate([look.candidates.peaks for look in looks]) + self.starts[self.owner]
        self.features = np.concatenate([look.features for look in looks])
        self.names = [looks[k].point_id for k in self.owner]
        self.confirmed = touches(self.runs, self.truth)

    @cached_property
    def event_coverage(self) -> float:
        """Share of the true events that share a point with a candidate, 0..1."""
        events = runs_of(self.truth)
        return float(touches(events, mask_of_runs(self.runs, len(self.truth))).mean())

    @cached_property
    def evidence(self) -> npt.NDArray[np.float32]:
        """Size of each row of evidence along the line, standardised over its series; 0 between them. [N, E]."""
        rows = [one.rows for one in self.subjects if one.rows is not None]
        assert len(rows) == len(self.subjects), "subjects_of(evidence=True)"
        whole = np.abs(np.concatenate(rows, axis=1)).T * np.float32(UNIT)
        whole = (whole - whole.mean(axis=0)) / (whole.std(axis=0) + np.float32(1e-6))
        out = np.zeros((len(self.truth), whole.shape[1]), np.float32)
        begin = 0
        for one, at in self.slices():
            out[at] = whole[begin : begin + len(one.timestamps)]
            begin += len(one.timestamps)
        return out

    def slices(self) -> Iterator[tuple[Subject, slice]]:
        """Each series with its place on the line."""
        for one, start, stop in zip(self.subjects, self.starts, self.stops, strict=True):
            yield one, slice(int(start), int(stop))


class Split:
    """What may be reviewed and what is scored, by one seed.

    Attributes:
        blocks: [B, 2] scored blocks.
        every: [V, 2] all windows that may be reviewed.
        windows: [W, 2] those of them that are, in the order in which they are.
        inside: [K] candidates whose peak lies in a scored block.
        asked: the line before any review, of whose candidates people are asked.
    """

    def __init__(self, line: Line, seed: int, length: int, most: int, rotations: int) -> None:
        rng = np.random.default_rng(seed)
        self.line, self.asked, self.seed = line, line, seed
        open_blocks, scored = _halves(line, rng)
        self.blocks = np.array(scored, np.int64).reshape(-1, 2)
        windows = np.array([w for a, b in open_blocks for w in _windows(a, b, length)], np.int64).reshape(-1, 2)
        self.every, self.windows = windows, windows[_order(_tops(line, windows), most, rng)]
        ends = np.cumsum(self.blocks[:, 1] - self.blocks[:, 0] + 1)
        self._shift = ends - (self.blocks[:, 1] - self.blocks[:, 0] + 1) - self.blocks[:, 0]
        self.points = int(ends[-1])
        self.inside = mask_of_runs(self.blocks, len(line.truth))[line.peaks]
        self.events = self.clip(runs_of(line.truth))
        self.turned = [self._turned(rng) for _ in range(rotations)]

    def seen_anew(self, line: Line) -> Split:
        """The same split of the same series, examined in another way."""
        other = copy.copy(self)
        other.line, other.inside = line, mask_of_runs(self.blocks, len(line.truth))[line.peaks]
        return other

    def reviewing(self, order: Sequence[int] | IntArray) -> Split:
        """The same split with these windows reviewed, by their number among all, in this order."""
        other = copy.copy(self)
        other.windows = self.every[np.array(order, np.int64)].reshape(-1, 2)
        return other

    def clip(self, runs: IntArray) -> IntArray:
        """What of the runs lies in scored blocks, on a line of these blocks alone, one free point between them."""
        which, block = candidate_pairs(runs, self.blocks, 0.0)
        start = np.maximum(runs[which, 0], self.blocks[block, 0])
        stop = np.minimum(runs[which, 1], self.blocks[block, 1])
        return np.stack((start, stop), axis=1) + self._shift[block][:, None]

    def along(self, values: FloatArray | BoolArray) -> FloatArray | BoolArray:
        """The values of the scored points, block by block."""
        return np.concatenate([values[a:b] for a, b in self.blocks])

    def _turned(self, rng: np.random.Generator) -> IntArray:
        """Events of the scored blocks, each block shifted in a circle by a random number of points."""
        turned = np.zeros(self.points, bool)
        for (a, b), shift in zip(self.blocks, self._shift, strict=True):
            turned[a + shift : b + shift] = np.roll(self.line.truth[a:b], int(rng.integers(1, max(2, b - a))))
        return runs_of(turned)

    def affiliation(self, proposed: IntArray) -> float:
        """Mean affiliation F1 of the scored blocks that hold an event."""
        found = []
        for (a, b), shift in zip(self.blocks, self._shift, strict=True):
            low, high = a + shift, b + shift
            events, mine = (runs[(runs[:, 0] >= low) & (runs[:, 1] <= high)] - low for runs in (self.events, proposed))
            if len(events):
                found.append(affiliation_prf(events, mine, int(b - a)).f1)
        return float(np.mean(found)) if found else float("nan")


def _halves(line: Line, rng: np.random.Generator) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Blocks that may be reviewed and blocks that are scored; of an odd number, the one more falls by chance."""
    halves: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for start, stop in zip(line.starts, line.stops, strict=True):
        count = int(np.clip((stop - start) // BLOCK, *BLOCKS))
        edges = np.linspace(start, stop, count + 1).astype(int)
        first = (count + int(rng.integers(2))) // 2
        for place, k in enumerate(rng.permutation(count)):
            if edges[k + 1] > edges[k]:
                halves[place >= first].append((int(edges[k]), int(edges[k + 1])))
    return halves[0], sorted(halves[1])


def _windows(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    """Windows of ``length`` points side by side; a rest shorter than half of one belongs to the last."""
    edges = list(range(start, stop, length))
    if len(edges) > 1 and stop - edges[-1] < length / 2:
        edges.pop()
    return list(zip(edges, [*edges[1:], stop], strict=True))


def _tops(line: Line, windows: IntArray) -> FloatArray:
    """Highest log odds of a candidate with its peak in each window, -9 without one. [W]."""
    order = np.argsort(line.peaks)
    low, high = (np.searchsorted(line.peaks[order], windows[:, k]) for k in (0, 1))
    heights = line.features[order, 0]
    return np.array([heights[a:b].max(initial=-9.0) for a, b in zip(low, high, strict=True)])


def _order(tops: FloatArray, most: int, rng: np.random.Generator) -> list[int]:
    """``most`` windows (or all) in the order of review: a quarter drawn from all alike, the rest from random strata."""
    strata = np.argsort(np.argsort(tops)) * STRATA // max(len(tops), 1)
    left: BoolArray = np.ones(len(tops), bool)
    chosen: list[int] = []
    while left.any() and len(chosen) < most:
        own = left & (strata == rng.integers(STRATA)) if rng.random() >= UNIFORM else left
        pick = int(rng.choice(np.flatnonzero(own if own.any() else left)))
        chosen.append(pick)
        left[pick] = False
    return chosen


def answers(split: Split, count: int, noise: float) -> tuple[BoolArray, BoolArray]:
    """What the simulated reviewer has said after ``count`` windows: points looked at, points called abnormal. [N], [N].

    ``noise`` is the share of wrong answers: each true interval of a window is dropped, each other candidate in it
    called abnormal with this probability. The same window always gets the same answer.
    """
    line = split.asked
    reviewed, said = np.zeros(len(line.truth), bool), np.zeros(len(line.truth), bool)
    for number, (start, stop) in enumerate(split.windows[:count]):
        reviewed[start:stop] = True
        said[start:stop] = line.truth[start:stop]
        if noise <= 0:
            continue
        rng = np.random.default_rng((split.seed, number))
        for a, b in runs_of(line.truth[start:stop]) + start:
            if rng.random() < noise:
                said[a:b] = False
        for k in np.flatnonzero((line.peaks >= start) & (line.peaks < stop) & ~line.confirmed):
            if rng.random() < noise:
                said[max(start, line.runs[k, 0]) : min(stop, line.runs[k, 1])] = True
    return reviewed, said


@dataclass(frozen=True, eq=False)
class Said:
    """Proposals of a whole set after some reviews: probability per candidate, runs, what ranks each point."""

    probability: FloatArray
    runs: IntArray
    ranking: FloatArray
    seconds: float
    proposer: Proposer | None
    allowed: BoolArray  # [K] candidates that are not where people have looked and said no


def by_calibrator(split: Split, count: int, noise: float, base: Proposer, learn: bool) -> Said:
    """The proposer before any review, corrected by the first ``count`` windows where ``learn``."""
    line, proposer, seconds = split.line, base, 0.0
    if learn and count:
        reviewed, said = answers(split, count, noise)
        judged = [Judged(one.seen.look, one.timestamps, reviewed[at], said[at]) for one, at in line.slices()]
        started = time.process_time()
        proposer = corrected(base, judged)
        seconds = time.process_time() - started
    probability = proposer.probability(line.features, line.names)
    allowed = np.ones(len(line.runs), bool)
    if proposer.verdicts:
        for k, one in enumerate(line.subjects):
            look = one.seen.look
            allowed[line.owner == k] = ~proposer.rejected(look.point_id, one.timestamps, look.candidates.runs)
    runs, _ = proposer.proposals(Rated(line.runs, probability), len(line.truth), allowed)
    ranking = 1e-6 * line.scores
    for (start, stop), p in zip(line.runs, probability, strict=True):
        ranking[start:stop] += p
    return Said(probability, runs, ranking, seconds, proposer, allowed)


def by_threshold(split: Split, count: int, noise: float, rule: ThresholdRule) -> Said:
    """Points above a score threshold that the first ``count`` windows ask for (``threshold=reviewed``)."""
    line = split.line
    _, said = answers(split, count, noise)
    windows = split.windows[:count]
    started = time.process_time()
    scores, truths = [line.scores[a:b] for a, b in windows], [said[a:b] for a, b in windows]
    threshold = rule.choose(KnownScores(scores=scores, truths=truths, weights=np.ones(len(windows))))
    seconds = time.process_time() - started
    nothing: FloatArray = np.zeros(0)
    runs = to_runs(line.scores, threshold, kept_threshold(dict(rule.settings)))
    return Said(nothing, runs, line.scores, seconds, None, np.zeros(0, bool))


def measured(split: Split, said: Said, count: int, noise: float) -> dict[str, float]:
    """Figures of one state of the reviews on the scored blocks, and how often what was rejected comes back."""
    line, proposed = split.line, split.clip(said.runs)
    interval, composite = f1_of(counts_of(split.events, proposed, split.points))
    chance = [f1_of(counts_of(events, proposed, split.points)) for events in split.turned]
    figures = {
        "interval_f1": interval, "composite_f1": composite,
        "rotated_interval_f1": float(np.mean([f[0] for f in chance])),
        "rotated_composite_f1": float(np.mean([f[1] for f in chance])),
        "affiliation_f1": split.affiliation(proposed),
        "auc_pr": auc_pr(split.along(line.truth), split.along(said.ranking)),
        "event_coverage": line.event_coverage, "fit_seconds": said.seconds, **_boundaries(split.events, proposed),
    }  # fmt: skip
    if said.proposer is None:
        return figures
    confirmed, probability = line.confirmed[split.inside], said.probability[split.inside]
    return figures | {
        "oracle_interval_f1": max(interval, _oracle(split, said)),
        "ece": expected_calibration_error(confirmed, probability),
        **_repeated(split, said, count, noise),
    }


def _boundaries(events: IntArray, proposed: IntArray) -> Mapping[str, float]:
    """Of proposals matched with events: median error of start and end in points, mean intersection over union."""
    pairs = best_pairs(proposed, events)
    if len(pairs.shared) == 0:
        return dict.fromkeys(("start_error", "end_error", "start_lag", "end_lag", "iou"), float("nan"))
    sizes, lags = np.median(np.abs(pairs.errors), axis=0), np.median(pairs.errors, axis=0)
    return {"start_error": float(sizes[0]), "end_error": float(sizes[1]), "start_lag": float(lags[0]),
            "end_lag": float(lags[1]), "iou": float(pairs.shared.mean())}  # fmt: skip


def _oracle(split: Split, said: Said) -> float:
    """Interval F1 at the one probability threshold that is best by the labels, near proposals joined as learned."""
    line, best = split.line, 0.0
    assert said.proposer is not None
    rated = Rated(line.runs, said.probability)
    for level in np.unique(np.quantile(rated.probability[said.allowed], 1 - np.geomspace(0.002, 0.9, LEVELS))):
        runs, _ = said.proposer.proposals(rated, len(line.truth), said.allowed, float(level))
        best = max(best, f1_of(counts_of(split.events, split.clip(runs), split.points))[0])
    return best


def _repeated(split: Split, said: Said, count: int, noise: float) -> Mapping[str, float]:
    """Share of rejected candidates of which more than half is proposed again; and what is like one but elsewhere.

    ``similar_repeat_rate``: of the candidates proposed in scored blocks, the share that is false and lies within
    :data:`SIMILAR` of a rejected candidate of the same series, in standardised features. NaN without any.
    """
    line = split.line
    assert said.proposer is not None
    reviewed, truth = answers(split, count, noise)
    rejected = np.flatnonzero(reviewed[line.peaks] & ~touches(line.runs, reviewed & truth))
    proposed = np.flatnonzero(said.allowed & split.inside & (said.probability >= said.proposer.threshold))
    if len(rejected) == 0:
        return {"repeat_rate": float("nan"), "similar_repeat_rate": float("nan")}
    covered = np.concatenate(([0], np.cumsum(mask_of_runs(said.runs, len(line.truth)), dtype=np.int64)))
    runs = line.runs[rejected]
    again = 2 * (covered[runs[:, 1]] - covered[runs[:, 0]]) > runs[:, 1] - runs[:, 0]
    defaults = said.proposer.calibrator.defaults
    standard = defaults.standardise(defaults.own(line.features))[:, defaults.remembered]
    alike = 0
    for k in proposed[~line.confirmed[proposed]]:
        same = rejected[line.owner[rejected] == line.owner[k]]
        alike += bool(len(same)) and bool(np.linalg.norm(standard[same] - standard[k], axis=1).min() < SIMILAR)
    similar = alike / len(proposed) if len(proposed) else float("nan")
    return {"repeat_rate": float(again.mean()), "similar_repeat_rate": similar}

