"""What reviews tell of detectors and of those who review: what became of proposals, and how long an answer takes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tsad.agreement.latest import by_people, latest
from tsad.agreement.measures import Judgements
from tsad.core.results import Result
from tsad.core.reviews import ReviewedWindow
from tsad.core.types import Interval
from tsad.metrics.calibration import wilson
from tsad.review.positions import intervals_to_labelled_runs, labelled_runs_to_intervals

SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True, eq=False)
class Acceptance(Result):
    """What became of the intervals of one kind that one detector version proposed, in windows that have a truth.

    Attributes:
        accepted: the truth covers the very points. corrected: it overlaps them otherwise. rejected: it does not.
        share, low, high: of the accepted, with its 95% interval (Wilson), intervals taken as independent.
    """

    version: str
    kind: str
    proposed: int
    accepted: int
    corrected: int
    rejected: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class PersonFigures(Result):
    """What one person answered: windows judged, and those left as "cannot tell"; minutes per window (median, NaN where
    nobody measured)."""

    person: str
    judged: int
    skipped: int
    minutes: float


def acceptance_of(reviewed: Iterable[ReviewedWindow]) -> tuple[Acceptance, ...]:
    """By version and kind, in their order.

    What further detectors propose counts for them alike. Gold windows, which people see without proposals, do not.
    """
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for window in reviewed:
        if not window.usable:
            continue
        truth = [_points(window, i) for i in window.intervals]
        for proposal in window.choice.proposals:
            for interval in proposal.intervals:
                own = _points(window, interval)
                if own:
                    fate = 0 if own in truth else 1 if any(own & true for true in truth) else 2
                    counts[proposal.origin.model_version, interval.label][fate] += 1
    rows = []
    for (version, kind), fates in sorted(counts.items()):
        (accepted, corrected, rejected), total = fates, sum(fates)
        share = accepted / total
        low, high = wilson(share, total)
        rows.append(Acceptance(version, kind, total, accepted, corrected, rejected, share, low, high))
    return tuple(rows)


def people_of(reviewed: Sequence[ReviewedWindow]) -> tuple[PersonFigures, ...]:
    """What each person answered, by id; batch actions do not count."""
    answers = [a for window in reviewed for a in latest(window.annotations) if not a.batch]
    rows = []
    for person in sorted({a.annotator for a in answers}):
        own = [a for a in answers if a.annotator == person]
        skipped = sum(a.skipped for a in own)
        rows.append(PersonFigures(person, len(own) - skipped, skipped, minutes_of(a.seconds for a in own)))
    return tuple(rows)


def minutes_of(seconds: Iterable[float]) -> float:
    """Median of times that were measured, in minutes; NaN without any."""
    measured = [s for s in seconds if s > 0]
    return median(measured) / SECONDS_PER_MINUTE if measured else math.nan


def judgements_of(reviewed: Iterable[ReviewedWindow]) -> Judgements:
    """What each person marks in each window, snapped to its points, as measures of agreement take it."""
    said: dict[str, dict[str, tuple[Interval, ...]]] = {}
    for window in reviewed:
        for answer in by_people(window.annotations):
            runs = intervals_to_labelled_runs(window.window, answer.intervals)
            marks = labelled_runs_to_intervals(window.window, runs)
            said.setdefault(window.window.window_id, {})[answer.annotator] = marks
    return said


def _points(reviewed: ReviewedWindow, interval: Interval) -> frozenset[int]:
    """Positions of the window that an interval covers."""
    runs = intervals_to_labelled_runs(reviewed.window, [interval])
    return frozenset(k for a, b, _ in runs for k in range(a, b))
