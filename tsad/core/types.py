"""The types that pass between rooms. Times are int64 nanoseconds since 1970-01-01 UTC throughout."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TimeKind = Literal["time", "index"]
NS_PER_SECOND = 1_000_000_000
ANOMALY = "Anomaly"  # the label of an interval whose kind nobody named


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A half-open stretch ``[start, end)`` of time that somebody calls abnormal.

    Attributes:
        start: first abnormal instant, ns since 1970-01-01 UTC.
        end: first normal instant after it, ns; always greater than ``start``.
        label: the kind, as annotators name it.
        score: confidence in 0..1; 1.0 for what a person or a label column says.

    Raises:
        ValueError: ``end <= start`` or a score outside 0..1.
    """

    start: int
    end: int
    label: str = ANOMALY
    score: float = 1.0

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"interval end {self.end} is not after its start {self.start}")
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"interval score {self.score} is outside 0..1")

    def overlaps(self, other: Interval) -> bool:
        """Whether the two share at least one instant."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, eq=False)
class Series:
    """One measured point (or machine with several channels) over time, already validated.

    Attributes:
        point_id: key of the series at its source, e.g. ``AC6403B.PV``.
        timestamps: [T] int64 ns UTC, strictly increasing.
        values: [T, C] float64, NaN where missing, never infinite.
        channels: C names, in the order of the columns of ``values``.
        time_kind: ``"index"`` where the source has an integer index i, kept as 1970-01-01 + i s.
        labels: given intervals (a label column, a CSV of intervals); ``None`` where nobody has labelled
            the series, an empty tuple where somebody says that nothing in it is abnormal.
        source: where it came from, e.g. ``csv:/data/plant/AC6403B.csv``.
        notes: what validation mended, e.g. ``{"duplicates_dropped": 3}``.
        disputed: stretches that the source's own annotators disagree about: never gold, first in the review queue.
    """

    point_id: str
    timestamps: IntArray
    values: FloatArray
    channels: tuple[str, ...] = ("value",)
    time_kind: TimeKind = "time"
    labels: tuple[Interval, ...] | None = None
    source: str = ""
    notes: Mapping[str, int | float | str] = field(default_factory=dict)
    disputed: tuple[Interval, ...] = ()

    def __len__(self) -> int:
        return len(self.timestamps)

    @cached_property
    def step(self) -> int:
        """Median sampling interval in ns (1 s for a series of one point)."""
        if len(self.timestamps) < 2:
            return NS_PER_SECOND
        return max(1, int(np.median(np.diff(self.timestamps))))

    def slice(self, start: int, stop: int) -> Series:
        """The points ``[start, stop)`` by position, labels clipped to them; arrays are views."""
        from tsad.core.intervals import clip, point_ends

        labels, disputed = self.labels, self.disputed
        stop = min(stop, len(self))
        if (labels is not None or disputed) and stop > start:
            end = int(point_ends(self.timestamps[stop - 1 : stop + 1], self.step)[0])
            labels = None if labels is None else clip(labels, int(self.timestamps[start]), end)
            disputed = clip(disputed, int(self.timestamps[start]), end)
        return Series(
            self.point_id, self.timestamps[start:stop], self.values[start:stop], self.channels,
            self.time_kind, labels, self.source, self.notes, disputed,
        )

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of identifier, timestamps and values; labels do not count."""
        sha = hashlib.sha256(repr((self.point_id, self.channels, self.time_kind)).encode())
        sha.update(np.ascontiguousarray(self.timestamps).tobytes())
        sha.update(np.ascontiguousarray(self.values).tobytes())
        return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class Window:
    """A view ``[start, stop)`` by position of a series: one review task, one reviewed unit.

    The series around it is the context a detector may look at; only the window itself is judged.
    """

    series: Series
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= len(self.series):
            raise ValueError(
                f"window [{self.start}, {self.stop}) lies outside {self.series.point_id} of {len(self.series)} points"
            )

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def point_id(self) -> str:
        return self.series.point_id

    @property
    def timestamps(self) -> IntArray:
        """[L] int64 ns UTC."""
        return self.series.timestamps[self.start : self.stop]

    @property
    def values(self) -> FloatArray:
        """[L, C] float64."""
        return self.series.values[self.start : self.stop]

    @property
    def span(self) -> tuple[int, int]:
        """``[start, end)`` in ns: from the first point to just after the last one."""
        from tsad.core.intervals import point_ends

        nearby = self.series.timestamps[self.start : self.stop + 1]
        ends = point_ends(nearby, self.series.step)
        return int(nearby[0]), int(ends[self.stop - self.start - 1])

    @property
    def window_id(self) -> str:
        """Stable name of what is looked at: point, first and last timestamp. 16 hex digits."""
        stamps = self.timestamps
        text = f"{self.point_id}|{int(stamps[0])}|{int(stamps[-1])}|{len(self)}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who said it: which detector version, trained on which dataset version, under which config.

    Attributes:
        detector: short name, e.g. ``patch``.
        model_version: registered version ``tsad-<loop>-<detector>:<n>``, or ``<detector>:base`` outside a loop.
        dataset_version: hash of the dataset version it was trained on; ``None`` for an unadapted base.
        config_hash: first 12 hex digits of the SHA-256 of the detector's config.
    """

    detector: str
    model_version: str
    dataset_version: str | None = None
    config_hash: str = ""


@dataclass(frozen=True, eq=False)
class Detection:
    """What one detector version said of one series or window.

    Attributes:
        scores: [T] float64 in 0..1, higher = more abnormal.
        intervals: proposals above the threshold, in time order, disjoint.
        threshold: the score from which a point counted as abnormal, or (with ``candidates``) the probability from
            which a candidate is proposed.
        candidates: all that was considered, proposed or not, each with its calibrated probability as score; ``None``
            where points are compared with the threshold.
    """

    point_id: str
    scores: FloatArray
    intervals: tuple[Interval, ...]
    origin: Origin
    threshold: float
    candidates: tuple[Interval, ...] | None = None


class ReviewState(StrEnum):
    """How a window stands with the people who review it."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"  # equals the proposal
    CORRECTED = "CORRECTED"
    REJECTED = "REJECTED"  # skipped or refused
    CONFLICT = "CONFLICT"  # people disagree


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
    """

    annotator: str
    intervals: tuple[Interval, ...]
    submitted_at: int = 0
    skipped: bool = False
    annotation_id: str = ""


@dataclass(frozen=True, eq=False)
class Choice:
    """A window chosen for review, with the probability of that choice.

    Attributes:
        probability: inclusion probability in (0, 1].
        strategy: sampler that chose it, e.g. ``top_score``, ``random``, ``gold``.
        proposal: the pre-annotation shown with it; ``None`` for gold windows, which are shown without.
        score: what the queue is ordered by, 0..1.
    """

    window: Window
    probability: float
    strategy: str
    purpose: Purpose = Purpose.TRAIN
    proposal: tuple[Interval, ...] | None = None
    origin: Origin | None = None
    score: float = 0.0


@dataclass(frozen=True, eq=False)
class ReviewedWindow:
    """A window with what people said of it.

    Attributes:
        intervals: the truth that follows from the annotations; empty where nothing is abnormal.
            Only ``ACCEPTED`` and ``CORRECTED`` windows train or score.
    """

    choice: Choice
    annotations: tuple[Annotation, ...]
    state: ReviewState
    intervals: tuple[Interval, ...] = ()

    @property
    def window(self) -> Window:
        return self.choice.window

    @property
    def usable(self) -> bool:
        """Whether it may train or score: somebody judged it and nobody disagrees."""
        return self.state in (ReviewState.ACCEPTED, ReviewState.CORRECTED)


@dataclass(frozen=True, eq=False)
class DatasetVersion:
    """An immutable set of reviewed windows with their values, named by the hash of its content.

    Attributes:
        version: 16 hex digits of the SHA-256 over windows, values and intervals.
        windows: usable reviewed windows, sorted by point and start.
        purpose: training set or gold set.
        meta: anything that explains it (parent version, loop, iteration); not part of the hash.
    """

    version: str
    windows: tuple[ReviewedWindow, ...]
    purpose: Purpose
    meta: Mapping[str, Any] = field(default_factory=dict)
