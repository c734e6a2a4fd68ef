"""Proposed intervals with calibrated probabilities, for every detector, before any review and after many."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsad.core.bases import ProposerBase
from tsad.core.errors import WeightsError
from tsad.core.intervals import intervals_to_runs, runs_to_intervals
from tsad.core.protocols import Examining
from tsad.core.series import Series
from tsad.core.types import BoolArray, Detection, FloatArray, IntArray, Interval, Origin, Proposal
from tsad.detectors.evidence.examined import Examined
from tsad.detectors.proposals.boundaries import USUAL, Margins, best_pairs, drawn_inside, learned_margins, widened
from tsad.detectors.proposals.calibrator import Calibrator, from_json, logit, mixed, sigmoid, to_json, trust
from tsad.detectors.proposals.candidates import Candidates, find_candidates
from tsad.detectors.proposals.choose import USUAL_GAP, Rated, best_threshold, join, learned_gap, propose, touches
from tsad.detectors.proposals.features import committee, memory
from tsad.detectors.proposals.features.context import day_of
from tsad.detectors.proposals.features.table import FIRST_EDITION, features_of
from tsad.detectors.proposals.notes import with_reasons, with_votes
from tsad.detectors.proposals.reasons import Language
from tsad.files.hashing import digest_of_text

if TYPE_CHECKING:
    from tsad.detectors.base import Detector

DEFAULTS = Path(__file__).parent / "defaults.json"
ANY = "any"  # default weights of a detector without its own


@dataclass(frozen=True, eq=False)
class Look:
    """A series as a proposer sees it: candidates and all their features; ``examined`` itself need not be kept.

    Attributes:
        features: [K, len(FEATURES)], in the order of ``features.table.FEATURES``.
    """

    point_id: str
    candidates: Candidates
    features: FloatArray


@dataclass(frozen=True)
class Verdict:
    """What a person said of one candidate, kept with its features so that a correction can be fitted again.

    Attributes:
        start, end: the candidate, ns UTC.
        features: those that its calibrator reads, in their order.
    """

    point_id: str
    start: int
    end: int
    confirmed: bool
    features: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Proposer(ProposerBase):
    """What turns a detector's scores and the evidence into proposals; part of every registered version.

    Attributes:
        calibrator: probability per candidate.
        threshold: probability from which a candidate is proposed.
        gap: proposals at most this many points apart are one.
        margins: what proposals are longer than their candidates, at either end.
        verdicts: what the calibrator was corrected by; a stretch that people have rejected is not proposed again.
    """

    calibrator: Calibrator
    threshold: float
    gap: int = USUAL_GAP
    verdicts: tuple[Verdict, ...] = ()
    margins: Margins = USUAL

    @classmethod
    def from_artifact(cls, *, state: Mapping[str, Any]) -> Proposer:
        """The proposer that a registered version keeps as :func:`to_state` described it."""
        verdicts = tuple(Verdict(**{**v, "features": tuple(v["features"])}) for v in state["verdicts"])
        defaults = from_json(state["defaults"], state.get("features", FIRST_EDITION))
        calibrator = Calibrator(defaults, state.get("prior", 0.0))
        margins = Margins(*state.get("margins", (0, 0)))
        return cls(_refit(calibrator, verdicts), state["threshold"], state["gap"], verdicts, margins)

    @property
    def remembers(self) -> bool:
        """Whether it reads what people have called normal of a series."""
        return any(name in memory.NAMES for name in self.calibrator.defaults.names)

    def rate(self, look: Look) -> Rated:
        """Probability of each candidate of a series."""
        return Rated(look.candidates.runs, self.probability(look.features, [look.point_id] * len(look.candidates)))

    def probability(self, features: FloatArray, series: Sequence[str]) -> FloatArray:
        """[N, len(FEATURES)] and the names of N series -> [N] in 0..1."""
        return self.calibrator.probability(self.calibrator.defaults.own(features), series)

    def intervals(self, series: Series, look: Look) -> tuple[Interval, ...]:
        """Proposals in time order, disjoint; the score of each is its probability."""
        return self.chosen(series, self.rate(look))

    def chosen(self, series: Series, rated: Rated) -> tuple[Interval, ...]:
        """The same of candidates that are rated."""
        kept = ~self.rejected(series.point_id, series.timestamps, rated.runs)
        runs, probability = self.proposals(rated, len(series), kept)
        return as_intervals(series, runs, probability)

    def proposals(
        self, rated: Rated, total: int, allowed: BoolArray | None = None, threshold: float | None = None
    ) -> tuple[IntArray, FloatArray]:
        """The same as positions [M, 2] with their probabilities [M].

        Args:
            total: points of the series.
            allowed: [K] which candidates may be proposed, and none of the others entered; ``None`` = all.
            threshold: another one than its own.
        """
        left = np.ones(len(rated.runs), bool) if allowed is None else allowed
        level = self.threshold if threshold is None else threshold
        runs, probability = propose(Rated(rated.runs[left], rated.probability[left]), level, self.gap)
        return widened(runs, self.margins, total, rated.runs[~left]), probability

    def under(self, origin: Origin, language: Language = "en") -> CalibratedProposing:
        """What :meth:`Detector.detect` proposes by; language: of the notes."""
        return CalibratedProposing(self, origin, language)

    def rejected(self, point_id: str, timestamps: IntArray, runs: IntArray) -> BoolArray:
        """Which candidates lie, by more than half, where people have looked and said no. timestamps [T] ns UTC. [K]."""
        said = [v for v in self.verdicts if v.point_id == point_id and not v.confirmed]
        if not said or not len(runs):
            return np.zeros(len(runs), bool)
        bounds = np.array([(v.start, v.end) for v in said])
        low = np.searchsorted(timestamps, bounds[:, 0])
        high = np.searchsorted(timestamps, bounds[:, 1])
        mark = np.zeros(len(timestamps) + 1, np.int64)
        np.add.at(mark, low, 1)
        np.add.at(mark, high, -1)
        covered = np.r_[0, np.cumsum(np.cumsum(mark[:-1]) > 0)]
        inside = covered[runs[:, 1]] - covered[runs[:, 0]]
        return np.asarray(2 * inside > runs[:, 1] - runs[:, 0])


@dataclass(frozen=True, eq=False)
class CalibratedProposing:
    """The :class:`~tsad.core.protocols.Proposing` of a proposer: every candidate has a calibrated probability."""

    proposer: Proposer
    origin: Origin
    language: Language = "en"

    @property
    def threshold(self) -> float:
        return self.proposer.threshold

    def propose(self, detector: Examining, series: Sequence[Series]) -> Iterator[Detection]:
        """Scores (where there are any) and calibrated proposals of each series, one at a time."""
        for one, examined in zip(series, detector.examine(series), strict=True):
            yield self.detection(one, examined, look_at(one, examined), scored=detector.scored)

    def detection(self, one: Series, examined: Examined, look: Look, *, scored: bool) -> Detection:
        """The same of a series that was examined and looked at already."""
        rated = self.proposer.rate(look)
        proposed, candidates = self.proposer.chosen(one, rated), as_intervals(one, rated.runs, rated.probability)
        if examined.own is not None:
            proposed, candidates = (described(said, examined.own.intervals) for said in (proposed, candidates))
        else:
            proposed, candidates = (_with_kind(one, said, examined) for said in (proposed, candidates))
        if examined.opinions:
            proposed = with_reasons(one, proposed, examined, self.language)
            proposed, candidates = (
                with_votes(one, said, examined.opinions, self.language) for said in (proposed, candidates)
            )
        scores = examined.scores if scored else None
        opinions = tuple(Proposal(o.intervals, replace(self.origin, detector=o.name)) for o in examined.opinions)
        return Detection(
            one.point_id, scores, proposed, self.origin, self.threshold, candidates, examined.state, opinions
        )


def described(intervals: Sequence[Interval], own: Sequence[Interval]) -> tuple[Interval, ...]:
    """The intervals with label and note of the most confident of the detector's own candidates in each."""
    named = []
    for interval in intervals:
        inside = [c for c in own if c.overlaps(interval)]
        best = max(inside, key=lambda c: c.score, default=interval)
        named.append(replace(interval, label=best.label, note=best.note))
    return tuple(named)


def _with_kind(series: Series, intervals: Sequence[Interval], examined: Examined) -> tuple[Interval, ...]:
    """The intervals with a note of their likeliest kind, where the detector can tell; the label stays: annotators
    choose it from the template's.
    """
    runs = intervals_to_runs(intervals, series.timestamps)
    kinds = (examined.kind_of(int(a), int(b)) for a, b in runs)
    return tuple(
        replace(i, note=f"{kind[0]} ({kind[1]:.0%})") if kind else i for i, kind in zip(intervals, kinds, strict=True)
    )


def as_intervals(series: Series, runs: IntArray, probability: FloatArray) -> tuple[Interval, ...]:
    """Disjoint runs [K, 2] as intervals in time, each with its probability [K] as score."""
    found = runs_to_intervals(runs, series.timestamps)
    return tuple(replace(i, score=min(float(p), 1.0)) for i, p in zip(found, probability, strict=True))


def look_at(series: Series, examined: Examined) -> Look:
    """Candidates of a series and their features."""
    candidates = find_candidates(examined)
    return Look(series.point_id, candidates, features_of(examined, candidates, day_of(series)))


def default_proposer(detector: str) -> Proposer:
    """The proposer of a detector before any review; the weights ship with tsad (``defaults.json``).

    Raises:
        WeightsError: the file is missing or damaged.
    """
    own = _stated(detector)
    try:
        return Proposer(Calibrator(from_json(own)), own["threshold"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{DEFAULTS} cannot be read ({error!r})", "Reinstall tsad.") from error


def defaults_digest(detector: str) -> str:
    """What the default weights of a detector are, 16 hex digits; where they came from does not count.

    Raises:
        WeightsError: as :func:`default_proposer`.
    """
    own = {key: value for key, value in _stated(detector).items() if key != "provenance"}
    return digest_of_text(json.dumps(own, sort_keys=True))[:16]


def _stated(detector: str) -> dict[str, Any]:
    """The weights of a detector; ``committee:NAME`` = those of its first member, by which the others count nothing yet:
    whom to trust is for reviews to say.
    """
    committee_of, _, lead = detector.rpartition(":")
    try:
        stated = json.loads(DEFAULTS.read_text(encoding="utf-8"))
        own = dict(stated[lead] if lead in stated else stated[ANY])
        return {**own, "features": {**own["features"], **committee.UNWEIGHTED}} if committee_of else own
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{DEFAULTS} cannot be read ({error!r})", "Reinstall tsad.") from error


def default_detection(detector: Detector, series: Series) -> Detection:
    """What a detector proposes of a series before any review."""
    origin = Origin(detector.name, f"{detector.name}:base", None, detector.config_hash)
    return next(detector.detect([series], default_proposer(detector.rated_as).under(origin)))


@dataclass(frozen=True, eq=False)
class Judged:
    """A series, or an excerpt of one, in which people have reviewed windows.

    Attributes:
        look: its candidates.
        timestamps: [T] ns UTC.
        reviewed: [T] bool, points of reviewed windows.
        truth: [T] bool, points people call abnormal.
    """

    look: Look
    timestamps: IntArray
    reviewed: BoolArray
    truth: BoolArray


def corrected(proposer: Proposer, judged: Sequence[Judged]) -> Proposer:
    """The proposer corrected by all that people have said; its own earlier corrections do not count.

    A candidate is judged where its peak lies in a reviewed window, and confirmed where people call any of its points
    there abnormal. Threshold: from the candidates nobody has looked at (of all, where too few are left), drawn towards
    the one before any review by half of the calibrator's prior.
    """
    verdicts: list[Verdict] = []
    gaps: list[int] = []
    same: list[bool] = []
    for one in judged:
        _judge(one, proposer.calibrator.defaults.own(one.look.features), verdicts, gaps, same)
    fitted = replace(proposer, calibrator=_refit(proposer.calibrator, verdicts), verdicts=tuple(verdicts),
                     gap=learned_gap(np.array(gaps, np.int64), np.array(same, bool)))  # fmt: skip
    if not verdicts:
        return fitted
    fitted = replace(fitted, margins=learned_margins([_errors(one, fitted.gap) for one in judged], proposer.margins))
    unseen = []
    for one in judged:
        rated, free = fitted.rate(one.look), ~one.reviewed[one.look.candidates.peaks]
        unseen.append(Rated(rated.runs[free], rated.probability[free]))
    if sum(len(r.runs) for r in unseen) < ENOUGH:
        unseen = [fitted.rate(one.look) for one in judged]
    best, _ = best_threshold(unseen, fitted.gap)
    weight = trust(len(verdicts), proposer.calibrator.prior / 2)
    log_odds = mixed(logit(np.array([best])), logit(np.array([proposer.threshold])), weight)
    return replace(fitted, threshold=float(sigmoid(log_odds)[0]))


ENOUGH = 20  # candidates that a threshold can rest on


def _judge(one: Judged, features: FloatArray, verdicts: list[Verdict], gaps: list[int], same: list[bool]) -> None:
    """Add what people said of the candidates of a series, and of neighbouring confirmed ones whether they are one.

    features: [K, F], those that the calibrator reads.
    """
    last = -1
    for k in np.flatnonzero(one.reviewed[one.look.candidates.peaks]):
        start, stop = (int(v) for v in one.look.candidates.runs[k])
        seen = np.flatnonzero(one.reviewed[start:stop]) + start
        confirmed = bool(one.truth[seen].any())
        ends = one.timestamps[stop] if stop < len(one.timestamps) else one.timestamps[-1] + 1
        verdicts.append(
            Verdict(one.look.point_id, int(one.timestamps[start]), int(ends), confirmed, _rounded(features[k]))
        )
        if not confirmed:
            continue
        if last >= 0 and one.reviewed[last:start].all():
            gaps.append(int(start - last))
            same.append(bool(one.truth[max(last - 1, 0) : start + 1].all()))
        last = stop


def _errors(one: Judged, gap: int) -> IntArray:
    """Start and end of confirmed candidates, near ones joined, less those that people drew. [M, 2]."""
    candidates = one.look.candidates
    seen = one.reviewed[candidates.peaks] & touches(candidates.runs, one.truth & one.reviewed)
    runs, _ = join(candidates.runs[seen], np.ones(int(seen.sum())), gap)
    return best_pairs(runs, drawn_inside(one.truth, one.reviewed)).errors


def _refit(calibrator: Calibrator, verdicts: Sequence[Verdict]) -> Calibrator:
    """The calibrator corrected by these verdicts alone."""
    features = np.array([v.features for v in verdicts]).reshape(len(verdicts), len(calibrator.defaults.names))
    answers = np.array([v.confirmed for v in verdicts], bool)
    return calibrator.fit(features, [v.point_id for v in verdicts], answers)


def _rounded(features: FloatArray) -> tuple[float, ...]:
    """Four decimals: what a saved verdict holds is what the calibrator was fitted to."""
    return tuple(float(f) for f in np.round(features, 4))


def to_state(proposer: Proposer) -> dict[str, Any]:
    """JSON-able: threshold, gap and verdicts; the correction is fitted again from them when it is loaded."""
    defaults = proposer.calibrator.defaults
    return {
        "defaults": to_json(defaults), "features": list(defaults.names), "prior": proposer.calibrator.prior,
        "threshold": proposer.threshold, "gap": proposer.gap, "margins": list(proposer.margins),
        "verdicts": [asdict(v) for v in proposer.verdicts],
    }  # fmt: skip
