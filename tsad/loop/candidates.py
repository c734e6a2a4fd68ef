"""What detector versions propose for the windows of a queue, and all that is known of one window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tsad.core.errors import UnknownNameError
from tsad.core.results import Result
from tsad.core.reviews import Annotation, Choice, Purpose, ReviewedWindow, ReviewState
from tsad.core.times import format_time
from tsad.core.types import Interval, TimeKind
from tsad.loop.reviewing import WindowStanding, window_standing
from tsad.loop.reviews import Reviews
from tsad.review.batch import WindowFilter
from tsad.review.label_studio.pictures import THUMB_CHANNELS, overview_picture, thumbnail
from tsad.review.label_studio.view import view_of

if TYPE_CHECKING:
    from tsad.config.workbench import Workbench


@dataclass(frozen=True, eq=False)
class IntervalSaid(Result):
    """An interval: ISO 8601 in UTC, half-open, or the index."""

    start: str
    end: str
    label: str
    score: float
    note: str = ""

    @classmethod
    def of(cls, item: Interval, kind: TimeKind) -> Self:
        """The interval in words."""
        return cls(format_time(item.start, kind), format_time(item.end, kind), item.label, item.score, item.note)


@dataclass(frozen=True, eq=False)
class CandidateTold(Result):
    """An interval that a detector version proposes for a window of a queue.

    Attributes:
        start, end, label, score, note: of the interval; ISO 8601 in UTC, half-open, or the index.
        shown: whether people see it first: the champion's. state: of its window.
    """

    window: str
    point_id: str
    start: str
    end: str
    label: str
    score: float
    note: str
    detector: str
    version: str
    shown: bool
    state: str
    iteration: int


@dataclass(frozen=True, eq=False)
class AnswerSaid(Result):
    """What one person, or a batch action, said of a window.

    Attributes:
        annotator: an id. at: ISO 8601 in UTC; "" = not known. seconds: spent on it; 0 = not known.
    """

    annotator: str
    at: str
    skipped: bool
    verdict: str
    note: str
    seconds: float
    batch: str
    intervals: tuple[IntervalSaid, ...]


@dataclass(frozen=True, eq=False)
class WindowTold(Result):
    """All that is known of a window of a queue.

    Attributes:
        end: half-open. purpose: ``train`` or ``gold``. probability: of its choice.
        intervals: the truth that follows from the answers; counts only where the state is usable.
    """

    standing: WindowStanding
    end: str
    points: int
    purpose: str
    probability: float
    usable: bool
    candidates: tuple[CandidateTold, ...]
    answers: tuple[AnswerSaid, ...]
    intervals: tuple[IntervalSaid, ...]


def candidates_of(
    reviews: Reviews, among: WindowFilter, least: float | None, most: float | None
) -> list[CandidateTold]:
    """What is proposed for the windows that pass, with a score in ``[least, most)``, in the queues' order.

    Of ``among``, detector and version are those of each candidate, not the champion's alone.
    """
    detector, version = among.detector, among.version
    wide = WindowFilter(**{**vars(among), "detector": None, "version": None})
    return [
        candidate for r in reviews.reviewed if wide.passes(r)
        for candidate in _candidates(r, reviews.numbers[r.window.window_id])
        if (least is None or candidate.score >= least) and (most is None or candidate.score < most)
        and detector in (None, candidate.detector)
        and version in (None, candidate.version, candidate.version.rpartition(":")[2])
    ]  # fmt: skip


def window_told(reviews: Reviews, window: str) -> WindowTold:
    """All that is known of the window of that id.

    Raises:
        UnknownNameError: no such window was ever queued.
    """
    reviewed = next((r for r in reviews.reviewed if r.window.window_id == window), None)
    if reviewed is None:
        raise no_window(reviews.loop.name, window)
    kind, number = reviewed.window.series.time_kind, reviews.numbers[window]
    # Who still has to judge a blind window is not told what others have said of it.
    told = reviewed.choice.purpose is not Purpose.GOLD or reviewed.state is not ReviewState.PENDING
    answers, truth = (reviewed.annotations, reviewed.intervals) if told else ((), ())
    return WindowTold(
        window_standing(reviewed, number), format_time(reviewed.window.span[1], kind), len(reviewed.window),
        reviewed.choice.purpose.value, reviewed.choice.probability, reviewed.usable,
        tuple(_candidates(reviewed, number)), tuple(_answer(a, kind) for a in answers),
        tuple(IntervalSaid.of(i, kind) for i in truth),
    )  # fmt: skip


def no_window(loop: str, window: str) -> UnknownNameError:
    """The error of a window that was never queued."""
    return UnknownNameError(f"no window {window} was ever queued in loop {loop}", "`tsad review` lists the ids.")


def small_picture(choice: Choice) -> str:
    """The window as SVG with what is proposed for it; of a blind one nothing is."""
    return thumbnail(choice, view_of(choice.window, THUMB_CHANNELS))


def large_picture(bench: Workbench, choice: Choice) -> str:
    """The whole series as SVG with the window marked, as people see it in Label Studio."""
    options = bench.label_studio()
    return overview_picture(choice, view_of(choice.window, options.max_channels), options)


def _candidates(reviewed: ReviewedWindow, number: int) -> Sequence[CandidateTold]:
    window = reviewed.window
    kind = window.series.time_kind
    return [
        CandidateTold(
            window.window_id, window.point_id, format_time(item.start, kind), format_time(item.end, kind), item.label,
            item.score, item.note, proposal.origin.detector, proposal.origin.model_version, at == 0,
            reviewed.state.value, number,
        )
        for at, proposal in enumerate(reviewed.choice.proposals) for item in proposal.intervals
    ]  # fmt: skip


def _answer(answer: Annotation, kind: TimeKind) -> AnswerSaid:
    return AnswerSaid(
        answer.annotator, format_time(answer.submitted_at) if answer.submitted_at else "", answer.skipped,
        answer.verdict, answer.note, answer.seconds, answer.batch,
        tuple(IntervalSaid.of(i, kind) for i in answer.intervals),
    )  # fmt: skip
