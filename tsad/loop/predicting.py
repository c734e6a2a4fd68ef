"""What a version says of a series that somebody hands in, as an answer of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tsad.core.errors import TimeUpError
from tsad.core.results import Result
from tsad.core.series import Series
from tsad.core.times import format_time
from tsad.core.types import Detection, Origin
from tsad.loop.alarm import Explained, explained_intervals

if TYPE_CHECKING:
    from tsad.tracking.pyfunc_model import LoadedVersion


@dataclass(frozen=True, eq=False)
class PredictedBy(Result):
    """Who said it; see :class:`~tsad.core.types.Origin`."""

    detector: str
    model_version: str
    dataset_version: str | None
    config_hash: str

    @classmethod
    def of(cls, origin: Origin) -> PredictedBy:
        """The same as a result."""
        return cls(**asdict(origin))


@dataclass(frozen=True, eq=False)
class PredictedInterval(Result):
    """A stretch that is proposed as abnormal.

    Attributes:
        start, end: half-open, ISO 8601 in UTC, or the index.
        score: confidence in 0..1. note: why, in words.
    """

    start: str
    end: str
    score: float
    label: str
    note: str


@dataclass(frozen=True, eq=False)
class Predicted(Result):
    """What one version says of one series.

    Attributes:
        loop: whose version it is.
        points: of the series as it was scored. start, end: its first and last time.
        threshold: score, or probability of a candidate, from which something is proposed.
        seconds: that the model took.
        notes: what the door has mended, e.g. ``{"duplicates_dropped": 3}``.
        scores: [T] in 0..1 where they were asked for and the detector gives any.
        explanations: of each interval, where they were asked for.
    """

    loop: str
    point_id: str
    model_version: str
    origin: PredictedBy
    points: int
    start: str
    end: str
    threshold: float
    intervals: tuple[PredictedInterval, ...]
    seconds: float
    notes: Mapping[str, int | float | str] = field(default_factory=dict)
    scores: tuple[float, ...] | None = None
    explanations: tuple[Explained, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """See :class:`~tsad.core.results.Result`; scores are many, and plain already."""
        plain = Predicted(**{**vars(self), "scores": None})
        return {**Result.to_json(plain), "scores": None if self.scores is None else list(self.scores)}


@dataclass(frozen=True, kw_only=True)
class AnswerParts:
    """What an answer holds beside the intervals: scores, explanations, and in which language those are."""

    scores: bool = False
    explain: bool = False
    language: Literal["en", "zh"] = "en"


def predict_series(loaded: LoadedVersion, loop: str, series: Series, wanted: AnswerParts) -> Predicted:
    """What a version says of a series.

    Raises:
        DetectorError: it cannot score the series.
        UnexplainedError: explanations were asked of a version that has none.
    """
    begun = time.monotonic()
    (detection,) = loaded.detections([series])
    explanations = None
    if wanted.explain:
        explanations = explained_intervals(loaded, series, detection.intervals, wanted.language)
    scores = detection.scores if wanted.scores else None
    return Predicted(
        loop=loop, point_id=series.point_id, model_version=detection.origin.model_version,
        origin=PredictedBy.of(detection.origin), points=len(series),
        start=format_time(int(series.timestamps[0]), series.time_kind),
        end=format_time(int(series.timestamps[-1]), series.time_kind), threshold=detection.threshold,
        intervals=proposed_intervals(detection, series), seconds=time.monotonic() - begun, notes=series.notes,
        scores=None if scores is None else tuple(scores.tolist()), explanations=explanations,
    )  # fmt: skip


def proposed_intervals(detection: Detection, series: Series) -> tuple[PredictedInterval, ...]:
    """The proposed intervals of a detection, as an answer has them."""
    kind = series.time_kind
    return tuple(
        PredictedInterval(format_time(i.start, kind), format_time(i.end, kind), i.score, i.label, i.note)
        for i in detection.intervals
    )


def require_time(until: float) -> None:
    """Refuse work that nobody waits for any more.

    Args:
        until: ``time.monotonic()`` from which on nobody does.

    Raises:
        TimeUpError: it is past.
    """
    if time.monotonic() > until:
        raise TimeUpError("the time for an answer is up", "Ask for less at a time.")
