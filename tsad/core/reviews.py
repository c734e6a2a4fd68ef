"""What people are asked and what they said: choices, annotations, reviewed windows, dataset versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tsad.core.intervals import merge
from tsad.core.overview import SeriesOverview
from tsad.core.series import Window
from tsad.core.types import Interval, Origin, Proposal


class ReviewState(StrEnum):
    """How a window stands with the people who review it."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"  # equals the proposal
    CORRECTED = "CORRECTED"  # differs from it
    ANNOTATED = "ANNOTATED"  # judged without having been shown a proposal, as gold windows are
    SKIPPED = "SKIPPED"  # nobody who opened it wanted to judge
    CONFLICT = "CONFLICT"  # people disagree

    @property
    def waits(self) -> bool:
        """Whether people have to look at the window still: nobody has answered, or they disagree."""
        return self in (ReviewState.PENDING, ReviewState.CONFLICT)

    @classmethod
    def _missing_(cls, value: object) -> ReviewState | None:
        """What stores of before call a skipped window."""
        return cls.SKIPPED if value == "REJECTED" else None


class Purpose(StrEnum):
    """What a window is reviewed for; never both (DESIGN.md 5, rule 2)."""

    TRAIN = "train"
    GOLD = "gold"


@dataclass(frozen=True)
class Annotation:
    """What one person (or the simulated reviewer, or a label column) submitted for a window.

    Attributes:
        annotator: an id, never an address.
        intervals: what they call abnormal; empty = nothing.
        submitted_at: ns UTC, 0 where unknown.
        skipped: the person refused to judge.
        annotation_id: id at the owner of the annotation, e.g. Label Studio's.
        verdict: what they chose beside the intervals: ``as proposed``, ``corrected``, ``cannot tell``; "" = nothing.
        note: why, in their words.
        seconds: that they spent on it; 0 where unknown.
        batch: the batch action that made it, who ran it and when, in words; "" = a person judged this very window.
    """

    annotator: str
    intervals: tuple[Interval, ...]
    submitted_at: int = 0
    skipped: bool = False
    annotation_id: str = ""
    verdict: str = ""
    note: str = ""
    seconds: float = 0.0
    batch: str = ""


@dataclass(frozen=True)
class Labelling:
    """What people said of a whole series at its source: ns UTC, half-open.

    Attributes:
        intervals: abnormal stretches; empty = somebody says that nothing is.
        disputed: stretches that annotators disagree about.
    """

    intervals: tuple[Interval, ...]
    disputed: tuple[Interval, ...] = ()


@dataclass(frozen=True, eq=False)
class Choice:
    """A window chosen for review, with the probability of that choice.

    Attributes:
        probability: inclusion probability in (0, 1].
        strategy: sampler that chose it, e.g. ``top_score``, ``random``, ``gold``.
        proposals: what detector versions propose for it, the champion's first; none for gold windows, which are shown
            without.
        score: what the queue is ordered by, 0..1.
        iteration: whose queue it is in; 0 = none.
        overview: the whole series in little, for people; ``None`` where it is not at hand. No digest holds it.
    """

    window: Window
    probability: float
    strategy: str
    purpose: Purpose = Purpose.TRAIN
    proposals: tuple[Proposal, ...] = ()
    score: float = 0.0
    iteration: int = 0
    overview: SeriesOverview | None = None

    @property
    def proposal(self) -> tuple[Interval, ...] | None:
        """The champion's intervals, which are shown and which count for ``ACCEPTED``; ``None`` where shown without."""
        return self.proposals[0].intervals if self.proposals else None

    @property
    def confidence(self) -> float:
        """How sure the champion is of the window: its surest interval; without intervals what the queue goes by."""
        return max((i.score for i in self.proposal or ()), default=self.score)

    @property
    def origin(self) -> Origin | None:
        """The champion version that proposed them."""
        return self.proposals[0].origin if self.proposals else None


@dataclass(frozen=True, eq=False)
class ReviewedWindow:
    """A window with what people said of it.

    Attributes:
        intervals: the truth that follows from the annotations; empty where nothing is abnormal.
            Only ``ACCEPTED``, ``CORRECTED`` and ``ANNOTATED`` windows train or score.
        problem: why an answer cannot be read and what to do, in words; such an answer counts as none.
    """

    choice: Choice
    annotations: tuple[Annotation, ...]
    state: ReviewState
    intervals: tuple[Interval, ...] = ()
    problem: str = ""

    @property
    def window(self) -> Window:
        return self.choice.window

    @property
    def usable(self) -> bool:
        """Whether it may train or score: somebody judged it and nobody disagrees."""
        return self.state in (ReviewState.ACCEPTED, ReviewState.CORRECTED, ReviewState.ANNOTATED)


def true_intervals(windows: Iterable[ReviewedWindow]) -> int:
    """How many intervals people called abnormal; one that the border of two windows cuts counts once."""
    return sum(len(own) for own in joined_intervals((w.window.point_id, w.intervals) for w in windows).values())


def joined_intervals(labelled: Iterable[tuple[str, Iterable[Interval]]]) -> dict[str, tuple[Interval, ...]]:
    """Intervals by point, those that touch joined, from pairs of a window's point and its intervals."""
    points: dict[str, list[Interval]] = {}
    for point_id, intervals in labelled:
        points.setdefault(point_id, []).extend(intervals)
    return {point_id: merge(intervals) for point_id, intervals in points.items()}


@dataclass(frozen=True, eq=False)
class DatasetVersion:
    """An immutable set of reviewed windows with their values, named by the hash of its content.

    Attributes:
        digest: 16 hex digits of the SHA-256 over windows, values and intervals.
        windows: usable reviewed windows, sorted by point and start.
        purpose: training set or gold set.
        meta: anything that explains it (parent version, loop, iteration); not part of the hash.
    """

    digest: str
    windows: tuple[ReviewedWindow, ...]
    purpose: Purpose
    meta: Mapping[str, Any] = field(default_factory=dict)
