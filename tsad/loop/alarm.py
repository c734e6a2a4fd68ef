"""Why an interval was proposed, or why it was not: evidence, votes and what people said of others like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tsad.config.workbench import Workbench
from tsad.core.errors import LoopError, UnexplainedError
from tsad.core.intervals import intervals_to_runs
from tsad.core.results import Result
from tsad.core.series import Series, Window
from tsad.core.times import format_time, parse_moment
from tsad.core.types import Interval
from tsad.loop.champion import load_named
from tsad.loop.common import read_series
from tsad.loop.continuing import as_its_loop_has_it
from tsad.loop.opening import open_loop
from tsad.loop.units import WINDOW_ID, review_units, unit_called

if TYPE_CHECKING:
    from tsad.detectors.evidence.examined import Examined
    from tsad.detectors.proposals.proposer import Look, Proposer
    from tsad.detectors.proposals.reasons import Language
    from tsad.tracking.pyfunc_model import LoadedVersion
    from tsad.tracking.runs import LoopStore

ALIKE = 3  # reviewed candidates that are told of


@dataclass(frozen=True, eq=False)
class Vote(Result):
    """What a member of a committee says; ``probability`` is ``None`` where it was not asked.

    Attributes:
        intervals: that it would propose by itself, in the whole series.
        reason: of a language model: why, in its own words and the language of its prompt; "" where it gave none.
    """

    member: str
    probability: float | None
    intervals: int
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Alike(Result):
    """A candidate that people have judged, and how far it is: root mean square of standardised features."""

    point_id: str
    start: str
    end: str
    confirmed: bool
    distance: float


@dataclass(frozen=True, eq=False)
class Explained(Result):
    """One stretch that the version considers.

    Attributes:
        start, end: ISO 8601 in UTC, half-open, or the index.
        probability: that people confirm it. threshold: from which one is proposed.
        proposed: whether it is.
        kind: its label and note as proposed.
        reasons: sentences on the evidence, the strongest first.
        votes: of a committee's members. alike: reviewed candidates most like it.
    """

    start: str
    end: str
    probability: float
    threshold: float
    proposed: bool
    label: str
    note: str
    reasons: tuple[str, ...]
    votes: tuple[Vote, ...] = ()
    alike: tuple[Alike, ...] = ()


@dataclass(frozen=True, eq=False)
class Explanation(Result):
    """Why a version proposes what it does of an interval or a window.

    Attributes:
        of: as asked for. reviews: candidates that its calibrator has learned from.
        stretches: proposed ones first; of a window without any its likeliest candidate.
        weights: of a committee: what each feature of its members counts, per standard deviation of it.
    """

    of: str
    point_id: str
    model_version: str
    reviews: int
    stretches: tuple[Explained, ...]
    weights: Mapping[str, float]


def explain_alarm(bench: Workbench, of: str, version: str, language: Language) -> Explanation:
    """Explain an interval (``POINT@TIME``: any instant inside it) or a window (its id; the first digits will do).

    Raises:
        LoopError: ``of`` names neither; or nothing is proposed or considered there any more.
        RegistryError: no such version.
        UnexplainedError: it is a version without calibrated proposals.
        SourceError: its series cannot be read.
    """
    bench = as_its_loop_has_it(bench)
    loop = open_loop(bench)
    loaded = load_named(bench, loop, version, "Run tsad iterate first.")
    proposer = _proposer_of(loaded)
    asked = place_asked(bench, loop, of)
    return _explained(of, asked.series, (asked.start, asked.stop), loaded, proposer, language)


def explained_intervals(
    loaded: LoadedVersion, series: Series, intervals: Sequence[Interval], language: Language
) -> tuple[Explained, ...]:
    """Why a version proposes each of these intervals of a series, in their order.

    Raises:
        UnexplainedError: it is a version without calibrated proposals.
    """
    from tsad.detectors.proposals.proposer import look_at

    proposer = _proposer_of(loaded)
    if not intervals:
        return ()
    examined = next(iter(loaded.detector.examine([series])))
    teller = _Teller(series, examined, look_at(series, examined), proposer, language)
    return tuple(teller.explained(interval, True) for interval in intervals)


def _proposer_of(loaded: LoadedVersion) -> Proposer:
    proposer: Any = loaded.proposer
    if proposer is None:
        raise UnexplainedError(
            f"{loaded.origin.model_version} proposes points above a threshold: there is no evidence to explain",
            "Take threshold=calibrated in a new loop.",
        )
    return cast("Proposer", proposer)


def is_window_id(of: str) -> bool:
    """Whether ``of`` means a window, by its id or the first digits of it."""
    return WINDOW_ID.fullmatch(of) is not None


def place_asked(bench: Workbench, loop: LoopStore, of: str) -> Window:
    """What is asked about: a window by its id, one point by ``POINT@TIME``.

    Raises:
        LoopError: ``of`` names neither.
    """
    if is_window_id(of):
        return unit_called(review_units(bench, loop, read_series(bench).series), of)
    point, at, moment = of.rpartition("@")
    if not at:
        raise LoopError(
            f"of={of} is neither a window's id nor POINT@TIME", "E.g. of='U1.TI1001.PV@2026-01-01T08:00:00Z'."
        )
    (series,) = read_series(bench, [point]).series
    instant = parse_moment(moment, "of", series.time_kind)
    place = int(np.searchsorted(series.timestamps, instant, side="right")) - 1
    if not place >= 0 or instant >= int(series.timestamps[-1]) + series.step:
        first, last = (format_time(int(series.timestamps[k]), series.time_kind) for k in (0, -1))
        raise LoopError(f"{moment} lies outside {point}, which reaches from {first} to {last}", "Give a time inside.")
    return Window(series, place, place + 1)


def _explained(
    of: str, series: Series, asked: tuple[int, int], loaded: LoadedVersion, proposer: Proposer, language: Language
) -> Explanation:
    from tsad.detectors.proposals.features.committee import NAMES, TOGETHER
    from tsad.detectors.proposals.proposer import look_at

    examined = next(iter(loaded.detector.examine([series])))
    look = look_at(series, examined)
    proposing = proposer.under(loaded.origin, language)
    detection = proposing.detection(series, examined, look, scored=loaded.detector.scored)
    proposed = those_touching(detection.intervals, series, asked)
    stretches = [(interval, True) for interval in proposed]
    if not proposed:
        candidates = those_touching(detection.candidates or (), series, asked)
        stretches = [(max(candidates, key=lambda c: c.score), False)] if candidates else []
    if not stretches:
        raise LoopError(
            f"{loaded.origin.model_version} proposes nothing at {of}, and nothing there is even a candidate"
            + _nearest(detection.intervals, series, asked),
            "It may have been proposed by another version: version=NUMBER; tsad report lists them.",
        )
    teller = _Teller(series, examined, look, proposer, language)
    told = tuple(teller.explained(interval, is_proposed) for interval, is_proposed in stretches)
    names = proposer.calibrator.defaults.names
    weights = dict(zip(names, proposer.calibrator.slopes().tolist(), strict=True)) if examined.opinions else {}
    return Explanation(
        of, series.point_id, loaded.origin.model_version, len(proposer.verdicts), told,
        {name: weights[name] for name in NAMES[: len(TOGETHER) + 2 * len(examined.opinions) - 2] if name in weights},
    )


@dataclass(frozen=True, eq=False)
class _Teller:
    """What one series' stretches are explained from."""

    series: Series
    examined: Examined
    look: Look
    proposer: Proposer
    language: Language

    def explained(self, interval: Interval, proposed: bool) -> Explained:
        from tsad.detectors.proposals.reasons import reasons_of

        start, stop = (int(v) for v in intervals_to_runs([interval], self.series.timestamps)[0])
        kind, reasons = self.series.time_kind, reasons_of(self.series, self.examined, (start, stop), self.language)
        note = "; ".join(part for part in interval.note.split("; ") if part not in reasons)  # a committee's has one too
        return Explained(
            start=format_time(interval.start, kind), end=format_time(interval.end, kind), probability=interval.score,
            threshold=self.proposer.threshold, proposed=proposed, label=interval.label, note=note, reasons=reasons,
            votes=self._votes(interval, start, stop), alike=self._alike(start, stop),
        )  # fmt: skip

    def _votes(self, interval: Interval, start: int, stop: int) -> tuple[Vote, ...]:
        return tuple(
            Vote(o.name, o.vote(start, stop), len(o.intervals), o.reason(interval.start, interval.end))
            for o in self.examined.opinions
        )

    def _alike(self, start: int, stop: int) -> tuple[Alike, ...]:
        """Of the candidates that people have judged those most like the likeliest one inside."""
        inside = np.flatnonzero((self.look.candidates.runs[:, 0] < stop) & (self.look.candidates.runs[:, 1] > start))
        verdicts = self.proposer.verdicts
        if not len(inside) or not verdicts:
            return ()
        rated = self.proposer.rate(self.look).probability[inside]
        defaults = self.proposer.calibrator.defaults
        own = defaults.standardise(defaults.own(self.look.features[inside[[int(rated.argmax())]]]))
        known = defaults.standardise(np.array([v.features for v in verdicts]))
        distance = np.sqrt(((known - own) ** 2).mean(axis=1))
        kind = self.series.time_kind
        return tuple(
            Alike(
                verdicts[k].point_id, format_time(verdicts[k].start, kind), format_time(verdicts[k].end, kind),
                verdicts[k].confirmed, float(distance[k]),
            )
            for k in np.argsort(distance, kind="stable")[:ALIKE]
        )  # fmt: skip


def those_touching(intervals: Sequence[Interval], series: Series, asked: tuple[int, int]) -> list[Interval]:
    """Those that cover a point of the positions asked about."""
    runs = [(i, intervals_to_runs([i], series.timestamps)) for i in intervals]
    return [i for i, run in runs if len(run) and run[0, 0] < asked[1] and asked[0] < run[0, 1]]


def _nearest(intervals: Sequence[Interval], series: Series, asked: tuple[int, int]) -> str:
    """What it proposes nearest to there, in words; "" for nothing."""
    if not intervals:
        return ""
    at = int(series.timestamps[asked[0]])
    near = min(intervals, key=lambda i: min(abs(i.start - at), abs(i.end - at)))
    return f"; its nearest proposal begins {format_time(near.start, series.time_kind)}"
