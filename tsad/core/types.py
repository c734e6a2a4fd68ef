"""Intervals, and what detectors say of series. Times are int64 nanoseconds since 1970-01-01 UTC throughout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TimeKind = Literal["time", "index"]
EmbeddingName = Literal["shape", "base"]  # normalised shape and spectrum | hidden states of the base model
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
        note: why, in words; for people alone, no digest holds it.

    Raises:
        ValueError: ``end <= start`` or a score outside 0..1.
    """

    start: int
    end: int
    label: str = ANOMALY
    score: float = 1.0
    note: str = field(default="", repr=False)  # digests of labels kept from before are taken over the representation

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"interval end {self.end} is not after its start {self.start}")
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"interval score {self.score} is outside 0..1")

    def overlaps(self, other: Interval) -> bool:
        """Whether the two share at least one instant."""
        return self.start < other.end and other.start < self.end


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


@dataclass(frozen=True)
class Proposal:
    """What one detector version proposes for one window.

    Attributes:
        intervals: in time order, each with its confidence as score; empty = it finds nothing.
    """

    intervals: tuple[Interval, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class StateUsed:
    """Under which state a series was scored, and what a refit has changed.

    Attributes:
        digest: first 16 hex digits of the state's SHA-256.
        fitted_points: those that it was fitted to.
        refitted: why it was fitted now, in words; "" = it is the one of before.
        compared: points that were scored before, under the state of before; the figures below are of these.
        mean_change, largest_change: of their scores, in absolute terms.
        crossed: how many of them changed sides of ``level``.
    """

    digest: str
    fitted_points: int
    refitted: str = ""
    compared: int = 0
    mean_change: float = 0.0
    largest_change: float = 0.0
    crossed: int = 0
    level: float = 0.0

    def change(self) -> str:
        """What the refit has changed, in a sentence; "" where nothing was refitted."""
        if not self.refitted:
            return ""
        if not self.compared:
            return f"state {self.digest} fitted: {self.refitted}"
        return (
            f"state {self.digest} fitted anew: {self.refitted}; scores of the {self.compared:,} points before differ "
            f"by {self.mean_change:.4f} in the mean, {self.largest_change:.4f} at most; "
            f"{self.crossed:,} of them cross {self.level:g}"
        )


@dataclass(frozen=True, eq=False)
class Detection:
    """What one detector version said of one series or window.

    Attributes:
        scores: [T] float64 in 0..1, higher = more abnormal; ``None`` of a detector that gives intervals alone (see
            :func:`~tsad.core.intervals.point_scores`). A metric that needs scores has no value then.
        intervals: proposals above the threshold, in time order, disjoint.
        threshold: the score from which a point counted as abnormal, or (with ``candidates``) the probability from
            which a candidate is proposed.
        candidates: all that was considered, proposed or not, each with its calibrated probability as score; ``None``
            where points are compared with the threshold.
        state: what the series was scored under; ``None`` where all of it was looked at afresh.
        opinions: what each member of a committee proposes by itself, under its own name.
    """

    point_id: str
    scores: FloatArray | None
    intervals: tuple[Interval, ...]
    origin: Origin
    threshold: float
    candidates: tuple[Interval, ...] | None = None
    state: StateUsed | None = None
    opinions: tuple[Proposal, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a detector cannot do without; known before it is built.

    Attributes:
        device: ``cuda`` = a CUDA device; ``cpu`` = any will do.
        memory_gb: memory of that device for weights and one batch, in GB (1e9 bytes); 0 = next to nothing.
        packages: modules to be installed beside what tsad itself depends on.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    memory_gb: float = 0.0
    packages: tuple[str, ...] = ()
