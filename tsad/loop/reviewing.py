"""How reviews stand: progress, what becomes of proposals, minutes per window, agreement of people, audits."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tsad.agreement.measures import Agreement, agreement_of
from tsad.core.results import Result
from tsad.core.reviews import Purpose, ReviewedWindow
from tsad.core.times import format_time
from tsad.loop.progress import ReviewProgress, progress_of
from tsad.loop.review_batch import AuditFigures, BatchDone, audits_of
from tsad.loop.reviews import Reviews
from tsad.review.batch import WindowFilter, kinds_of
from tsad.review.figures import Acceptance, PersonFigures, acceptance_of, judgements_of, minutes_of, people_of


@dataclass(frozen=True, eq=False)
class WindowStanding(Result):
    """One window of a queue.

    Attributes:
        start: ISO 8601, UTC, or an index. confidence: as people see it. version: of the champion that proposed.
        strategy: why it was chosen. people: who judged it, by id. kinds: that proposal or truth name.
        batch: the action that answered it, in words; "" = none did.
        problem: why an answer cannot be read; else "".
    """

    window: str
    point_id: str
    start: str
    iteration: int
    state: str
    confidence: float
    version: str
    strategy: str
    people: tuple[str, ...]
    kinds: tuple[str, ...]
    batch: str = ""
    problem: str = ""


@dataclass(frozen=True, eq=False)
class ReviewStanding(Result):
    """How the reviews of a loop stand; figures are of all its queues, a window that was drawn twice counts once.

    Attributes:
        iteration: the newest with a queue. url: where people review it; "" = nowhere.
        progress: of that queue; ``None`` once its dataset version is made.
        minutes: per window (median); NaN where nobody measured.
        windows: those that pass the filter.
        batch: what the action of this call did; ``None`` = it was a look.
    """

    loop: str
    iteration: int
    url: str
    progress: ReviewProgress | None
    acceptance: tuple[Acceptance, ...]
    people: tuple[PersonFigures, ...]
    minutes: float
    agreement: Agreement
    audits: tuple[AuditFigures, ...]
    windows: tuple[WindowStanding, ...]
    batch: BatchDone | None = None


def standing_of(reviews: Reviews, shown: WindowFilter, batch: BatchDone | None = None) -> ReviewStanding:
    """The figures of all reviews, and the windows that pass the filter."""
    reviewed = reviews.reviewed
    answers = [a for r in reviewed for a in r.annotations if not a.batch]
    return ReviewStanding(
        loop=reviews.loop.name, iteration=reviews.iteration.number,
        url=reviews.reviewer.project_url, progress=None if reviews.collected else progress_of(reviews.current),
        acceptance=acceptance_of(reviewed), people=people_of(reviewed),
        minutes=minutes_of(a.seconds for a in answers), agreement=agreement_of(judgements_of(reviewed)),
        audits=audits_of(reviews.loop, reviewed, reviews.own.review.agreement_iou),
        windows=windows_of(reviews, shown), batch=batch,
    )  # fmt: skip


def windows_of(reviews: Reviews, shown: WindowFilter) -> tuple[WindowStanding, ...]:
    """The windows of all queues that pass the filter."""
    return tuple(
        window_standing(r, reviews.numbers[r.window.window_id]) for r in reviews.reviewed if shown.passes(r)
    )


def window_standing(reviewed: ReviewedWindow, iteration: int) -> WindowStanding:
    """How a window stands; ``iteration``: whose queue it was last in."""
    choice, window = reviewed.choice, reviewed.window
    blind = choice.purpose is Purpose.GOLD  # what the model thinks of it, its stratum too, nobody is told
    people = sorted({a.annotator for a in reviewed.annotations if not a.batch and not a.skipped})
    return WindowStanding(
        window=window.window_id, point_id=window.point_id,
        start=format_time(window.span[0], window.series.time_kind), iteration=iteration, state=reviewed.state.value,
        confidence=math.nan if blind else choice.confidence,
        version=choice.origin.model_version if choice.origin and not blind else "",
        strategy="gold" if blind else choice.strategy, people=tuple(people), kinds=kinds_of(reviewed),
        batch=next((a.batch for a in reviewed.annotations if a.batch), ""), problem=reviewed.problem,
    )  # fmt: skip
